//! Dynamic degree: how far the fastest twentieth of a clip's area moves from frame to frame, as a fraction of the
//! shorter side.
//!
//! Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", CVPR 2024, section 3.1, takes the
//! optical flow of RAFT between neighbouring frames, the mean length of the largest 5 % of its vectors, and calls a clip
//! dynamic where that passes 6/256 of the shorter side in a quarter of the pairs. Two things differ here. The flow is
//! that of blocks of 8x8 pixels by exhaustive search on frames whose shorter side is 64 pixels: it needs no weights, is
//! exact for motion that keeps the shape, and leaves out blocks that turn, deform or leave the frame. And the mean over the pairs is given as it
//! is, not as 0 or 1, so that two sets of clips can be compared without a threshold; 6/256 is about 0.023.

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};

use crate::Error;
use crate::preprocess::frames;
use crate::resize::{Filter, RgbPixels, resize, shortest_side_size};

/// The scorer's name.
pub(crate) const NAME: &str = "dynamic-degree";

/// Shorter side in which motion is searched; smaller frames stay as they are.
const SIDE: usize = 64;
/// Rows and columns of a block.
const BLOCK: usize = 8;
/// Pixels between neighbouring blocks.
const STEP: usize = 4;
/// The largest motion on each axis, in pixels: a quarter of the shorter side.
const REACH: isize = 16;
/// Mean levels of 255 for each pixel that two blocks may differ by and still be the same: noise.
const MARGIN: i32 = 2;
/// How many times better than rest a motion must match.
const GOOD_MATCH: i32 = 4;
/// The part of the blocks, the fastest ones, that counts.
const FASTEST: f64 = 0.05;

/// The scorer.
pub struct DynamicDegree;

impl Scorer for DynamicDegree {
    fn name(&self) -> &str {
        NAME
    }

    fn min_frames(&self) -> usize {
        2
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        if media.iter().any(|media| media.frames() < 2) {
            return Err(Error::FewFrames { scorer: NAME, expected: 2, found: 1 }.into());
        }
        Ok(media.iter().map(|media| Reward::from_number(NAME, dynamic_degree(media))).collect())
    }
}

/// The mean over neighbouring frames of how far the fastest blocks move, in shorter sides.
fn dynamic_degree(clip: &Media) -> f64 {
    let search = Search::new();
    let planes: Vec<Plane> = frames(clip).map(|frame| Plane::new(&frame)).collect();
    let pairs = planes.windows(2).map(|pair| {
        let mut lengths = search.lengths(&pair[0], &pair[1]);
        lengths.sort_by(f64::total_cmp);
        let fastest = ((lengths.len() as f64 * FASTEST).round() as usize).max(1);
        if lengths.is_empty() {
            return 0.0;
        }
        let sum: f64 = lengths.iter().rev().take(fastest).sum();
        sum / fastest as f64 / pair[0].width.min(pair[0].height) as f64
    });
    pairs.sum::<f64>() / (planes.len() - 1) as f64
}

/// The levels of a frame, with the sum over the block that begins at each pixel.
struct Plane {
    width: usize,
    height: usize,
    levels: Vec<i32>,
    sums: Vec<i32>,
}

impl Plane {
    fn new(frame: &RgbPixels) -> Self {
        let small = if frame.width().min(frame.height()) > SIDE {
            let (width, height) = shortest_side_size(frame.width(), frame.height(), SIDE);
            resize(frame, width, height, Filter::Bilinear)
        } else {
            frame.clone()
        };
        let (width, height) = (small.width(), small.height());
        // All three colours count alike: red on green of the same brightness moves too.
        let pixels = small.bytes().as_chunks::<3>().0;
        let levels: Vec<i32> = pixels.iter().flatten().map(|&level| i32::from(level)).collect();
        let mut sums = vec![0; levels.len()];
        for (x, y) in starts(width, height, 1) {
            for color in 0..3 {
                let at = |row: usize, column: usize| levels[((y + row) * width + x + column) * 3 + color];
                let rows = (0..BLOCK).map(|row| (0..BLOCK).map(|column| at(row, column)).sum::<i32>());
                sums[(y * width + x) * 3 + color] = rows.sum();
            }
        }
        Self { width, height, levels, sums }
    }
}

/// Where whole blocks begin: columns and rows.
fn starts(width: usize, height: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    let along = move |length: usize| (0..(length + 1).saturating_sub(BLOCK)).step_by(step);
    along(height).flat_map(move |y| along(width).map(move |x| (x, y)))
}

/// The displacements that are tried, shortest first, so that of equal matches the shortest is taken.
struct Search {
    displacements: Vec<(isize, isize)>,
}

impl Search {
    fn new() -> Self {
        let axis = -REACH..=REACH;
        let mut displacements: Vec<_> =
            axis.clone().flat_map(|dy| axis.clone().map(move |dx| (dx, dy))).collect();
        displacements.sort_by_key(|&(dx, dy)| (dx * dx + dy * dy, dy, dx));
        Self { displacements }
    }

    /// How far each block of `from` lies from its best match in `to`, in pixels; blocks without a match that can be
    /// trusted are left out.
    fn lengths(&self, from: &Plane, to: &Plane) -> Vec<f64> {
        starts(from.width, from.height, STEP).filter_map(|start| self.length(from, to, start)).collect()
    }

    /// `None` where the block is covered or leaves the frame: nothing matches it well, or its match matches another
    /// block better.
    fn length(&self, from: &Plane, to: &Plane, (x, y): (usize, usize)) -> Option<f64> {
        let (dx, dy) = self.motion(from, to, (x, y))?;
        if (dx, dy) == (0, 0) {
            return Some(0.0);
        }
        let (back_x, back_y) =
            self.motion(to, from, (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?))?;
        if (dx + back_x).abs().max((dy + back_y).abs()) > 1 {
            return None;
        }
        let at = |dx, dy| mismatch(from, to, (x, y), (dx, dy), i32::MAX);
        let best = at(dx, dy)?;
        // The minimum of a parabola through the best match and its neighbours on each axis.
        let part = |before: Option<i32>, after: Option<i32>| {
            let (Some(before), Some(after)) = (before, after) else { return 0.0 };
            let curvature = f64::from(before) + f64::from(after) - 2.0 * f64::from(best);
            let shift = 0.5 * (f64::from(before) - f64::from(after)) / curvature;
            if curvature > 0.0 { shift.clamp(-0.5, 0.5) } else { 0.0 }
        };
        let along_x = dx as f64 + part(at(dx - 1, dy), at(dx + 1, dy));
        let along_y = dy as f64 + part(at(dx, dy - 1), at(dx, dy + 1));
        Some(along_x.hypot(along_y))
    }

    /// The displacement of the best match, rest where that differs by noise only; `None` where even the best
    /// is no good match.
    fn motion(&self, from: &Plane, to: &Plane, start: (usize, usize)) -> Option<(isize, isize)> {
        let margin = MARGIN * (BLOCK * BLOCK * BLOCK * BLOCK * 3) as i32;
        let rest = mismatch(from, to, start, (0, 0), i32::MAX)?;
        if rest <= margin {
            return Some((0, 0));
        }
        let (mut best, mut motion) = (rest, (0, 0));
        for &displacement in &self.displacements {
            if let Some(found) = mismatch(from, to, start, displacement, best)
                && found < best
            {
                (best, motion) = (found, displacement);
            }
        }
        (best <= (rest / GOOD_MATCH).max(margin)).then_some(motion)
    }
}

/// The sum of absolute differences between a block and the displaced block, each less its mean so that a change of
/// brightness is no motion, times the pixels of a block; `None` outside of the frame, `worst` or more where it is not
/// better than that.
fn mismatch(
    from: &Plane,
    to: &Plane,
    (x, y): (usize, usize),
    (dx, dy): (isize, isize),
    worst: i32,
) -> Option<i32> {
    const PIXELS: i32 = (BLOCK * BLOCK) as i32;
    let (to_x, to_y) = (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?);
    if to_x + BLOCK > to.width || to_y + BLOCK > to.height {
        return None;
    }
    let at = |x: usize, y: usize| (y * from.width + x) * 3;
    let mean = |color: usize| from.sums[at(x, y) + color] - to.sums[at(to_x, to_y) + color];
    let means = [mean(0), mean(1), mean(2)];
    let mut sum = 0;
    for row in 0..BLOCK {
        let (a, b) = (at(x, y + row), at(to_x, to_y + row));
        let (a, b) = (&from.levels[a..a + 3 * BLOCK], &to.levels[b..b + 3 * BLOCK]);
        for (a, b) in a.as_chunks::<3>().0.iter().zip(b.as_chunks::<3>().0) {
            for color in 0..3 {
                sum += (PIXELS * (a[color] - b[color]) - means[color]).abs();
            }
        }
        if sum >= worst {
            return Some(sum);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth random texture, the same at every call; `x` and `y` in pixels of an image of 64.
    fn texture(x: f64, y: f64, color: usize) -> f64 {
        let phase = color as f64;
        let wave = |a: f64, b: f64, c: f64| (a * x + b * y + c + phase).sin();
        128.0 + 40.0 * wave(0.61, 0.23, 0.0) + 40.0 * wave(-0.37, 0.71, 1.0) + 40.0 * wave(0.19, -0.53, 2.0)
    }

    /// Five frames of `size` pixels: the value at a pixel of a frame, in units of an image of 64.
    fn clip(size: usize, value: impl Fn(f64, f64, f64, usize) -> f64) -> Media {
        let scale = 64.0 / size as f64;
        let mut pixels = Vec::new();
        for frame in 0..5 {
            for (row, column, color) in (0..size).flat_map(|row| {
                (0..size).flat_map(move |column| (0..3).map(move |color| (row, column, color)))
            }) {
                let (x, y) = ((column as f64 + 0.5) * scale, (row as f64 + 0.5) * scale);
                pixels.push(value(x, y, f64::from(frame), color).round().clamp(0.0, 255.0) as u8);
            }
        }
        Media::new(5, size, size, pixels).expect("its size")
    }

    fn degree(clip: &Media) -> f64 {
        DynamicDegree.score("", std::slice::from_ref(clip)).unwrap()[0].given().expect("a reward")
    }

    #[test]
    fn a_square_of_known_speed_is_measured_at_any_size() {
        for size in [64, 128, 200] {
            for (vx, vy) in [(1.0, 0.0), (-2.0, 0.0), (0.0, 3.5), (3.0, -4.0), (6.0, 0.0)] {
                let (x0, y0) = (if vx < 0.0 { 40.0 } else { 12.0 }, if vy < 0.0 { 40.0 } else { 12.0 });
                let square = clip(size, |x, y, frame, color| {
                    let (x, y) = (x - x0 - vx * frame, y - y0 - vy * frame);
                    let inside = (0.0..22.0).contains(&x) && (0.0..22.0).contains(&y);
                    if inside { texture(x, y, color) } else { 200.0 }
                });
                let (found, expected) = (degree(&square), f64::hypot(vx, vy) / 64.0);
                // Half a pixel of 64.
                assert!(
                    (found - expected).abs() < 0.5 / 64.0,
                    "{size} {vx} {vy}: {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn a_moving_camera_counts_and_stillness_noise_and_flicker_do_not() {
        let moving = clip(96, |x, y, frame, color| texture(x + 2.0 * frame, y, color));
        assert!((degree(&moving) - 2.0 / 64.0).abs() < 0.5 / 64.0, "{}", degree(&moving));
        let still = clip(96, |x, y, _, color| texture(x, y, color));
        let flicker = clip(64, |x, y, frame, color| 0.8 * texture(x, y, color) + 10.0 * (frame % 2.0));
        let noise = clip(64, |x, y, frame, color| {
            200.0 + ((x * 12.9 + y * 78.2 + frame * 37.7 + color as f64).sin() * 43758.5).fract()
        });
        for clip in [still, flicker, noise] {
            assert_eq!(degree(&clip), 0.0);
        }
    }

    #[test]
    fn an_image_is_refused_and_a_frame_smaller_than_a_block_has_no_motion() {
        let image = Media::new(1, 8, 8, vec![0; 192]).unwrap();
        let message = DynamicDegree.score("", &[image]).unwrap_err().to_string();
        assert!(message.contains("`dynamic-degree` takes clips of at least 2 frames, found 1"), "{message}");
        assert_eq!(degree(&Media::new(2, 4, 4, vec![9; 96]).unwrap()), 0.0);
    }
}

//! Antialiased resizing of 8-bit RGB images, bit for bit as Pillow does it, and the centre crop after it.
//!
//! Reference: Pillow, `src/libImaging/Resample.c`. Published scorers were trained on images that came out
//! of this very filter, so a scorer is only the published one when its input is too. Two traits matter: the
//! kernel is stretched by the scale when shrinking, and pixels are rounded to 8 bits between the two passes,
//! columns first. (Pillow 13 does rows first where an image shrinks mostly in height: one level's difference.)

/// An image of interleaved 8-bit RGB, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPixels {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl RgbPixels {
    /// Wraps `bytes` (`height * width * 3` of them); `None` where their number differs or a side is 0.
    pub fn new(width: usize, height: usize, bytes: Vec<u8>) -> Option<Self> {
        let fits = width > 0 && height > 0 && bytes.len() == width * height * 3;
        fits.then_some(Self { width, height, bytes })
    }

    /// Columns of pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, `height * width * 3`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The interpolation kernels of Pillow that scorers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle of half-width 1 (Pillow's 2).
    Bilinear,
    /// Keys' cubic with a = -0.5 and half-width 2 (Pillow's 3).
    Bicubic,
    /// Windowed sinc of half-width 3 (Pillow's 1).
    Lanczos,
}

impl Filter {
    fn half_width(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let angle = x * std::f64::consts::PI;
    if angle == 0.0 { 1.0 } else { angle.sin() / angle }
}

/// What one output pixel is made of: input pixels from `start` on, each with its weight; the sum is 1.
struct Taps {
    start: usize,
    weights: Vec<f64>,
}

/// The taps of every output pixel along one axis of `input` pixels resized to `output` pixels.
fn taps(filter: Filter, input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let reach = filter.half_width() * stretch;
    let one = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let start = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(input);
        let distance = |pixel: usize| (pixel as f64 - centre + 0.5) * (1.0 / stretch);
        let mut weights: Vec<f64> = (start..end).map(|pixel| filter.weight(distance(pixel))).collect();
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        Taps { start, weights }
    };
    (0..output).map(one).collect()
}

/// Bits behind the point of Pillow's fixed-point weights: 32 minus 8 for the pixel and 2 for overshoot.
const FRACTION_BITS: u32 = 22;

struct FixedTaps {
    start: usize,
    weights: Vec<i32>,
}

fn fixed_taps(filter: Filter, input: usize, output: usize) -> Vec<FixedTaps> {
    let fixed = |weight: f64| (weight * f64::from(1 << FRACTION_BITS)).round() as i32;
    taps(filter, input, output)
        .into_iter()
        .map(|taps| FixedTaps { start: taps.start, weights: taps.weights.into_iter().map(fixed).collect() })
        .collect()
}

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Resizes to `width` x `height` (each at least 1), columns first and rows after, as Pillow's `Image.resize`.
pub fn resize(image: &RgbPixels, width: usize, height: usize, filter: Filter) -> RgbPixels {
    const HALF: i32 = 1 << (FRACTION_BITS - 1);
    let (width, height) = (width.max(1), height.max(1));
    let mut bytes = image.bytes.clone();
    if width != image.width {
        let columns = fixed_taps(filter, image.width, width);
        let mut narrowed = Vec::with_capacity(width * image.height * 3);
        for row in bytes.chunks_exact(image.width * 3) {
            for column in &columns {
                let mut sums = [HALF; 3];
                for (pixel, &weight) in row[column.start * 3..].chunks_exact(3).zip(&column.weights) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &byte)| *sum += i32::from(byte) * weight);
                }
                narrowed.extend(sums.map(to_byte));
            }
        }
        bytes = narrowed;
    }
    if height != image.height {
        let stride = width * 3;
        let mut shortened = Vec::with_capacity(stride * height);
        for row in fixed_taps(filter, image.height, height) {
            let mut sums = vec![HALF; stride];
            for (line, &weight) in bytes[row.start * stride..].chunks_exact(stride).zip(&row.weights) {
                sums.iter_mut().zip(line).for_each(|(sum, &byte)| *sum += i32::from(byte) * weight);
            }
            shortened.extend(sums.into_iter().map(to_byte));
        }
        bytes = shortened;
    }
    RgbPixels { width, height, bytes }
}

/// Resizes one plane of numbers, columns first, with the same kernels but without rounding, as `torchvision` resizes
/// tensors with `antialias=True`; sizes are (columns, rows), each at least 1.
pub fn resize_plane(plane: &[f32], from: (usize, usize), to: (usize, usize), filter: Filter) -> Vec<f32> {
    let weighted = |values: &mut dyn Iterator<Item = f32>, weights: &[f64]| -> f32 {
        values.zip(weights).map(|(value, weight)| f64::from(value) * weight).sum::<f64>() as f32
    };
    let columns = taps(filter, from.0, to.0);
    let narrowed: Vec<f32> = plane
        .chunks_exact(from.0)
        .flat_map(|row| {
            columns.iter().map(|taps| weighted(&mut row[taps.start..].iter().copied(), &taps.weights))
        })
        .collect();
    taps(filter, from.1, to.1)
        .iter()
        .flat_map(|taps| {
            let narrowed = &narrowed;
            (0..to.0).map(move |column| {
                let mut values = narrowed[taps.start * to.0 + column..].iter().step_by(to.0).copied();
                weighted(&mut values, &taps.weights)
            })
        })
        .collect()
}

/// The size whose shorter side is `side`, with the longer side cut to whole pixels as `transformers` and
/// `torchvision` do it.
pub fn shortest_side_size(width: usize, height: usize, side: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| (side * long / short.max(1)).max(1);
    if width <= height { (side, longer(height, width)) } else { (longer(width, height), side) }
}

/// Where a centre crop starts when an odd number of pixels is cut away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CropStart {
    /// Half of the difference, rounded down (`transformers`).
    Floor,
    /// Half of the difference, a half rounded to the even number (`torchvision`).
    HalfToEven,
}

impl CropStart {
    fn of(self, input: usize, output: usize) -> isize {
        let difference = input as isize - output as isize;
        match self {
            Self::Floor => difference.div_euclid(2),
            Self::HalfToEven => (difference as f64 / 2.0).round_ties_even() as isize,
        }
    }
}

/// Cuts the middle `width` x `height` out of the image; what lies outside of it is black.
pub fn center_crop(image: &RgbPixels, width: usize, height: usize, start: CropStart) -> RgbPixels {
    let (left, top) = (start.of(image.width, width), start.of(image.height, height));
    let mut bytes = vec![0; width * height * 3];
    for (row, line) in bytes.chunks_exact_mut(width * 3).enumerate() {
        let Some(from) = (row as isize + top).try_into().ok().filter(|&from: &usize| from < image.height)
        else {
            continue;
        };
        let source = &image.bytes[from * image.width * 3..][..image.width * 3];
        let (to_column, from_column) = ((-left).max(0) as usize, left.max(0) as usize);
        let columns = width.saturating_sub(to_column).min(image.width.saturating_sub(from_column));
        line[to_column * 3..][..columns * 3].copy_from_slice(&source[from_column * 3..][..columns * 3]);
    }
    RgbPixels { width, height, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RgbPixels {
        let bytes = (0..width * height * 3).map(|at| (at * 7 % 256) as u8).collect();
        RgbPixels::new(width, height, bytes).expect("the bytes fit")
    }

    #[test]
    fn a_flat_image_stays_flat_under_every_filter() {
        let flat = RgbPixels::new(9, 5, vec![200; 9 * 5 * 3]).unwrap();
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for (width, height) in [(3, 2), (9, 20), (31, 5)] {
                assert!(resize(&flat, width, height, filter).bytes().iter().all(|&byte| byte == 200));
            }
        }
    }

    #[test]
    fn the_shorter_side_decides_the_size() {
        assert_eq!(shortest_side_size(512, 512, 224), (224, 224));
        assert_eq!(shortest_side_size(100, 333, 224), (224, 745));
        assert_eq!(shortest_side_size(640, 480, 224), (298, 224));
    }

    #[test]
    fn a_crop_takes_the_middle_and_fills_with_black() {
        let image = ramp(5, 4);
        let cut = center_crop(&image, 2, 2, CropStart::Floor);
        assert_eq!(cut.bytes()[..6], image.bytes()[(5 + 1) * 3..][..6]);
        let wide = center_crop(&image, 7, 2, CropStart::Floor);
        assert_eq!(wide.bytes()[..3], [0; 3]);
        assert_eq!(wide.bytes()[3..18], image.bytes()[15..30]);
        assert_eq!(CropStart::Floor.of(7, 4), 1);
        assert_eq!(CropStart::HalfToEven.of(7, 4), 2);
        assert_eq!(CropStart::HalfToEven.of(5, 4), 0);
    }

    #[test]
    fn a_image_needs_its_bytes() {
        assert!(RgbPixels::new(2, 2, vec![0; 11]).is_none());
        assert!(RgbPixels::new(0, 2, vec![]).is_none());
    }
}

//! The samples of a step on the terminal, where it can show images: kitty, iTerm2 and sixel.

use std::io::{IsTerminal, Write as _, stderr, stdout};

use image::{RgbImage, imageops};
use noisefind::core::media::{FrameReduction, Media};

use super::inline::Protocol;

/// Samples side by side.
pub const COLUMNS: usize = 8;
/// Frames of each clip, evenly spread.
const CLIP_FRAMES: usize = 4;
/// Rows and columns of pixels of each.
const SIDE: u32 = 96;
const GAP: u32 = 4;
/// Lines of the terminal that they take.
const LINES: u32 = 4;

/// How this terminal shows images, if it does.
pub fn protocol() -> Option<Protocol> {
    if stdout().is_terminal() && stderr().is_terminal() { Protocol::of_terminal() } else { None }
}

/// Shows the first samples in one row; of each clip some frames in order. What cannot be shown is left out: nothing
/// depends on it.
pub fn show(protocol: Protocol, media: &[Media]) {
    let text = row(media).and_then(|row| protocol.encode(&row, LINES));
    let _ = stdout().write_all(text.unwrap_or_default().as_bytes());
    let _ = stdout().flush();
}

fn row(media: &[Media]) -> Option<RgbImage> {
    let frames = |media: &Media| media.reduced(FrameReduction::Evenly(CLIP_FRAMES));
    let clips: Vec<Media> = media.iter().take(COLUMNS).map(frames).collect();
    let tiles = clips.iter().flat_map(|clip| (0..clip.frames()).map(move |frame| (clip, frame)));
    let tiles: Vec<_> = tiles.take(COLUMNS).collect();
    let mut row = RgbImage::new((tiles.len() as u32 * (SIDE + GAP)).checked_sub(GAP)?, SIDE);
    for (at, (clip, frame)) in tiles.into_iter().enumerate() {
        let pixels = clip.frame(frame).to_vec();
        let sample = RgbImage::from_raw(clip.width() as u32, clip.height() as u32, pixels)?;
        let small = imageops::resize(&sample, SIDE, SIDE, imageops::FilterType::Triangle);
        imageops::replace(&mut row, &small, i64::from(SIDE + GAP) * at as i64, 0);
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_in_one_row() {
        let media = |shade| Media::new(1, 32, 64, vec![shade; 32 * 64 * 3]).unwrap();
        let shown = row(&[media(10), media(200)]).unwrap();
        assert_eq!((shown.width(), shown.height()), (2 * SIDE + GAP, SIDE));
        assert_eq!((shown.get_pixel(5, 5).0, shown.get_pixel(SIDE + GAP + 5, 5).0), ([10; 3], [200; 3]));
        assert!(row(&[]).is_none());
        assert_eq!(row(&vec![media(0); 20]).unwrap().width(), 8 * (SIDE + GAP) - GAP);
    }

    #[test]
    fn a_clip_shows_its_frames_in_order() {
        let levels = [0, 0, 50, 50, 100, 100, 150, 150];
        let pixels = levels.iter().flat_map(|&level| [level; 3]).collect();
        let shown = row(&[Media::new(8, 1, 1, pixels).unwrap()]).unwrap();
        assert_eq!(shown.width(), 4 * (SIDE + GAP) - GAP);
        let level = |at: u32| shown.get_pixel((SIDE + GAP) * at, 0).0[0];
        assert!((0..3).all(|at| level(at) < level(at + 1)));
    }
}

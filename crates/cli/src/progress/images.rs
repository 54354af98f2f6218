//! The samples of a step on the terminal, where it can show images: kitty, iTerm2 and sixel.

use std::io::{IsTerminal, stderr, stdin, stdout};

use image::{DynamicImage, RgbImage, imageops};
use noisefind::core::media::Media;
use viuer::{Config, KittySupport};

/// Samples side by side.
pub const COLUMNS: usize = 8;
/// Rows and columns of pixels of each.
const SIDE: u32 = 96;
const GAP: u32 = 4;
/// Lines of the terminal that they take.
const LINES: u32 = 4;

/// Whether this terminal shows images. It is asked, so both of its directions must be a terminal.
pub fn are_possible() -> bool {
    if !(stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal()) {
        return false;
    }
    viuer::is_iterm_supported()
        || viuer::get_kitty_support() != KittySupport::None
        || viuer::is_sixel_supported()
}

/// Shows the first samples in one row; of a clip, its middle frame. What cannot be shown is left out: nothing depends on
/// it.
pub fn show(media: &[Media]) {
    let Some(row) = row(media) else { return };
    let config = Config {
        absolute_offset: false,
        height: Some(LINES),
        truecolor: true,
        // Without a protocol for images there is nothing to show.
        ..Config::default()
    };
    let _ = viuer::print(&DynamicImage::ImageRgb8(row), &config);
}

fn row(media: &[Media]) -> Option<RgbImage> {
    let shown = media.len().min(COLUMNS) as u32;
    let mut row = RgbImage::new((shown * (SIDE + GAP)).checked_sub(GAP)?, SIDE);
    for (at, media) in media.iter().take(COLUMNS).enumerate() {
        let frame = media.frame(media.frames() / 2);
        let sample = RgbImage::from_raw(media.width() as u32, media.height() as u32, frame.to_vec())?;
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
    fn a_test_has_no_terminal() {
        assert!(!are_possible());
    }
}

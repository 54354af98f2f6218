//! Every frame of an animated GIF or WebP file.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageError};

use crate::error::{Error, Format, Result};
use crate::pixels::over_white;
use crate::{RgbImage, check_size, decode};

/// Most frames that are read.
const MOST_FRAMES: usize = 1024;

/// The frames of an image file, all of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Animation {
    /// In the order in which they are shown; one for an image that does not move.
    pub frames: Vec<RgbImage>,
    /// Frames per second by the time that all are shown, where the file says so.
    pub fps: Option<f64>,
}

/// Decodes every frame of an animated GIF or WebP file, composed as a viewer shows them and laid over white; of any
/// other image the one that it is, as [`decode`] gives it.
///
/// # Errors
/// As [`decode`], and where the file has more than 1024 frames or more pixels in all frames than one image may have.
pub fn decode_frames(bytes: &[u8]) -> Result<Animation> {
    let still = decode(bytes)?;
    let format = Format::of(bytes)?;
    let failed = |error: ImageError| Error::Damaged { format, reason: error.to_string() };
    let frames: Frames<'_> = match format {
        Format::Gif => GifDecoder::new(Cursor::new(bytes)).map_err(failed)?.into_frames(),
        Format::WebP => {
            let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
            if !decoder.has_animation() {
                return Ok(Animation { frames: vec![still], fps: None });
            }
            decoder.into_frames()
        }
        _ => return Ok(Animation { frames: vec![still], fps: None }),
    };
    let mut animation = Animation { frames: Vec::new(), fps: None };
    let mut shown_milliseconds = 0.0;
    for frame in frames {
        let frame = frame.map_err(failed)?;
        let (milliseconds, divisor) = frame.delay().numer_denom_ms();
        shown_milliseconds += f64::from(milliseconds) / f64::from(divisor.max(1));
        let (width, height) = frame.buffer().dimensions();
        let (width, height) = (width as usize, height as usize);
        let count = animation.frames.len() + 1;
        check_size(width, height.saturating_mul(count), format)?;
        if count > MOST_FRAMES {
            return Err(Error::Unsupported { format, feature: format!("more than {MOST_FRAMES} frames") });
        }
        let bytes =
            frame.buffer().as_raw().as_chunks::<4>().0.iter().flat_map(|&pixel| over_white(pixel)).collect();
        animation.frames.push(RgbImage { width, height, bytes });
    }
    // A file of one frame is the image that every other part of the program reads.
    if animation.frames.len() < 2 {
        return Ok(Animation { frames: vec![still], fps: None });
    }
    let count = animation.frames.len() as f64;
    Ok(Animation {
        fps: (shown_milliseconds > 0.0).then(|| 1000.0 * count / shown_milliseconds),
        ..animation
    })
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, Rgba, RgbaImage};

    use super::*;

    fn gif(colors: &[[u8; 4]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for &color in colors {
            let image = RgbaImage::from_pixel(3, 2, Rgba(color));
            encoder.encode_frame(Frame::from_parts(image, 0, 0, Delay::from_numer_denom_ms(100, 1))).unwrap();
        }
        drop(encoder);
        bytes
    }

    #[test]
    fn every_frame_of_a_gif_is_read_with_its_rate() {
        let file = gif(&[[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]]);
        let animation = decode_frames(&file).unwrap();
        let first: Vec<&[u8]> = animation.frames.iter().map(|frame| &frame.bytes[..3]).collect();
        assert_eq!(first, [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert_eq!(animation.fps, Some(10.0));
        assert!(animation.frames.iter().all(|frame| (frame.width, frame.height) == (3, 2)));
    }

    #[test]
    fn a_file_of_one_frame_is_an_image_and_a_cut_one_is_an_error() {
        let one = gif(&[[9, 99, 199, 255]]);
        let animation = decode_frames(&one).unwrap();
        assert_eq!((animation.frames, animation.fps), (vec![decode(&one).unwrap()], None));
        let file = gif(&[[255, 0, 0, 255], [0, 255, 0, 255]]);
        assert!(decode_frames(&file[..file.len() / 2]).is_err());
        assert_eq!(decode_frames(&[]), Err(Error::Empty));
    }
}

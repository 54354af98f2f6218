//! WebP; of an animation its first frame.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use crate::error::{Error, Format, Result};
use crate::pixels::over_white;
use crate::{RgbImage, check_size};

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    // The container says how long it is: 8 bytes of its own and what they announce.
    let announced =
        bytes.get(4..8).map(|size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize);
    if announced.is_none_or(|size| bytes.len() < size.saturating_add(8)) {
        return Err(Error::Truncated { format: Format::WebP });
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height, Format::WebP)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    if decoder.is_animated() {
        decoder.read_frame(&mut pixels).map_err(error)?;
    } else {
        decoder.read_image(&mut pixels).map_err(error)?;
    }
    if channels == 4 {
        pixels = pixels.as_chunks::<4>().0.iter().flat_map(|&pixel| over_white(pixel)).collect();
    }
    Ok(RgbImage { width, height, bytes: pixels })
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Truncated { format: Format::WebP }
        }
        error => Error::Damaged { format: Format::WebP, reason: error.to_string() },
    }
}

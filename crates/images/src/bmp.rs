//! Windows bitmaps.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageDecoder, ImageError};

use crate::error::{Error, Format, Result};
use crate::pixels::over_white;
use crate::{RgbImage, check_size};

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height, Format::Bmp)?;
    let bytes = match DynamicImage::from_decoder(decoder).map_err(error)? {
        DynamicImage::ImageRgba8(pixels) => {
            pixels.as_raw().as_chunks::<4>().0.iter().flat_map(|&pixel| over_white(pixel)).collect()
        }
        other => other.into_rgb8().into_raw(),
    };
    Ok(RgbImage { width, height, bytes })
}

fn error(error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Truncated { format: Format::Bmp }
        }
        error => Error::Damaged { format: Format::Bmp, reason: error.to_string() },
    }
}

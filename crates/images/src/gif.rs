//! The first frame of a GIF file.

use gif::DecodeOptions;

use crate::error::{Error, Format, Result};
use crate::pixels::{over_white, palette};
use crate::{RgbImage, check_size};

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    let mut options = DecodeOptions::new();
    options.check_lzw_end_code(true);
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(error)?;
    let frame = frame.ok_or(Error::Truncated { format: Format::Gif })?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (columns, rows) = (usize::from(frame.width), usize::from(frame.height));
    // A frame that is larger than the screen enlarges it.
    let (width, height) = (width.max(left + columns), height.max(top + rows));
    check_size(width, height, Format::Gif)?;
    let colors = palette(frame.palette.as_ref().or(global.as_ref()).map_or(&[], Vec::as_slice));
    let color = |index: u8| {
        let [red, green, blue] = colors[usize::from(index)];
        over_white([red, green, blue, if frame.transparent == Some(index) { 0 } else { 255 }])
    };
    // Around the frame lies the transparent colour, or else the first one.
    let around = color(frame.transparent.unwrap_or(0));
    let mut bytes: Vec<u8> = around.into_iter().cycle().take(width * height * 3).collect();
    for (row, indices) in frame.buffer.chunks_exact(columns.max(1)).enumerate() {
        let start = ((top + row) * width + left) * 3;
        for (pixel, &index) in bytes[start..].as_chunks_mut::<3>().0.iter_mut().zip(indices) {
            *pixel = color(index);
        }
    }
    Ok(RgbImage { width, height, bytes })
}

fn error(error: gif::DecodingError) -> Error {
    match error {
        gif::DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Truncated { format: Format::Gif }
        }
        error => Error::Damaged { format: Format::Gif, reason: error.to_string() },
    }
}

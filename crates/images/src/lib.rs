//! Image files in 8-bit RGB, with the numbers that Pillow and the processors of transformers give.
//!
//! Published scores are computed on what Pillow's `convert("RGB")` makes of a file. Decoders differ by several levels in
//! how they enlarge subsampled colours and treat 16 bits, palettes and transparency, and scores differ with them.
//! Pixels that are not opaque are laid over white, as `convert_to_rgb` of transformers 5 does. The orientation that a
//! camera notes in EXIF is not applied: neither `convert("RGB")` nor the processors do.

mod animation;
mod bmp;
mod encode;
mod error;
mod gif;
mod jpeg;
mod pixels;
mod png;
mod tiff;
mod webp;

pub use animation::{Animation, decode_frames};
pub use encode::ClipFrames;
pub use error::{Error, Format, Result};

/// An image in 8 bits: red, green and blue of each pixel, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub bytes: Vec<u8>,
}

/// Decodes a PNG, JPEG, WebP, GIF, BMP or TIFF file; of an animation its first frame.
///
/// # Errors
/// Where the file is of another format, cut off, damaged, too large, or of a kind of its format that is not implemented.
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    match Format::of(bytes)? {
        Format::Png => png::decode(bytes),
        Format::Jpeg => jpeg::decode(bytes),
        Format::WebP => webp::decode(bytes),
        Format::Gif => gif::decode(bytes),
        Format::Bmp => bmp::decode(bytes),
        Format::Tiff => tiff::decode(bytes),
    }
}

/// Refuses images without pixels, and those that Pillow refuses as too large to be honest.
fn check_size(width: usize, height: usize, format: Format) -> Result<()> {
    const LARGEST: usize = 178_956_970;
    match width.checked_mul(height) {
        Some(1..=LARGEST) => Ok(()),
        Some(0) => Err(Error::Damaged { format, reason: format!("its size is {width} x {height} pixels") }),
        _ => Err(Error::TooLarge { width, height, largest: LARGEST }),
    }
}

//! Small copies of images, and all frames of a clip side by side, so that clips can be played in step.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPDecoder;
use image::imageops::FilterType;
use image::{AnimationDecoder, DynamicImage, ImageReader, Limits, RgbImage};

use crate::error::{Error, Result};

/// Longest side of a small copy, in pixels: sharp on a screen with two pixels a point at the size of the lists.
pub const SIDE: u32 = 256;
/// Most frames of a strip; of longer clips some are left out evenly.
const STRIP_FRAMES: usize = 48;
/// Longest side of one frame of a strip.
const STRIP_SIDE: u32 = 192;
/// Most frames of a clip that are decoded.
const DECODED_FRAMES: usize = 1024;
/// Most bytes that decoding may take.
const DECODED_LIMIT: u64 = 512 << 20;
const JPEG_QUALITY: u8 = 88;

/// The bytes of an image and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub mime: &'static str,
}

/// A copy with at most `side` pixels a side; a still that is small already is returned as it is.
///
/// # Errors
/// Where the image cannot be decoded.
pub fn thumbnail(name: &str, image: Encoded, side: u32) -> Result<Encoded> {
    let (width, height) = reader(&image.bytes).into_dimensions().map_err(failed(name))?;
    if width.max(height) <= side && image.mime == "image/png" {
        return Ok(image);
    }
    let decoded = match image.mime {
        "image/png" => decode(name, &image.bytes)?,
        _ => {
            let mut frames = animation(name, &image)?;
            let middle = frames.len() / 2;
            DynamicImage::ImageRgb8(frames.swap_remove(middle))
        }
    };
    let small =
        if width.max(height) > side { decoded.resize(side, side, FilterType::Triangle) } else { decoded };
    jpeg(name, &small.to_rgb8())
}

/// All frames of an animated file side by side.
///
/// # Errors
/// Where it cannot be decoded.
pub fn strip(name: &str, image: &Encoded) -> Result<Encoded> {
    let frames = animation(name, image)?;
    let shown = STRIP_FRAMES.min(frames.len());
    let Some(first) = frames.first() else { return Err(failed(name)("it has no frame")) };
    let scale = (f64::from(STRIP_SIDE) / f64::from(first.width().max(first.height()).max(1))).min(1.0);
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let (width, height) = (scaled(first.width()), scaled(first.height()));
    let mut strip = RgbImage::new(width * shown as u32, height);
    for at in 0..shown {
        let frame = &frames[at * frames.len() / shown];
        let small = image::imageops::resize(frame, width, height, FilterType::Triangle);
        image::imageops::replace(&mut strip, &small, i64::from(width) * at as i64, 0);
    }
    jpeg(name, &strip)
}

fn animation(name: &str, image: &Encoded) -> Result<Vec<RgbImage>> {
    let cursor = || Cursor::new(&image.bytes[..]);
    let frames: std::result::Result<Vec<_>, _> = match image.mime {
        "image/gif" => {
            GifDecoder::new(cursor()).map_err(failed(name))?.into_frames().take(DECODED_FRAMES).collect()
        }
        "image/webp" => {
            let decoder = WebPDecoder::new(cursor()).map_err(failed(name))?;
            if !decoder.has_animation() {
                return Ok(vec![decode(name, &image.bytes)?.to_rgb8()]);
            }
            decoder.into_frames().take(DECODED_FRAMES).collect()
        }
        _ => return Ok(vec![decode(name, &image.bytes)?.to_rgb8()]),
    };
    let frames = frames.map_err(failed(name))?;
    if frames.is_empty() {
        return Err(failed(name)("it has no frame"));
    }
    Ok(frames.into_iter().map(|frame| DynamicImage::ImageRgba8(frame.into_buffer()).to_rgb8()).collect())
}

fn reader(bytes: &[u8]) -> ImageReader<Cursor<&[u8]>> {
    // Reading from memory cannot fail.
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("memory can be read");
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_LIMIT);
    reader.limits(limits);
    reader
}

fn decode(name: &str, bytes: &[u8]) -> Result<DynamicImage> {
    reader(bytes).decode().map_err(failed(name))
}

fn jpeg(name: &str, image: &RgbImage) -> Result<Encoded> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(image).map_err(failed(name))?;
    Ok(Encoded { bytes, mime: "image/jpeg" })
}

fn failed<E: ToString>(name: &str) -> impl Fn(E) -> Error {
    let name = name.to_owned();
    move |error| Error::Image { name: name.clone(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, ImageFormat, Rgb, RgbaImage};

    use super::*;

    fn png(width: u32, height: u32, shade: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = RgbImage::from_pixel(width, height, Rgb([shade; 3]));
        DynamicImage::ImageRgb8(image).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    fn size(encoded: &Encoded) -> (u32, u32) {
        let image = image::load_from_memory(&encoded.bytes).unwrap();
        (image.width(), image.height())
    }

    #[test]
    fn small_images_stay_and_large_ones_shrink() {
        let small = Encoded { bytes: png(64, 64, 9), mime: "image/png" };
        assert_eq!(thumbnail("x", small.clone(), SIDE).unwrap(), small);
        let large = Encoded { bytes: png(1024, 512, 9), mime: "image/png" };
        let shown = thumbnail("x", large, SIDE).unwrap();
        assert_eq!((size(&shown), shown.mime), ((256, 128), "image/jpeg"));
    }

    fn gif(width: u32, height: u32, shades: &[u8]) -> Encoded {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for &shade in shades {
            let frame = RgbaImage::from_pixel(width, height, image::Rgba([shade, shade, shade, 255]));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay)).unwrap();
        }
        drop(encoder);
        Encoded { bytes, mime: "image/gif" }
    }

    #[test]
    fn frames_stand_side_by_side() {
        let shown = strip("x", &gif(64, 32, &[0, 128, 255])).unwrap();
        let image = image::load_from_memory(&shown.bytes).unwrap().to_rgb8();
        assert_eq!((image.width(), image.height()), (192, 32));
        let shades = [20, 90, 170].map(|x| image.get_pixel(x, 16)[0]);
        assert!(shades[0] < 8 && shades[1].abs_diff(128) < 8 && shades[2] > 247, "{shades:?}");
    }

    #[test]
    fn animated_files_have_a_poster() {
        assert_eq!(size(&thumbnail("x", gif(32, 32, &[0, 255]), SIDE).unwrap()), (32, 32));
    }

    #[test]
    fn every_cut_of_an_image_is_an_error_or_an_image() {
        let whole = png(300, 300, 7);
        for length in 0..whole.len() {
            let cut = Encoded { bytes: whole[..length].to_vec(), mime: "image/png" };
            let _ = thumbnail("x", cut, SIDE);
        }
    }
}

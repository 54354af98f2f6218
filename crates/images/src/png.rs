//! PNG, down to the way in which Pillow reads 16 bits and colours that stand for transparency.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Transformations};

use crate::error::{Error, Format, Result};
use crate::pixels::{over_white, palette, unpack};
use crate::{RgbImage, check_size};

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    let transparent = transparency(bytes)?;
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(error)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height, Format::Png)?;
    let bits = info.bit_depth as usize;
    let (color, depth) = (info.color_type, info.bit_depth);
    let colors = palette(info.palette.as_deref().unwrap_or_default());
    let line = info.raw_row_length() - 1;
    let mut rows = vec![0; line * height];
    reader.next_frame(&mut rows).map_err(error)?;
    let pixel = Pixel { color, depth, transparent, colors };
    let channels = color.samples();
    let mut bytes = Vec::with_capacity(width * height * 3);
    for row in rows.chunks_exact(line) {
        let samples = unpack(row, bits, width * channels);
        bytes.extend(samples.chunks_exact(channels).flat_map(|samples| pixel.to_rgb(samples)));
    }
    Ok(RgbImage { width, height, bytes })
}

/// What the samples of a pixel mean.
struct Pixel {
    color: ColorType,
    depth: BitDepth,
    /// The chunk `tRNS`: opacities of the palette's first colours, or the samples of the one colour that is transparent.
    transparent: Vec<u8>,
    colors: Vec<[u8; 3]>,
}

impl Pixel {
    fn to_rgb(&self, samples: &[u16]) -> [u8; 3] {
        match self.color {
            ColorType::Indexed => {
                let index = usize::from(samples[0]);
                let [red, green, blue] = self.colors[index];
                let alpha = self.transparent.get(index).copied().unwrap_or(255);
                over_white([red, green, blue, alpha])
            }
            // Pillow opens 16-bit gray as integers, which it cuts off at 255 where it makes them 8-bit.
            ColorType::Grayscale if self.depth == BitDepth::Sixteen => {
                self.unless_transparent([samples[0].min(255) as u8; 3], &[samples[0]])
            }
            ColorType::Grayscale => {
                let gray = self.byte(samples[0]);
                self.unless_transparent([gray; 3], &[u16::from(gray)])
            }
            ColorType::Rgb => {
                let color = [0, 1, 2].map(|at| self.byte(samples[at]));
                self.unless_transparent(color, &color.map(u16::from))
            }
            ColorType::GrayscaleAlpha => {
                let [gray, alpha] = [0, 1].map(|at| self.byte(samples[at]));
                over_white([gray, gray, gray, alpha])
            }
            ColorType::Rgba => over_white([0, 1, 2, 3].map(|at| self.byte(samples[at]))),
        }
    }

    /// Eight bits: the upper half of 16, and fewer spread over the whole range.
    fn byte(&self, sample: u16) -> u8 {
        match self.depth {
            BitDepth::Sixteen => (sample >> 8) as u8,
            BitDepth::Eight => sample as u8,
            BitDepth::Four => (sample * 0x11) as u8,
            BitDepth::Two => (sample * 0x55) as u8,
            BitDepth::One => (sample * 0xff) as u8,
        }
    }

    /// White where the pixel is the transparent colour. Pillow compares after the conversion to 8 bits, so colours of
    /// other depths are hardly ever found; this does the same.
    fn unless_transparent(&self, color: [u8; 3], samples: &[u16]) -> [u8; 3] {
        let key = self.transparent.as_chunks::<2>().0.iter().map(|&bytes| u16::from_be_bytes(bytes));
        if key.len() == samples.len() && key.eq(samples.iter().copied()) { [255; 3] } else { color }
    }
}

/// The contents of the chunk `tRNS`, empty where there is none; the decoder gives them changed. Checks on the way that all
/// chunks are there, since the decoder is content with fewer.
fn transparency(bytes: &[u8]) -> Result<Vec<u8>> {
    let truncated = || Error::Truncated { format: Format::Png };
    let mut found = Vec::new();
    let mut at = 8;
    loop {
        let head = bytes.get(at..at + 8).ok_or_else(truncated)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let body = bytes.get(at + 8..at.saturating_add(length + 12)).ok_or_else(truncated)?;
        match &head[4..] {
            b"IEND" => return Ok(found),
            b"tRNS" => found = body[..length].to_vec(),
            _ => {}
        }
        at += length + 12;
    }
}

fn error(error: DecodingError) -> Error {
    Error::Damaged { format: Format::Png, reason: error.to_string() }
}

//! The first image of a TIFF file: the kinds that Pillow opens, in strips or tiles, with the usual compressions.
//!
//! TIFF 6.0, Adobe 1992, and the technical notes on compression by deflate and JPEG.

mod compression;
mod directory;

use crate::error::{Error, Format, Result};
use crate::pixels::{cmyk_to_rgb, over_white, unpack};
use crate::{RgbImage, check_size};
use compression::{Compression, Piece};
use directory::{Directory, Tag};

/// What the samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// How the samples lie in the file.
struct Layout {
    width: usize,
    height: usize,
    photometric: Photometric,
    bits: usize,
    /// 1: whole numbers, 2: signed ones, 3: floats.
    sample_format: u64,
    samples: usize,
    /// Whether each sample has strips or tiles of its own.
    separate: bool,
    /// What the samples beyond the colours are; 0: nothing, 1: premultiplied opacity, others: opacity.
    extra: Vec<u64>,
    compression: Compression,
    little_endian: bool,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    let directory = Directory::read(bytes)?;
    let mut layout = Layout::of(&directory)?;
    check_size(layout.width, layout.height, Format::Tiff)?;
    let samples = samples(bytes, &directory, &layout)?;
    if layout.compression == Compression::Jpeg {
        // The JPEG decoder gives RGB, whatever lies in the file.
        layout = Layout { photometric: Photometric::Rgb, samples: 3, ..layout };
    }
    let pixels = to_rgb(&layout, &directory, &samples)?;
    let image = RgbImage { width: layout.width, height: layout.height, bytes: pixels };
    Ok(oriented(image, directory.number(Tag::Orientation)?.unwrap_or(1)))
}

impl Layout {
    fn of(directory: &Directory<'_>) -> Result<Self> {
        let size = |tag| Ok(directory.number(tag)?.unwrap_or(0) as usize);
        let photometric = match directory.number(Tag::Photometric)?.unwrap_or(0) {
            0 => Photometric::WhiteIsZero,
            1 => Photometric::BlackIsZero,
            2 => Photometric::Rgb,
            3 => Photometric::Palette,
            5 => Photometric::Cmyk,
            6 => Photometric::YCbCr,
            other => return Err(unsupported(format!("colours of kind {other}"))),
        };
        let bits = directory.numbers(Tag::BitsPerSample)?.unwrap_or_else(|| vec![1]);
        let samples = directory.number(Tag::SamplesPerPixel)?.unwrap_or(1) as usize;
        let first = bits.first().copied().unwrap_or(1);
        if bits.iter().any(|&other| other != first) || !matches!(first, 1 | 2 | 4 | 8 | 16 | 32) {
            return Err(unsupported(format!("samples of {bits:?} bits")));
        }
        if !(1..=8).contains(&samples) {
            return Err(unsupported(format!("{samples} samples a pixel")));
        }
        Ok(Self {
            width: size(Tag::Width)?,
            height: size(Tag::Height)?,
            photometric,
            bits: first as usize,
            sample_format: directory.number(Tag::SampleFormat)?.unwrap_or(1),
            samples,
            separate: directory.number(Tag::PlanarConfiguration)? == Some(2),
            extra: directory.numbers(Tag::ExtraSamples)?.unwrap_or_default(),
            compression: Compression::of(directory)?,
            little_endian: directory.little_endian,
        })
    }

    /// The bits of a number of one sample, as a whole number from 0 on.
    fn number(&self, bytes: &[u8]) -> u32 {
        let mut wide = [0; 4];
        if self.little_endian {
            wide[..bytes.len()].copy_from_slice(bytes);
            u32::from_le_bytes(wide)
        } else {
            wide[4 - bytes.len()..].copy_from_slice(bytes);
            u32::from_be_bytes(wide)
        }
    }

    fn row(&self, bytes: &[u8], count: usize) -> Vec<u32> {
        match self.bits {
            16 | 32 => {
                bytes.chunks_exact(self.bits / 8).take(count).map(|bytes| self.number(bytes)).collect()
            }
            bits => unpack(bytes, bits, count).into_iter().map(u32::from).collect(),
        }
    }
}

/// All samples, `[height, width, samples]`, put together from strips or tiles.
fn samples(bytes: &[u8], directory: &Directory<'_>, layout: &Layout) -> Result<Vec<u32>> {
    let [width, height] = [layout.width, layout.height];
    let tiled = directory.number(Tag::TileWidth)?.is_some();
    let (offsets, counts) = if tiled {
        (Tag::TileOffsets, Tag::TileByteCounts)
    } else {
        (Tag::StripOffsets, Tag::StripByteCounts)
    };
    let side = |tag, otherwise: usize| {
        let side = directory.number(tag)?.map_or(otherwise, |side| (side as usize).min(1 << 20));
        if side > 0 { Ok(side) } else { Err(damaged("its strips or tiles have no pixels")) }
    };
    let (across, down) = if tiled {
        (side(Tag::TileWidth, width)?, side(Tag::TileHeight, height)?)
    } else {
        (width, side(Tag::RowsPerStrip, height)?.min(height))
    };
    let offsets =
        directory.numbers(offsets)?.ok_or_else(|| damaged("it does not say where its pixels are"))?;
    let counts = directory.numbers(counts)?;
    let jpeg = layout.compression == Compression::Jpeg;
    let channels = if jpeg { 3 } else { layout.samples };
    let (planes, together) = if layout.separate && !jpeg { (channels, 1) } else { (1, channels) };
    let mut samples = vec![0; width * height * channels];
    let mut pieces = offsets.iter().enumerate();
    for plane in 0..planes {
        for top in (0..height).step_by(down) {
            for left in (0..width).step_by(across) {
                let (at, &offset) = pieces.next().ok_or_else(|| damaged("it has too few strips or tiles"))?;
                let rows = if tiled { down } else { down.min(height - top) };
                let packed = (across * together * layout.bits).div_ceil(8);
                let end = match counts.as_ref().and_then(|counts| counts.get(at)) {
                    Some(count) => offset.saturating_add(*count),
                    None => offset.saturating_add((packed * rows) as u64),
                };
                let stored = bytes.get(offset as usize..end as usize).ok_or_else(truncated)?;
                let piece = Piece { width: across, rows, packed, together, bits: layout.bits };
                let unpacked = layout.compression.unpack(stored, piece, directory, layout.photometric)?;
                for (row, line) in unpacked.chunks_exact(packed).enumerate().take(height - top) {
                    let columns = across.min(width - left);
                    let numbers = layout.row(line, columns * together);
                    for (column, numbers) in numbers.chunks_exact(together).enumerate() {
                        let start = ((top + row) * width + left + column) * channels + plane;
                        samples[start..start + together].copy_from_slice(numbers);
                    }
                }
            }
        }
    }
    Ok(samples)
}

fn to_rgb(layout: &Layout, directory: &Directory<'_>, samples: &[u32]) -> Result<Vec<u8>> {
    let Layout { photometric, bits, samples: channels, .. } = *layout;
    let pixels = || samples.chunks_exact(channels);
    // Pillow takes the upper half of 16 bits.
    let byte = |sample: u32| (if bits == 16 { sample >> 8 } else { sample }) as u8;
    let eight = matches!(bits, 8 | 16) && layout.sample_format == 1;
    let opacity = layout.extra.first().copied();
    Ok(match (photometric, channels) {
        (Photometric::WhiteIsZero | Photometric::BlackIsZero, 1) => {
            samples.iter().flat_map(|&sample| [gray(layout, sample); 3]).collect()
        }
        (Photometric::BlackIsZero, 2) if bits == 8 && opacity == Some(0) => {
            pixels().flat_map(|pixel| [byte(pixel[0]); 3]).collect()
        }
        (Photometric::BlackIsZero, 2) if bits == 8 && opacity == Some(2) => pixels()
            .flat_map(|pixel| {
                let level = byte(pixel[0]);
                over_white([level, level, level, byte(pixel[1])])
            })
            .collect(),
        (Photometric::Palette, 1 | 2) if bits <= 8 => {
            let colors = directory.numbers(Tag::ColorMap)?.unwrap_or_default();
            let count = colors.len() / 3;
            let mut bytes = Vec::with_capacity(layout.width * layout.height * 3);
            for pixel in pixels() {
                let index = pixel[0] as usize;
                if index >= count {
                    return Err(damaged("a pixel has no colour in the palette"));
                }
                let [red, green, blue] = [0, 1, 2].map(|at| (colors[at * count + index] >> 8) as u8);
                let alpha = if channels == 2 && opacity == Some(2) { byte(pixel[1]) } else { 255 };
                bytes.extend(over_white([red, green, blue, alpha]));
            }
            bytes
        }
        (Photometric::Rgb, 3..) if eight && (channels == 3 || opacity == Some(0)) => {
            pixels().flat_map(|pixel| [byte(pixel[0]), byte(pixel[1]), byte(pixel[2])]).collect()
        }
        (Photometric::Rgb, 4..) if eight => pixels()
            .flat_map(|pixel| {
                let mut color = [0, 1, 2, 3].map(|at| byte(pixel[at]));
                if opacity == Some(1) {
                    color = unmultiplied(color);
                }
                over_white(color)
            })
            .collect(),
        (Photometric::Cmyk, 4..) if eight => {
            pixels().flat_map(|pixel| cmyk_to_rgb([0, 1, 2, 3].map(|at| byte(pixel[at])))).collect()
        }
        _ => {
            let feature = format!("{channels} samples of {bits} bits a pixel as {photometric:?}");
            return Err(unsupported(feature));
        }
    })
}

/// Pillow spreads few bits over the whole range, and cuts more than eight off at 0 and 255.
fn gray(layout: &Layout, sample: u32) -> u8 {
    let number = match (layout.bits, layout.sample_format) {
        (16, 2) => f64::from(sample as u16 as i16),
        (32, 1 | 2) => f64::from(sample as i32),
        (32, 3) => f64::from(f32::from_bits(sample)),
        (16, _) => f64::from(sample),
        (bits, _) => {
            let level = sample * 255 / ((1 << bits) - 1);
            f64::from(if layout.photometric == Photometric::WhiteIsZero { 255 - level } else { level })
        }
    };
    number.clamp(0.0, 255.0) as u8
}

/// A colour that was multiplied by its opacity.
fn unmultiplied([red, green, blue, alpha]: [u8; 4]) -> [u8; 4] {
    let divided =
        |color: u8| (u32::from(color) * 255).checked_div(u32::from(alpha)).unwrap_or(0).min(255) as u8;
    [divided(red), divided(green), divided(blue), alpha]
}

/// The image as the tag `Orientation` says that it is to be seen; Pillow does this for TIFF alone.
fn oriented(image: RgbImage, orientation: u64) -> RgbImage {
    let (width, height) = (image.width, image.height);
    let swapped = (5..=8).contains(&orientation);
    let [wide, high] = if swapped { [height, width] } else { [width, height] };
    if !(2..=8).contains(&orientation) {
        return image;
    }
    let from = |row: usize, column: usize| match orientation {
        2 => (row, width - 1 - column),
        3 => (height - 1 - row, width - 1 - column),
        4 => (height - 1 - row, column),
        5 => (column, row),
        6 => (height - 1 - column, row),
        7 => (height - 1 - column, width - 1 - row),
        _ => (column, width - 1 - row),
    };
    let mut bytes = Vec::with_capacity(image.bytes.len());
    for row in 0..high {
        for column in 0..wide {
            let (y, x) = from(row, column);
            bytes.extend_from_slice(&image.bytes[(y * width + x) * 3..][..3]);
        }
    }
    RgbImage { width: wide, height: high, bytes }
}

fn truncated() -> Error {
    Error::Truncated { format: Format::Tiff }
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::Damaged { format: Format::Tiff, reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> Error {
    Error::Unsupported { format: Format::Tiff, feature: feature.into() }
}

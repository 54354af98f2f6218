//! What the components of a JPEG file mean, and their way to RGB.

use super::{Frame, Tables};
use crate::error::{Error, Format, Result};
use crate::pixels::cmyk_to_rgb;

/// The colour space of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Gray,
    Rgb,
    YCbCr,
    /// Inverted, as Adobe's programs write it and Pillow always reads it.
    Cmyk,
    /// Inverted CMYK whose first three are coded as YCbCr.
    Ycck,
}

impl Space {
    /// What markers and component names say, with libjpeg's precedence.
    pub(super) fn of(frame: &Frame, tables: &Tables) -> Result<Self> {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        Ok(match (ids.len(), tables.adobe_transform) {
            (1, _) => Self::Gray,
            (3, _) if tables.jfif => Self::YCbCr,
            (3, Some(0)) => Self::Rgb,
            (3, None) if ids == *b"RGB" => Self::Rgb,
            (3, _) => Self::YCbCr,
            (4, Some(2)) => Self::Ycck,
            (4, _) => Self::Cmyk,
            (count, _) => {
                let feature = format!("{count} components");
                return Err(Error::Unsupported { format: Format::Jpeg, feature });
            }
        })
    }

    pub(super) fn to_rgb(self, planes: &[Vec<u8>]) -> Vec<u8> {
        let pixel = |at: usize| -> [u8; 3] {
            let sample = |plane: usize| planes[plane][at];
            match self {
                Self::Gray => [sample(0); 3],
                Self::Rgb => [sample(0), sample(1), sample(2)],
                Self::YCbCr => ycbcr_to_rgb(sample(0), sample(1), sample(2)),
                Self::Cmyk => cmyk_to_rgb([0, 1, 2, 3].map(|plane| 255 - sample(plane))),
                Self::Ycck => {
                    let [cyan, magenta, yellow] = ycbcr_to_rgb(sample(0), sample(1), sample(2));
                    // The conversion ends in 255 minus each colour, which the inversion takes back.
                    cmyk_to_rgb([cyan, magenta, yellow, 255 - sample(3)])
                }
            }
        };
        (0..planes[0].len()).flat_map(pixel).collect()
    }
}

/// JFIF's YCbCr with factors of 16 bits.
fn ycbcr_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    const fn fixed(x: f64) -> i32 {
        (x * 65536.0 + 0.5) as i32
    }
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fixed(1.402) * cr + HALF) >> 16);
    let green = y + ((-fixed(0.344_14) * cb - fixed(0.714_14) * cr + HALF) >> 16);
    let blue = y + ((fixed(1.772) * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

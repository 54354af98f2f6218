//! The compressions of strips and tiles.

use std::io::Read;

use fax::Color;
use fax::decoder::{decode_g3, decode_g4, pels};
use flate2::read::ZlibDecoder;
use weezl::BitOrder;

use super::directory::{Directory, Tag};
use super::{Photometric, damaged, truncated, unsupported};
use crate::error::Result;
use crate::jpeg;

/// How the pixels are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Group3,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

/// A strip or tile.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Columns.
    pub(super) width: usize,
    /// Rows.
    pub(super) rows: usize,
    /// Bytes of a row.
    pub(super) packed: usize,
    /// Samples of a pixel that lie side by side.
    pub(super) together: usize,
    /// Bits of a sample.
    pub(super) bits: usize,
}

impl Compression {
    pub(super) fn of(directory: &Directory<'_>) -> Result<Self> {
        Ok(match directory.number(Tag::Compression)?.unwrap_or(1) {
            1 => Self::None,
            3 if directory.number(Tag::T4Options)?.unwrap_or(0) & 1 == 0 => Self::Group3,
            4 => Self::Group4,
            5 => Self::Lzw,
            7 => Self::Jpeg,
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            other => return Err(unsupported(format!("compression {other}"))),
        })
    }

    /// The bytes of a piece, `rows` times `packed`; of JPEG always three of eight bits a pixel.
    pub(super) fn unpack(
        self,
        stored: &[u8],
        piece: Piece,
        directory: &Directory<'_>,
        photometric: Photometric,
    ) -> Result<Vec<u8>> {
        let length = piece.rows * piece.packed;
        let reversed: Vec<u8>;
        let stored = if directory.number(Tag::FillOrder)? == Some(2) {
            reversed = stored.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            stored
        };
        let mut bytes = match self {
            Self::None => stored.get(..length).ok_or_else(truncated)?.to_vec(),
            Self::Lzw => {
                let mut bytes = Vec::new();
                let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
                let result = decoder.into_vec(&mut bytes).decode_all(stored).status;
                if bytes.len() < length {
                    result.map_err(|error| damaged(error.to_string()))?;
                }
                bytes
            }
            Self::Deflate => {
                let mut bytes = vec![0; length];
                ZlibDecoder::new(stored).read_exact(&mut bytes).map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => truncated(),
                    _ => damaged(error.to_string()),
                })?;
                bytes
            }
            Self::PackBits => unpack_bits(stored, length)?,
            Self::Group3 | Self::Group4 => self.unpack_fax(stored, piece)?,
            Self::Jpeg => {
                let tables = directory.bytes(Tag::JpegTables).unwrap_or_default();
                let image = jpeg::decode_piece(tables, stored, photometric == Photometric::YCbCr)?;
                if image.width != piece.width || image.height < piece.rows.min(image.height) {
                    return Err(damaged("a JPEG strip or tile has another size than the file says"));
                }
                let mut bytes = image.bytes;
                bytes.resize(length.max(bytes.len()), 0);
                bytes
            }
        };
        if bytes.len() < length {
            return Err(truncated());
        }
        bytes.truncate(length);
        match directory.number(Tag::Predictor)?.unwrap_or(1) {
            1 => {}
            2 if matches!(self, Self::Lzw | Self::Deflate) => {
                bytes.chunks_exact_mut(piece.packed).try_for_each(|row| accumulate(row, piece, directory))?;
            }
            other => return Err(unsupported(format!("predictor {other}"))),
        }
        Ok(bytes)
    }

    fn unpack_fax(self, stored: &[u8], piece: Piece) -> Result<Vec<u8>> {
        let width = u16::try_from(piece.width).map_err(|_| unsupported("fax lines of that width"))?;
        let mut bytes = Vec::with_capacity(piece.rows * piece.packed);
        let line = |transitions: &[u16]| {
            let start = bytes.len();
            bytes.resize(start + piece.packed, 0);
            for (column, color) in pels(transitions, width).enumerate() {
                if color == Color::Black {
                    bytes[start + column / 8] |= 0x80 >> (column % 8);
                }
            }
        };
        let input = stored.iter().copied();
        let complete = match self {
            Self::Group3 => decode_g3(input, line).is_some(),
            _ => decode_g4(input, width, u16::try_from(piece.rows).ok(), line).is_some(),
        };
        if complete || bytes.len() >= piece.rows * piece.packed { Ok(bytes) } else { Err(truncated()) }
    }
}

fn unpack_bits(stored: &[u8], length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    let mut rest = stored;
    while bytes.len() < length {
        let (&head, after) = rest.split_first().ok_or_else(truncated)?;
        rest = after;
        match head as i8 {
            -128 => {}
            count @ 0.. => {
                let (run, after) = rest.split_at_checked(count as usize + 1).ok_or_else(truncated)?;
                bytes.extend_from_slice(run);
                rest = after;
            }
            count => {
                let (&byte, after) = rest.split_first().ok_or_else(truncated)?;
                bytes.extend(std::iter::repeat_n(byte, 1 + usize::from(count.unsigned_abs())));
                rest = after;
            }
        }
    }
    Ok(bytes)
}

/// Turns differences to the pixel on the left into samples.
fn accumulate(row: &mut [u8], piece: Piece, directory: &Directory<'_>) -> Result<()> {
    let size = match piece.bits {
        8 | 16 | 32 => piece.bits / 8,
        bits => return Err(unsupported(format!("predictor 2 with {bits} bits"))),
    };
    let step = piece.together * size;
    for at in (step..row.len()).step_by(size) {
        let mut carry = 0;
        for place in 0..size {
            let place = if directory.little_endian { place } else { size - 1 - place };
            let sum = u16::from(row[at + place]) + u16::from(row[at + place - step]) + carry;
            row[at + place] = sum as u8;
            carry = sum >> 8;
        }
    }
    Ok(())
}

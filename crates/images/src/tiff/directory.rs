//! The table of a TIFF file's tags.

use std::collections::BTreeMap;

use super::{damaged, truncated, unsupported};
use crate::error::Result;

/// The tags that are read, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Tag {
    Width = 256,
    Height = 257,
    BitsPerSample = 258,
    Compression = 259,
    Photometric = 262,
    FillOrder = 266,
    StripOffsets = 273,
    Orientation = 274,
    SamplesPerPixel = 277,
    RowsPerStrip = 278,
    StripByteCounts = 279,
    PlanarConfiguration = 284,
    T4Options = 292,
    Predictor = 317,
    ColorMap = 320,
    TileWidth = 322,
    TileHeight = 323,
    TileOffsets = 324,
    TileByteCounts = 325,
    ExtraSamples = 338,
    SampleFormat = 339,
    JpegTables = 347,
}

/// The first directory of a file.
pub(super) struct Directory<'a> {
    pub(super) little_endian: bool,
    /// For each tag the size of its numbers in bytes and the bytes.
    entries: BTreeMap<u16, (usize, &'a [u8])>,
}

impl<'a> Directory<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let little_endian = bytes.starts_with(b"II");
        let mut directory = Self { little_endian, entries: BTreeMap::new() };
        let at =
            |start: usize, count: usize| bytes.get(start..start.saturating_add(count)).ok_or_else(truncated);
        if directory.of(at(2, 2)?) == 43 {
            return Err(unsupported("64-bit offsets"));
        }
        let start = directory.of(at(4, 4)?) as usize;
        let count = directory.of(at(start, 2)?) as usize;
        for entry in at(start + 2, count * 12)?.chunks_exact(12) {
            let (tag, kind) = (directory.of(&entry[..2]) as u16, directory.of(&entry[2..4]));
            let size = match kind {
                1 | 2 | 6 | 7 => 1,
                3 | 8 => 2,
                4 | 9 => 4,
                // Fractions and floats are in none of the tags that are read.
                _ => continue,
            };
            let length = (directory.of(&entry[4..8]) as usize).saturating_mul(size);
            let value = if length <= 4 {
                &entry[8..8 + length]
            } else {
                match bytes.get(directory.of(&entry[8..]) as usize..).and_then(|rest| rest.get(..length)) {
                    Some(value) => value,
                    None => continue,
                }
            };
            directory.entries.entry(tag).or_insert((size, value));
        }
        Ok(directory)
    }

    /// A number of 1 to 4 bytes.
    fn of(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        if self.little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        self.entries.get(&(tag as u16)).map(|(_, bytes)| *bytes)
    }

    /// The numbers of a tag.
    pub(super) fn numbers(&self, tag: Tag) -> Result<Option<Vec<u64>>> {
        let Some((size, bytes)) = self.entries.get(&(tag as u16)) else {
            return Ok(None);
        };
        if bytes.is_empty() {
            return Err(damaged(format!("its tag {tag:?} is empty")));
        }
        Ok(Some(bytes.chunks_exact(*size).map(|bytes| self.of(bytes)).collect()))
    }

    /// The first number of a tag.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<u64>> {
        Ok(self.numbers(tag)?.and_then(|numbers| numbers.first().copied()))
    }
}

//! The little of the zip format that PyTorch writes: stored entries, with 64-bit sizes where they are needed.
//!
//! Reference: PKWARE's `APPNOTE.TXT`, sections 4.3 and 4.5.3.

use std::collections::BTreeMap;

use super::invalid;
use crate::error::Result;
use crate::open_file::OpenFile;

/// Where an entry's bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// The largest table of contents that is read; PyTorch's has about 100 bytes a tensor.
const LARGEST_DIRECTORY: u64 = 1 << 28;
/// The end record with the longest comment.
const END_RECORD: u64 = 22;
const LONGEST_COMMENT: u64 = 0xffff;

/// The entries of the archive by their names.
pub(super) fn entries(file: &mut OpenFile) -> Result<BTreeMap<String, Entry>> {
    let (start, length) = directory(file)?;
    if length > LARGEST_DIRECTORY || start.checked_add(length).is_none_or(|end| end > file.length) {
        return Err(invalid(file, "its table of contents lies outside of the file"));
    }
    let bytes = file.read_at(start, length as usize)?;
    let mut entries = BTreeMap::new();
    let mut rest = &*bytes;
    while !rest.is_empty() {
        let (header, after) = Header::parse(rest)
            .ok_or_else(|| invalid(file, "its table of contents is damaged or has compressed entries"))?;
        let entry = header.locate(file)?;
        entries.insert(header.name, entry);
        rest = after;
    }
    Ok(entries)
}

/// Start and length of the central directory, from the record at the end of the file.
fn directory(file: &mut OpenFile) -> Result<(u64, u64)> {
    let tail_length = file.length.min(END_RECORD + LONGEST_COMMENT);
    let tail_start = file.length - tail_length;
    let tail = file.read_at(tail_start, tail_length as usize)?;
    let at = tail
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x05\x06")
        .filter(|at| at + END_RECORD as usize <= tail.len())
        .ok_or_else(|| invalid(file, "it has no table of contents, so it was cut off"))?;
    let (length, start) = (u32_at(&tail, at + 12), u32_at(&tail, at + 16));
    if let (Some(length), Some(start)) = (length, start)
        && length != u32::MAX
        && start != u32::MAX
    {
        return Ok((start.into(), length.into()));
    }
    // The sizes stand in the 64-bit record, which the locator just before this record points to.
    let record = at
        .checked_sub(20)
        .filter(|&locator| tail[locator..].starts_with(b"PK\x06\x07"))
        .and_then(|locator| u64_at(&tail, locator + 8))
        .filter(|&record| record.checked_add(56).is_some_and(|end| end <= file.length))
        .ok_or_else(|| invalid(file, "its 64-bit table of contents is damaged"))?;
    let record = file.read_at(record, 56)?;
    match (record.starts_with(b"PK\x06\x06"), u64_at(&record, 48), u64_at(&record, 40)) {
        (true, Some(start), Some(length)) => Ok((start, length)),
        _ => Err(invalid(file, "its 64-bit table of contents is damaged")),
    }
}

/// One entry of the central directory.
struct Header {
    name: String,
    length: u64,
    local_header: u64,
}

impl Header {
    /// The first header of `bytes` and what follows it; `None` where it is damaged or compressed.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let is_stored = u16_at(bytes, 10)? == 0;
        if !bytes.starts_with(b"PK\x01\x02") || !is_stored {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(bytes, at).map(usize::from));
        let (name_end, extra_end) = (46 + name?, 46 + name? + extra?);
        let text = String::from_utf8_lossy(bytes.get(46..name_end)?).into_owned();
        let extra = bytes.get(name_end..extra_end)?;
        // Fields of 2^32 - 1 are found in the extra field instead, in this order.
        let mut long = long_fields(extra).into_iter();
        let mut size = |at: usize| match u32_at(bytes, at)? {
            u32::MAX => long.next(),
            short => Some(short.into()),
        };
        let (length, stored) = (size(24)?, size(20)?);
        let header = Self { name: text, length, local_header: size(42)? };
        (length == stored).then_some((header, bytes.get(extra_end + comment?..)?))
    }

    /// Skips the local header, whose own lengths may differ: PyTorch pads it to align the data.
    fn locate(&self, file: &mut OpenFile) -> Result<Entry> {
        const LOCAL_HEADER: u64 = 30;
        let outside =
            |file: &OpenFile| invalid(file, format!("its entry {} lies outside of the file", self.name));
        let inside = |end: Option<u64>, file: &OpenFile| end.is_some_and(|end| end <= file.length);
        if !inside(self.local_header.checked_add(LOCAL_HEADER), file) {
            return Err(outside(file));
        }
        let local = file.read_at(self.local_header, LOCAL_HEADER as usize)?;
        let lengths = [26, 28].map(|at| u64::from(u16_at(&local, at).unwrap_or(0)));
        let start = self.local_header + LOCAL_HEADER + lengths[0] + lengths[1];
        if !local.starts_with(b"PK\x03\x04") || !inside(start.checked_add(self.length), file) {
            return Err(outside(file));
        }
        Ok(Entry { start, length: self.length })
    }
}

/// The numbers of the zip64 extra field.
fn long_fields(mut extra: &[u8]) -> Vec<u64> {
    while let (Some(kind), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(body) = extra.get(4..4 + usize::from(length)) else { break };
        if kind == 1 {
            return body.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
        }
        extra = &extra[4 + usize::from(length)..];
    }
    Vec::new()
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

//! Records of JSON lines from bytes that somebody else read, for readers that must not follow a path.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// All whole records in `bytes`, the content of the file `path`; a torn last line is left out.
///
/// # Errors
/// Where a whole line is not a record.
pub fn records<R: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Vec<R>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let read = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|_| Error::not_a_record(path, at + 1))
    };
    lines.enumerate().map(read).collect()
}

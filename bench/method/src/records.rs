//! Files of one JSON object a line that only grow, so that a killed measurement goes on where it was.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The records of a file, none of an absent one. A torn last line is left out; any other bad line is an error.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let (whole, _torn) = text.rsplit_once('\n').unwrap_or_default();
    let lines = whole.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))
        })
        .collect()
}

/// Appends one record and waits until it is on the disk. What a kill left of an unfinished line is cut off first.
pub fn append(path: &Path, record: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let written = || -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        cut_torn_line(path, &file)?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(file.sync_data()?)
    };
    written().with_context(|| format!("writing {}", path.display()))
}

fn cut_torn_line(path: &Path, file: &File) -> Result<()> {
    let bytes = fs::read(path)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if end < bytes.len() {
        file.set_len(end as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_left_out_and_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below").join("numbers.jsonl");
        assert_eq!(read::<u32>(&path).unwrap(), [0; 0]);
        append(&path, &1).unwrap();
        append(&path, &22).unwrap();
        fs::write(&path, "1\n22\n3").unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), [1, 22]);
        append(&path, &4).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n22\n4\n");
        fs::write(&path, "1\nx\n3\n").unwrap();
        assert!(format!("{:#}", read::<u32>(&path).unwrap_err()).contains("numbers.jsonl:2"));
    }
}

//! Files of JSON lines: one record a line, appended and synced; a torn last line is normal.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The end of a file, where records are added.
pub(crate) struct LineWriter {
    path: PathBuf,
    file: File,
    length: u64,
}

impl LineWriter {
    /// Opens the file and cuts it after the record of `last_step` (0 empties it), so that a resumed run says
    /// what an uninterrupted one says. Each record is an object with the number `step`, in rising order.
    pub(crate) fn open_after(path: &Path, last_step: u32) -> Result<Self> {
        #[derive(Deserialize)]
        struct Step {
            step: u32,
        }
        let is_kept =
            |line: &[u8]| serde_json::from_slice::<Step>(line).is_ok_and(|record| record.step <= last_step);
        let length = lines(path)?.iter().take_while(|line| is_kept(line)).map(Vec::len).sum();
        Self::open_at(path, length)
    }

    /// Opens the file and cuts off a torn last line.
    pub(crate) fn open_whole(path: &Path) -> Result<Self> {
        let length = lines(path)?.iter().map(Vec::len).sum();
        Self::open_at(path, length)
    }

    fn open_at(path: &Path, length: usize) -> Result<Self> {
        let length = length as u64;
        let file =
            OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("write", path))?;
        file.set_len(length).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Adds one line; a line that cannot be written whole is taken back.
    pub(crate) fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|error| Error::invalid(&self.path, error))?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // A reader accepts the torn line even if this fails too.
            let _ = self.file.set_len(self.length);
            return Err(Error::io("write", &self.path)(source));
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// All whole records; none where the file does not exist.
pub(crate) fn read<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>> {
    lines(path)?
        .iter()
        .enumerate()
        .map(|(at, line)| serde_json::from_slice(line).map_err(|_| Error::not_a_record(path, at + 1)))
        .collect()
}

/// Lines with their line feed; what follows the last line feed is torn and left out.
fn lines(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    if lines.last().is_some_and(|line| !line.ends_with(b"\n")) {
        lines.pop();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        step: u32,
        reward: f64,
    }

    fn record(step: u32) -> Record {
        Record { step, reward: f64::from(step) / 3.0 }
    }

    #[test]
    fn every_cut_reads_as_the_whole_lines_before_it_and_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = LineWriter::open_after(&path, 0).unwrap();
        for step in 1..=3 {
            writer.append(&record(step)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let kept = read::<Record>(&path).unwrap().len() as u32;
            assert_eq!(kept, whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u32);
            let mut writer = LineWriter::open_after(&path, kept).unwrap();
            for step in kept + 1..=3 {
                writer.append(&record(step)).unwrap();
            }
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn whole_lines_stay_and_a_torn_one_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rewards.jsonl");
        let mut writer = LineWriter::open_whole(&path).unwrap();
        (1..=2).for_each(|step| writer.append(&record(step)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"step\":3,\"rew"].concat()).unwrap();
        LineWriter::open_whole(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn records_after_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = LineWriter::open_after(&path, 0).unwrap();
        (1..=3).for_each(|step| writer.append(&record(step)).unwrap());
        LineWriter::open_after(&path, 2).unwrap();
        assert_eq!(read::<Record>(&path).unwrap(), [record(1), record(2)]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":1,\"reward\":0.5}\nnonsense\n").unwrap();
        let message = read::<Record>(&path).unwrap_err().to_string();
        assert!(message.contains("line 2 is not a record"), "{message}");
    }
}

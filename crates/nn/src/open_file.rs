//! One open file of a model: its headers and tables are read, its numbers are mapped.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use crate::error::{Error, Result};

/// A file that is looked at piece by piece, so that a large one never lies in memory as a whole.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// How messages call it.
    pub(crate) name: String,
    /// Bytes when it was opened.
    pub(crate) length: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Memory(&'static [u8]),
    Owned(Vec<u8>),
    Disk(File),
}

/// Bytes of a file that are looked at where they lie.
pub(crate) enum Mapped {
    Memory(&'static [u8]),
    Owned(Vec<u8>),
    Disk(Mmap),
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Disk(map) => map,
        }
    }
}

impl OpenFile {
    /// A file that is compiled into the program.
    pub(crate) fn in_memory(name: String, bytes: &'static [u8]) -> Result<Self> {
        Self { name, length: bytes.len() as u64, content: Content::Memory(bytes) }.unless_pointer()
    }

    /// A file that was made up.
    pub(crate) fn owned(name: String, bytes: Vec<u8>) -> Self {
        Self { name, length: bytes.len() as u64, content: Content::Owned(bytes) }
    }

    /// A file on the disk.
    pub(crate) fn on_disk(name: String, path: &Path) -> Result<Self> {
        match File::open(path).and_then(|disk| Ok((disk.metadata()?.len(), disk))) {
            Ok((length, disk)) => Self { name, length, content: Content::Disk(disk) }.unless_pointer(),
            Err(source) => Err(Error::Io { file: name, source }),
        }
    }

    /// Copies `length` bytes from `start`; the caller has checked that they lie inside the file.
    pub(crate) fn read_at(&mut self, start: u64, length: usize) -> Result<Cow<'static, [u8]>> {
        match &mut self.content {
            Content::Memory(bytes) => piece(&self.name, bytes, start, length).map(Cow::Borrowed),
            Content::Owned(bytes) => {
                piece(&self.name, bytes, start, length).map(|bytes| Cow::Owned(bytes.to_vec()))
            }
            Content::Disk(disk) => {
                let mut bytes = vec![0; length];
                disk.seek(SeekFrom::Start(start))
                    .and_then(|_| disk.read_exact(&mut bytes))
                    .map_err(|source| Error::Io { file: self.name.clone(), source })?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// The whole file.
    pub(crate) fn read(mut self) -> Result<Cow<'static, [u8]>> {
        // Where it grew meanwhile, its end is of no concern.
        self.read_at(0, self.length as usize)
    }

    /// The `length` bytes from `start` without a copy, for numbers of which every pattern is one; whatever steers the
    /// program is read with [`Self::read_at`].
    ///
    /// Each piece is mapped alone and let go with the value, so the pages of one tensor are all that counts as memory of
    /// this process.
    pub(crate) fn map_at(&self, start: u64, length: usize) -> Result<Mapped> {
        match &self.content {
            Content::Memory(bytes) => piece(&self.name, bytes, start, length).map(Mapped::Memory),
            Content::Owned(bytes) => {
                piece(&self.name, bytes, start, length).map(|bytes| Mapped::Owned(bytes.to_vec()))
            }
            Content::Disk(_) if length == 0 => Ok(Mapped::Memory(&[])),
            Content::Disk(disk) => {
                let failed = |source| Error::Io { file: self.name.clone(), source };
                let (expected, found) = (start + length as u64, disk.metadata().map_err(failed)?.len());
                if found < expected {
                    return Err(Error::WrongLength { file: self.name.clone(), expected, found });
                }
                map(disk, start, length).map(Mapped::Disk).map_err(failed)
            }
        }
    }

    fn unless_pointer(mut self) -> Result<Self> {
        const MARK: &[u8] = b"version https://git-lfs";
        let is_pointer = self.length >= MARK.len() as u64 && *self.read_at(0, MARK.len())? == *MARK;
        if is_pointer { Err(Error::GitLfsPointer { file: self.name }) } else { Ok(self) }
    }
}

fn piece<'a>(name: &str, bytes: &'a [u8], start: u64, length: usize) -> Result<&'a [u8]> {
    let end = start as usize + length;
    bytes.get(start as usize..end).ok_or_else(|| Error::WrongLength {
        file: name.to_owned(),
        expected: end as u64,
        found: bytes.len() as u64,
    })
}

/// A map of bytes that the file had a moment ago.
#[expect(unsafe_code, reason = "no map is safe, because the file may be changed through another handle")]
fn map(disk: &File, start: u64, length: usize) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only, and its bytes are only ever turned into floats, each copied before it is checked, so
    // whoever writes to the file meanwhile changes numbers and nothing else. Whoever cuts it off in the moment between the
    // check of its length and the end of the conversion of this one tensor ends the program with a bus error: that is the
    // price of every map, the same in all programs that open weights in this way, and it corrupts nothing.
    unsafe { MmapOptions::new().offset(start).len(length).map(disk) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, OpenFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        std::fs::write(&path, bytes).unwrap();
        let file = OpenFile::on_disk("numbers".to_owned(), &path).unwrap();
        (folder, file)
    }

    #[test]
    fn a_map_shows_what_is_read() {
        let bytes: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        let (_folder, mut file) = written(&bytes);
        // Pieces begin anywhere, not only where pages do.
        for (start, length) in [(0, 20_000), (3, 1), (4095, 2), (4096, 8192), (19_999, 1), (20_000, 0)] {
            let expected = &bytes[start..start + length];
            assert_eq!(*file.map_at(start as u64, length).unwrap(), *expected, "{length} from {start}");
            assert_eq!(*file.read_at(start as u64, length).unwrap(), *expected, "{length} from {start}");
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let (folder, file) = written(&[7; 10_000]);
        let disk = File::options().write(true).open(folder.path().join("numbers")).unwrap();
        disk.set_len(9_000).unwrap();
        assert_eq!(file.map_at(8_000, 1_000).unwrap().len(), 1_000);
        let message = file.map_at(8_000, 1_001).err().expect("the last byte is gone").to_string();
        assert_eq!(message, "numbers is damaged: expected 9001 bytes, found 9000; download or copy it again");
    }
}

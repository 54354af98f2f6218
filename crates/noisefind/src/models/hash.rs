//! One hash for a whole model folder, the same whether it lies on disk or in the binary.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Which files of a model folder decide what it generates, by extension; images and notes beside them do not.
pub fn counts(relative_path: &str) -> bool {
    is_weights(relative_path)
        || [".json", ".txt", ".model", "SHA256SUMS"].iter().any(|ending| relative_path.ends_with(ending))
}

/// The files below `folder` that count, each as the path relative to the model, `prefix` before it and `/` between its parts,
/// with the path on disk.
///
/// # Errors
/// Where a folder cannot be read.
#[allow(dead_code, reason = "for the build scripts that share this module")]
pub fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{relative}/"), files)?;
        } else if counts(&relative) {
            files.push((relative, entry.path().canonicalize()?));
        }
    }
    Ok(())
}

/// Whether a file of a model folder holds weights.
pub fn is_weights(relative_path: &str) -> bool {
    [".safetensors", ".bin", ".pt", ".pth"].iter().any(|ending| relative_path.ends_with(ending))
}

/// SHA-256 in hexadecimal over (path, length, content) of files in the order given, which must be by path.
pub struct FolderHash(Sha256);

impl FolderHash {
    /// The hash of no files.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one file of `length` bytes, piece by piece, and gives the hash of its content alone; `relative_path` is
    /// written with `/`.
    pub fn add(&mut self, relative_path: &str, length: u64, mut content: impl Read) -> io::Result<String> {
        self.0.update(relative_path.as_bytes());
        self.0.update([0]);
        self.0.update(length.to_le_bytes());
        let mut both = Both(&mut self.0, Sha256::new());
        io::copy(&mut content, &mut both)?;
        Ok(hexadecimal(&both.1.finalize()))
    }

    /// 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// Two hashes of the same bytes.
struct Both<'a>(&'a mut Sha256, Sha256);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SHA-256 of one file in hexadecimal.
#[allow(dead_code, reason = "the build script shares this module and needs only the hash of a folder")]
pub fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

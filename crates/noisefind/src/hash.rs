//! One hash for a whole model folder, the same whether it lies on disk or in the binary.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Which files of a model folder decide what it draws, by extension; pictures and notes beside them do not.
pub fn counts(relative_path: &str) -> bool {
    [".json", ".txt", ".safetensors", ".bin", ".model", "SHA256SUMS"]
        .iter()
        .any(|ending| relative_path.ends_with(ending))
}

/// SHA-256 in hexadecimal over (path, length, content) of files in the order given, which must be by path.
pub struct FolderHash(Sha256);

impl FolderHash {
    /// The hash of no files.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one file of `length` bytes, piece by piece; `relative_path` is written with `/`.
    pub fn add(&mut self, relative_path: &str, length: u64, mut content: impl Read) -> io::Result<()> {
        self.0.update(relative_path.as_bytes());
        self.0.update([0]);
        self.0.update(length.to_le_bytes());
        io::copy(&mut content, &mut self.0).map(drop)
    }

    /// 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
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

//! What the targets share: foreign bytes as files of a model folder.

use std::fs;
use std::path::PathBuf;

use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use tempfile::TempDir;

/// A folder that is filled anew for each input.
pub struct Folder(TempDir);

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Writes `bytes` as the file `name`, in whatever folder the name says.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("it is writable");
        fs::write(&path, bytes).expect("it is writable");
        path
    }

    /// The folder as a model.
    pub fn files(&self) -> ModelFiles {
        ModelFiles::directory(self.0.path()).expect("it is a folder")
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// The CPU in f32.
pub fn placement() -> Placement {
    Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("there is a CPU")
}

//! A model whose weights are one file with names of their own, read as if it were a folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
use crate::open_file::OpenFile;
use crate::weight_file::Piece;

/// The tensors of a part by the name that its layers ask for.
pub type Pieces = BTreeMap<String, Piece>;

/// The parts of a model in one file of weights.
#[derive(Clone, Debug)]
pub struct Repacked {
    /// The file of weights.
    pub path: PathBuf,
    /// What it holds of each part, by the part's folder.
    pub parts: BTreeMap<String, Pieces>,
    /// Configs and tokenizers, by their paths in a folder.
    pub texts: BTreeMap<String, Cow<'static, [u8]>>,
    /// What messages call the configs: "the configs of Stable Diffusion 1".
    pub configs_of: String,
    /// What the user should know about how the file was taken.
    pub notes: Vec<String>,
}

impl Repacked {
    /// The file of weights.
    pub(crate) fn open(&self) -> Result<OpenFile> {
        OpenFile::on_disk(self.path.display().to_string(), &self.path)
    }

    /// Whether a file other than the weights is there.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// Opens a file other than the weights, which messages call `name`; `None` where it is not there.
    pub(crate) fn open_text(&self, path: &str, name: String) -> Option<Result<OpenFile>> {
        Some(match self.texts.get(path)? {
            Cow::Borrowed(bytes) => OpenFile::in_memory(name, bytes),
            Cow::Owned(bytes) => Ok(OpenFile::owned(name, bytes.clone())),
        })
    }
}

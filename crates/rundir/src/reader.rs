//! Reading a run, also while another process writes it.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::policy::PolicyFile;
use crate::tensors::TensorFile;
use crate::writer::{read_config, saved_steps};

/// A run folder, opened without a lock.
#[derive(Clone, Debug)]
pub struct RunReader {
    layout: Layout,
    config: String,
}

impl RunReader {
    /// Opens the run in `root`.
    ///
    /// # Errors
    /// Where it is not a run folder.
    pub fn open(root: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        let config = read_config(&layout)?;
        Ok(Self { layout, config })
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The text of `config.toml`.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The records written so far, without a torn last line.
    ///
    /// # Errors
    /// Where a whole line is not a record.
    pub fn metrics<R: DeserializeOwned>(&self) -> Result<Vec<R>> {
        crate::lines::read(&self.layout.metrics())
    }

    /// The samples that were scored so far, without a torn last line.
    ///
    /// # Errors
    /// Where a whole line is not a record.
    pub fn samples<R: DeserializeOwned>(&self) -> Result<Vec<R>> {
        crate::lines::read(&self.layout.rewards())
    }

    /// The finished policy, verified; `None` while the run goes on.
    ///
    /// # Errors
    /// Where the file is there and is not a policy.
    pub fn policy(&self) -> Result<Option<PolicyFile>> {
        let path = self.layout.policy();
        path.exists().then(|| PolicyFile::read(&path)).transpose()
    }

    /// The steps that have a checkpoint, in rising order.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn saved_steps(&self) -> Result<Vec<u32>> {
        saved_steps(&self.layout)
    }

    /// The newest checkpoint; `None` where no step is saved.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn last_checkpoint<M: Serialize + DeserializeOwned>(&self) -> Result<Option<TensorFile<M>>> {
        let step = self.saved_steps()?.pop();
        step.map(|step| TensorFile::read(&self.layout.checkpoint(step))).transpose()
    }

    /// A JSON file of the run (`comparison.json`, `environment.json`); `None` where it is absent.
    ///
    /// # Errors
    /// Where it cannot be read or understood.
    pub fn json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| Error::invalid(path, "it is damaged or of another version of noisefind"))
    }
}

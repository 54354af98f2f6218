//! What a run's weights are, in hashes: of the model, and of every scorer that has files of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use noisefind_diffusion::ModelFiles;

use crate::config::TuneConfig;
use crate::error::{Error, Result};
use crate::models::embedded::EmbeddedModel;
use crate::models::hash::{FolderHash, counts, is_weights};

/// What a file list says of a model of the hub, whose files are all named by one commit.
const COMMIT: &str = "commit";

/// What a file list calls a model that is one file.
const SINGLE_FILE: &str = "model.safetensors";

/// SHA-256 in hexadecimal of what a model is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelHashes {
    /// Over all files.
    pub model: String,
    /// Of each file of weights; of a model of the hub, its commit under the name `commit`.
    pub weights: BTreeMap<String, String>,
}

/// Hashes of the weights of each scorer that was given files of its own, by the name that the user gave it.
pub type ScorerHashes = BTreeMap<String, BTreeMap<String, String>>;

impl ModelHashes {
    /// The hashes of `files`, each read once; over the commit where the hub names their content by one.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn of(files: &ModelFiles) -> Result<Self> {
        let (mut model, mut weights) = (FolderHash::new(), BTreeMap::new());
        if let Some(commit) = files.commit() {
            let added = model.add(COMMIT, commit.len() as u64, commit.as_bytes());
            added.map_err(|source| Error::Read { path: files.name().into(), source })?;
            let weights = BTreeMap::from([(COMMIT.to_owned(), commit.to_owned())]);
            return Ok(Self { model: model.finish(), weights });
        }
        if let Some(known) = EmbeddedModel::named(files.name()).filter(|_| files.folder().is_none()) {
            let weights = known.weights.iter().map(|(path, own)| ((*path).to_owned(), (*own).to_owned()));
            return Ok(Self { model: known.sha256.to_owned(), weights: weights.collect() });
        }
        let mut paths = BTreeMap::new();
        if let Some(path) = files.single_file() {
            // Its name is the user's own; the content is what counts.
            paths.insert(SINGLE_FILE.to_owned(), path.to_owned());
        }
        for part in std::iter::successors(Some(files), |files| files.base()) {
            if let Some(commit) = part.commit() {
                let added = model.add(COMMIT, commit.len() as u64, commit.as_bytes());
                added.map_err(|source| Error::Read { path: part.name().into(), source })?;
                weights.insert(COMMIT.to_owned(), commit.to_owned());
            }
            let Some(folder) = part.folder() else { continue };
            for relative in files_below(folder, "")? {
                // Of the folder whose configs a file takes, only weights that the file lacks matter.
                let is_used = !is_weights(&relative) || !files.replaces(&relative);
                if is_used {
                    paths.entry(relative.clone()).or_insert_with(|| folder.join(relative));
                }
            }
        }
        for (relative, path) in paths {
            let added = File::open(&path).and_then(|file| model.add(&relative, file.metadata()?.len(), file));
            let own = added.map_err(|source| Error::Read { path, source })?;
            if is_weights(&relative) {
                weights.insert(relative, own);
            }
        }
        Ok(Self { model: model.finish(), weights })
    }

    /// The hashes of a model without files that we can see.
    pub fn of_none() -> Self {
        Self { model: FolderHash::new().finish(), weights: BTreeMap::new() }
    }
}

/// The hashes of every scorer of `config` that is `NAME:DIR` or `NAME:HUB_ID`: optimised, held out or judging.
///
/// # Errors
/// Where a file cannot be read.
pub fn scorer_hashes(config: &TuneConfig) -> Result<ScorerHashes> {
    let optimised = config.reward.iter().map(|term| &term.scorer);
    let names = optimised.chain(&config.holdout).chain(&config.judge);
    let mut hashes = ScorerHashes::new();
    for name in names.filter(|name| !name.starts_with(crate::models::external::EXTERNAL)) {
        let Some((_, folder)) = name.split_once(':') else { continue };
        let files = ModelFiles::find(folder).map_err(|source| Error::reward(name, source))?;
        hashes.insert(name.clone(), ModelHashes::of(&files)?.weights);
    }
    Ok(hashes)
}

/// The files below `folder` that count, with `/` between the parts.
fn files_below(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path(), &format!("{relative}/"))?);
        } else if counts(&relative) {
            files.push(relative);
        }
    }
    Ok(files)
}

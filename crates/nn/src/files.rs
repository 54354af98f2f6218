//! A model's files, whether they lie in a folder, on the hub, or are compiled into the program.
//!
//! Layout: the diffusers folder (`model_index.json` and one subfolder a part) or the transformers folder
//! (`config.json` beside the weights).

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::hub::{HubModel, HubSettings, is_hub_id};
use crate::json;
use crate::open_file::OpenFile;
use crate::repacked::{Pieces, Repacked};

/// One file of a model that is compiled into the program.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedFile {
    /// Path inside the model folder, with `/` between folders: `unet/config.json`.
    pub path: &'static str,
    /// The file's bytes.
    pub bytes: &'static [u8],
}

/// Where a model's files come from.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    source: Source,
    name: String,
    base: Option<Arc<ModelFiles>>,
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    Directory(PathBuf),
    Hub(Arc<HubModel>),
    Embedded(&'static [EmbeddedFile]),
    Repacked(Arc<Repacked>),
}

impl ModelFiles {
    /// The files of the folder `name`, or else of the model that has this id on the hub: `stabilityai/sd-turbo`.
    ///
    /// # Errors
    /// Where it is neither, or the hub does not give it.
    pub fn find(name: &str) -> Result<Self> {
        if is_hub_id(name) && !Path::new(name).exists() {
            Self::hub(name, &HubSettings::from_environment())
        } else {
            Self::directory(name)
        }
    }

    /// The files of a model of the hub.
    ///
    /// # Errors
    /// Where the hub does not give it, and the cache does not hold it.
    pub fn hub(id: &str, settings: &HubSettings) -> Result<Self> {
        let model = HubModel::open(id, settings)?;
        Ok(Self { source: Source::Hub(Arc::new(model)), name: id.to_owned(), base: None, notes: Vec::new() })
    }

    /// The files of a folder.
    ///
    /// # Errors
    /// Where `path` is no folder.
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let name = path.display().to_string();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let snapshot = cache_snapshot(&path)?;
                let note = snapshot.as_ref().map(|found| {
                    let commit = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    format!("{name} is a folder of the hub's cache; its snapshot {commit} is taken")
                });
                let path = snapshot.unwrap_or(path);
                let name = path.display().to_string();
                Ok(Self {
                    source: Source::Directory(path),
                    name,
                    base: None,
                    notes: note.into_iter().collect(),
                })
            }
            Ok(_) => Err(Error::NotAFolder {
                path: name,
                reason: "it is a file; give the folder that holds model_index.json".into(),
            }),
            Err(source) => Err(Error::NotAFolder { path: name, reason: source.to_string() }),
        }
    }

    /// Files that are compiled into the program; `name` stands for the folder in messages.
    pub fn embedded(name: &str, files: &'static [EmbeddedFile]) -> Self {
        Self { source: Source::Embedded(files), name: name.to_owned(), base: None, notes: Vec::new() }
    }

    /// These files, and those of `base` where these have none of the same path: a model that differs from another in
    /// some of its parts.
    pub fn over(self, base: Self) -> Self {
        Self { base: Some(Arc::new(base)), ..self }
    }

    /// The files that complete these.
    pub fn base(&self) -> Option<&Self> {
        self.base.as_deref()
    }

    /// The parts of a model in one file of weights, with the configs that such files do not have.
    pub fn of_repacked(repacked: Repacked) -> Self {
        let (name, notes) = (repacked.path.display().to_string(), repacked.notes.clone());
        Self { source: Source::Repacked(Arc::new(repacked)), name, base: None, notes }
    }

    /// The one file that holds the weights, where the model is one.
    pub fn single_file(&self) -> Option<&Path> {
        match &self.source {
            Source::Repacked(repacked) => Some(&repacked.path),
            _ => None,
        }
    }

    /// Whether a file of these replaces the one at `path` in the base: that of a part that the one file holds.
    pub fn replaces(&self, path: &str) -> bool {
        let part = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.repacked(part).is_some()
    }

    /// What the user should know about how the model was found.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the one file holds of the part in `folder`.
    pub(crate) fn repacked(&self, folder: &str) -> Option<(&Repacked, &Pieces)> {
        match &self.source {
            Source::Repacked(repacked) => Some((repacked, repacked.parts.get(folder)?)),
            _ => None,
        }
    }

    /// The folder, where the files lie in one that is the user's.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Directory(folder) => Some(folder),
            Source::Hub(_) | Source::Embedded(_) | Source::Repacked(_) => None,
        }
    }

    /// The commit that names the content of every file, for a model of the hub.
    pub fn commit(&self) -> Option<&str> {
        match &self.source {
            Source::Hub(model) => Some(model.commit()),
            Source::Directory(_) | Source::Embedded(_) | Source::Repacked(_) => None,
        }
    }

    /// The folder's path, the id on the hub, or the name of the embedded model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How messages call a file of this model.
    pub fn display(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// Whether the file is there.
    pub fn contains(&self, path: &str) -> bool {
        self.has(path) || self.base().is_some_and(|base| base.contains(path))
    }

    /// The names of the files in a folder of the model, sorted; the empty folder is its top.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        let on_disk = |path: &Path| {
            let entries = std::fs::read_dir(path.join(folder)).into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.path().is_file());
            files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let prefix = in_folder(folder, "");
        let inside =
            |path: &str| path.strip_prefix(&prefix).filter(|name| !name.contains('/')).map(str::to_owned);
        let mut names: Vec<String> = match &self.source {
            Source::Directory(path) => on_disk(path),
            Source::Hub(model) => match model.names() {
                Some(names) => names.filter_map(inside).collect(),
                None => on_disk(model.snapshot()),
            },
            Source::Embedded(files) => files.iter().filter_map(|file| inside(file.path)).collect(),
            Source::Repacked(_) => Vec::new(),
        };
        names.extend(self.base().map(|base| base.names_in(folder)).unwrap_or_default());
        names.sort();
        names.dedup();
        names
    }

    /// Whether the file is there without the base.
    fn has(&self, path: &str) -> bool {
        match &self.source {
            Source::Directory(folder) => folder.join(path).is_file(),
            Source::Hub(model) => model.contains(path),
            Source::Embedded(files) => files.iter().any(|file| file.path == path),
            Source::Repacked(repacked) => repacked.contains(path),
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// Where it is absent, unreadable or a git-lfs pointer.
    pub fn read(&self, path: &str) -> Result<Cow<'static, [u8]>> {
        self.open(path)?.read()
    }

    /// Reads and parses a JSON file, as Python writes it.
    ///
    /// # Errors
    /// As [`ModelFiles::read`], and where the JSON does not parse into `T`.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        /// The largest that is published, a vocabulary, has a few millions.
        const MOST_BYTES: u64 = 1 << 26;
        let found = self.open(path)?.length;
        if found > MOST_BYTES {
            let reason = format!("it has {found} bytes, expected at most {MOST_BYTES}");
            let source = std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason);
            return Err(Error::Io { file: self.display(path), source });
        }
        let bytes = self.read(path)?;
        json::from_slice(&bytes).map_err(|source| Error::Json { file: self.display(path), source })
    }

    /// Opens a file for reading piece by piece.
    pub(crate) fn open(&self, path: &str) -> Result<OpenFile> {
        if let Some(base) = self.base().filter(|base| !self.has(path) && base.contains(path)) {
            return base.open(path);
        }
        let name = self.display(path);
        let missing = || Error::MissingFile { model: self.name.clone(), expected: path.to_owned() };
        let on_disk = |full: &Path| {
            if full.is_file() { OpenFile::on_disk(self.display(path), full) } else { Err(missing()) }
        };
        match &self.source {
            Source::Embedded(files) => {
                let file = files.iter().find(|file| file.path == path).ok_or_else(missing)?;
                OpenFile::in_memory(name, file.bytes)
            }
            Source::Directory(folder) => on_disk(&folder.join(path)),
            Source::Hub(model) => on_disk(&model.fetch(path)?),
            Source::Repacked(repacked) => repacked.open_text(path, name).ok_or_else(missing)?,
        }
    }
}

/// The snapshot in a folder `models--owner--name` of the hub's cache: that of the main branch, or else the only one; `None`
/// where the folder is none.
///
/// # Errors
/// Where there are several snapshots and no branch says which.
fn cache_snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let snapshots = folder.join("snapshots");
    let is_model = ["model_index.json", "config.json"].iter().any(|file| folder.join(file).is_file());
    if is_model || !snapshots.is_dir() {
        return Ok(None);
    }
    if let Ok(commit) = std::fs::read_to_string(folder.join("refs/main")) {
        let snapshot = snapshots.join(commit.trim());
        if snapshot.is_dir() {
            return Ok(Some(snapshot));
        }
    }
    let entries = std::fs::read_dir(&snapshots).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    match &found[..] {
        [only] => Ok(Some(only.clone())),
        several => {
            let names = several.iter().filter_map(|path| path.file_name());
            let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
            let reason = format!(
                "it is a folder of the hub's cache; expected one snapshot or refs/main, found {}",
                if names.is_empty() { "no snapshot".to_owned() } else { names.join(", ") }
            );
            Err(Error::NotAFolder { path: folder.display().to_string(), reason })
        }
    }
}

/// The path of a file in a folder of the model; the empty folder is its top.
pub fn in_folder(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_gives_what_is_missing_and_no_more() {
        let own: &[EmbeddedFile] = &[EmbeddedFile { path: "unet/config.json", bytes: b"1" }];
        let shared: &[EmbeddedFile] = &[
            EmbeddedFile { path: "unet/config.json", bytes: b"2" },
            EmbeddedFile { path: "vae/config.json", bytes: b"3" },
        ];
        let files = ModelFiles::embedded("fast", Box::leak(own.into()))
            .over(ModelFiles::embedded("slow", Box::leak(shared.into())));
        assert_eq!(files.read("unet/config.json").unwrap().as_ref(), b"1");
        assert_eq!(files.read("vae/config.json").unwrap().as_ref(), b"3");
        assert!(files.contains("vae/config.json") && !files.contains("scorer/config.json"));
        let error = files.read("scorer/config.json").unwrap_err().to_string();
        assert!(error.contains("fast"), "{error}");
    }
}

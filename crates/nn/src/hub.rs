//! Models by their id on the Hugging Face hub, kept in the cache that all programs of that ecosystem share.
//!
//! Layout of the cache: <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>. A model is opened at one
//! commit, and a file is downloaded when it is first read, so nothing comes that no part asks for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};

/// The branch that an id without further words means.
const REVISION: &str = "main";

/// Where the hub is, and what is known of it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// The folder with one folder a model.
    pub cache: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// Opens models that are not for everybody.
    pub token: Option<String>,
    /// Whether the cache must do, without a word to the hub.
    pub offline: bool,
}

impl HubSettings {
    /// The settings that the environment gives: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH` and
    /// `HF_HUB_OFFLINE`, as for every other program that uses the hub.
    pub fn from_environment() -> Self {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let user_cache = || {
            folder("XDG_CACHE_HOME")
                .or_else(|| Some(std::env::home_dir()?.join(".cache")))
                .unwrap_or_default()
        };
        let home = folder("HF_HOME").unwrap_or_else(|| user_cache().join("huggingface"));
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = variable("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            cache: folder("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE")
                .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())),
        }
    }
}

/// Whether `name` has the form `owner/model`.
pub fn is_hub_id(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphanumeric())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    name.split_once('/').is_some_and(|(owner, model)| is_word(owner) && is_word(model))
}

/// One model of the hub at one commit.
#[derive(Debug)]
pub(crate) struct HubModel {
    id: String,
    commit: String,
    snapshot: PathBuf,
    /// Absent where the cache must do.
    remote: Option<Remote>,
}

#[derive(Debug)]
struct Remote {
    repo: ApiRepo,
    files: BTreeSet<String>,
    endpoint: String,
}

impl HubModel {
    /// Asks the hub which commit and files the model has; where it does not answer, the commit in the cache is taken.
    pub(crate) fn open(id: &str, settings: &HubSettings) -> Result<Self> {
        let cache = Cache::new(settings.cache.clone());
        let cached = cache.repo(Repo::model(id.to_owned()));
        let failed = |source| refusal(id, &settings.endpoint, &source);
        let (commit, remote) = if settings.offline {
            (cached_commit(id, settings).ok_or_else(|| not_cached(id, settings))?, None)
        } else {
            let api = ApiBuilder::from_cache(cache.clone())
                .with_endpoint(settings.endpoint.clone())
                .with_token(settings.token.clone())
                .with_retries(3)
                .build()
                .map_err(failed)?;
            match api.model(id.to_owned()).info() {
                Ok(info) => {
                    let pinned = Repo::with_revision(id.to_owned(), RepoType::Model, info.sha.clone());
                    let files = info.siblings.into_iter().map(|file| file.rfilename).collect();
                    let endpoint = settings.endpoint.clone();
                    (info.sha, Some(Remote { repo: api.repo(pinned), files, endpoint }))
                }
                // A hub that answers with a refusal is believed; one that does not answer is done without.
                Err(error) => match cached_commit(id, settings).filter(|_| !refuses(&error)) {
                    Some(commit) => (commit, None),
                    None => return Err(failed(error)),
                },
            }
        };
        let snapshot = cached.pointer_path(&commit);
        if remote.is_some() {
            cached
                .create_ref(&commit)
                .map_err(|source| Error::Io { file: settings.cache.display().to_string(), source })?;
        }
        Ok(Self { id: id.to_owned(), commit, snapshot, remote })
    }

    /// The commit, which names the content of every file.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    /// The folder of the cache that holds what was downloaded.
    pub(crate) fn snapshot(&self) -> &Path {
        &self.snapshot
    }

    /// The paths of all files, where the hub has said them.
    pub(crate) fn names(&self) -> Option<impl Iterator<Item = &str>> {
        self.remote.as_ref().map(|remote| remote.files.iter().map(String::as_str))
    }

    /// Whether the model has this file.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.snapshot.join(path).is_file()
            || self.remote.as_ref().is_some_and(|remote| remote.files.contains(path))
    }

    /// Where the file lies on the disk, after downloading it where it is not there yet.
    pub(crate) fn fetch(&self, path: &str) -> Result<PathBuf> {
        let local = self.snapshot.join(path);
        match &self.remote {
            Some(remote) if !local.is_file() && remote.files.contains(path) => {
                remote.repo.get(path).map_err(|error| refusal(&self.id, &remote.endpoint, &error))
            }
            _ => Ok(local),
        }
    }
}

/// The commit of the model that the cache holds.
fn cached_commit(id: &str, settings: &HubSettings) -> Option<String> {
    let folder = settings.cache.join(Repo::model(id.to_owned()).folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join(REVISION)).ok()?.trim().to_owned();
    folder.join("snapshots").join(&commit).is_dir().then_some(commit)
}

fn not_cached(id: &str, settings: &HubSettings) -> Error {
    let cache = settings.cache.display();
    Error::Hub {
        id: id.to_owned(),
        reason: format!("HF_HUB_OFFLINE is set, and the cache {cache} does not hold it"),
    }
}

/// The status of the hub's answer, where it answered.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(request) => match **request {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the hub says that the model is not there for this user.
fn refuses(error: &ApiError) -> bool {
    matches!(status(error), Some(401 | 403 | 404))
}

/// What the hub's answer means for the user.
fn refusal(id: &str, endpoint: &str, error: &ApiError) -> Error {
    let reason = match status(error) {
        Some(404) => format!("{endpoint} has no such model"),
        Some(401 | 403) => format!(
            "{endpoint} does not give it to everybody, or has no such model; accept its terms there and set HF_TOKEN"
        ),
        Some(status) => format!("{endpoint} answered with the status {status}"),
        None => {
            format!("{endpoint} could not be reached ({error}), which the folder of a model does not need")
        }
    };
    Error::Hub { id: id.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        HubSettings::of(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_usual_variables_are_respected() {
        let home = settings(&[("HF_HOME", "/data/hf"), ("HF_TOKEN", " abc\n")]);
        assert_eq!(home.cache, PathBuf::from("/data/hf/hub"));
        assert_eq!((home.token.as_deref(), home.offline), (Some("abc"), false));
        assert_eq!(home.endpoint, "https://huggingface.co");
        let cache = settings(&[
            ("HF_HOME", "/data/hf"),
            ("HF_HUB_CACHE", "/fast"),
            ("HF_HUB_OFFLINE", "True"),
            ("HF_ENDPOINT", "http://mirror.example/"),
        ]);
        assert_eq!(cache.cache, PathBuf::from("/fast"));
        assert_eq!((cache.endpoint.as_str(), cache.offline), ("http://mirror.example", true));
        let user = settings(&[("XDG_CACHE_HOME", "/cache"), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!((user.cache, user.offline), (PathBuf::from("/cache/huggingface/hub"), false));
    }

    #[test]
    fn a_token_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-the-file\n").unwrap();
        let home = folder.path().display().to_string();
        assert_eq!(settings(&[("HF_HOME", &home)]).token.as_deref(), Some("from-the-file"));
    }

    #[test]
    fn ids_are_told_from_paths() {
        for id in ["stabilityai/sd-turbo", "SimianLuo/LCM_Dreamshaper_v7", "a/b.c"] {
            assert!(is_hub_id(id), "{id}");
        }
        for path in
            ["emoji-64", "/models/x", "./x/y", "../x", "no/such/folder", "a//b", "a/", "C:\\x/y", "~/x"]
        {
            assert!(!is_hub_id(path), "{path}");
        }
    }
}

//! What can go wrong with a run folder; every message names the file.

use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A run folder that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb: "write", "read", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The output folder holds a run already.
    #[error("{} already holds a run", .0.display())]
    HoldsRun(PathBuf),
    /// The output folder holds files of somebody else.
    #[error("{} is not empty and holds no run (found {found})", .path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the entries that do not belong to a run.
        found: String,
    },
    /// The folder is not a run.
    #[error("{} is not a run folder: {missing} is missing", .path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that would make it one.
        missing: &'static str,
    },
    /// Another process writes this run.
    #[error("{} is being written by another process", .0.display())]
    Locked(PathBuf),
    /// A file is there, but its content is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Expected and found, in words.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// A line of a file of records that was damaged, or written by another version.
    pub(crate) fn not_a_record(path: &Path, line: usize) -> Self {
        let cause = "the file is damaged or of another version of noisefind";
        Self::invalid(path, format!("line {line} is not a record; {cause}"))
    }

    /// The same error with what to do about content that is not what it should be.
    pub(crate) fn with_advice(self, advice: &str) -> Self {
        match self {
            Self::Invalid { path, reason } => Self::Invalid { path, reason: format!("{reason}; {advice}") },
            other => other,
        }
    }

    pub(crate) fn invalid(path: &Path, reason: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), reason: reason.to_string() }
    }
}

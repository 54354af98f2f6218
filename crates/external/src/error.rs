//! Everything that can go wrong with an external process, each message with its culprit.

use std::path::PathBuf;
use std::time::Duration;

/// An error of an external scorer or generator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is no image.
    #[error("{path}: {source}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What keeps it from being one.
        source: noisefind_images::Error,
    },
    /// The external process did not come up.
    #[error("external {role} `{command}` did not start: {problem}{stderr}")]
    NotStarted {
        /// `scorer` or `generator`.
        role: &'static str,
        /// The command as the user gave it.
        command: String,
        /// What happened instead.
        problem: String,
        /// The last lines of its standard error, ready to be appended.
        stderr: String,
    },
    /// The external process broke the protocol, died or reported a failure.
    #[error("external {role} `{command}` {problem}{stderr}")]
    External {
        /// `scorer` or `generator`.
        role: &'static str,
        /// The command as the user gave it.
        command: String,
        /// What it did, and what was expected.
        problem: String,
        /// The last lines of its standard error, ready to be appended.
        stderr: String,
    },
    /// The external process did not answer in time, in any attempt.
    #[error(
        "external {role} `{command}` gave no answer within {} s, {attempts} time(s) in a row{stderr}",
        limit.as_secs_f64()
    )]
    ExternalTimeout {
        /// `scorer` or `generator`.
        role: &'static str,
        /// The command as the user gave it.
        command: String,
        /// The time limit of one request.
        limit: Duration,
        /// How many times the request was sent.
        attempts: u32,
        /// The last lines of its standard error, ready to be appended.
        stderr: String,
    },
}

impl Error {
    /// Names the file in a system error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

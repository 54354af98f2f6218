//! What can go wrong while a run is read.

use std::path::PathBuf;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A run or an image that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused, or the way leads out of the folder.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file, relative to the folder that is served.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The thing is not an ordinary file, or larger than anything that a run writes.
    #[error("{}: {reason}", .path.display())]
    Refused {
        /// The file, relative to the folder that is served.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// A record of the run is damaged.
    #[error(transparent)]
    Record(#[from] noisefind_rundir::Error),
    /// An image that cannot be decoded or encoded.
    #[error("{name} cannot be shown: {reason}")]
    Image {
        /// Its key.
        name: String,
        /// The decoder's reason.
        reason: String,
    },
}

impl Error {
    /// Whether the thing is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

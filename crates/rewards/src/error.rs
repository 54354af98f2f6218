//! Everything that can go wrong in this crate, each message with its culprit.

use std::path::PathBuf;

/// An error of a scorer.
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
    /// A model's files could not be opened, or the model failed.
    #[error(transparent)]
    Model(#[from] noisefind_nn::Error),
    /// A config value lies outside of what is possible or implemented.
    #[error("{file}: {key} is {found}, expected {expected}")]
    Config {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// The value found.
        found: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A scorer with weights was opened without a folder.
    #[error("reward `{scorer}` needs a folder with {file_names}; get them from {source_name}")]
    NoFolder {
        /// The scorer's name.
        scorer: &'static str,
        /// What the folder must hold.
        file_names: String,
        /// Where to get it.
        source_name: &'static str,
    },
    /// A scorer's folder lacks files.
    #[error("reward `{scorer}`: {folder} has no {missing}; get it from {source_name}")]
    FilesMissing {
        /// The scorer's name.
        scorer: &'static str,
        /// The folder, or the id on the hub.
        folder: String,
        /// The files.
        missing: String,
        /// Where to get them.
        source_name: &'static str,
    },
    /// The grammar of a judge contradicts itself.
    #[error("{file} is not a usable grammar: {reason}")]
    Grammar {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// An image does not come out of the preprocessing in the size of the model.
    #[error("preprocessing made an image of {width} x {height} pixels, but the model takes {side} x {side}")]
    ImageSize {
        /// Columns found.
        width: usize,
        /// Rows found.
        height: usize,
        /// Columns and rows expected.
        side: usize,
    },
    /// A scorer of clips got an image, or a clip that is too short for it.
    #[error(
        "reward `{scorer}` takes clips of at least {expected} frames, found {found}; use a model of clips and \
         --num-frames, or another reward"
    )]
    FewFrames {
        /// The scorer's name.
        scorer: &'static str,
        /// The fewest frames that it takes.
        expected: usize,
        /// Frames that came.
        found: usize,
    },
    /// An image that the JPEG format cannot hold.
    #[error(
        "an image of {width} x {height} pixels cannot be a JPEG file, whose sides have at most 65535 pixels"
    )]
    JpegSide {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A reward that does not vary on the base images.
    #[error(
        "reward `{scorer}` cannot be standardised: it gave {given} rewards for {images} base images, all \
         the same; use --reward-scale raw, or take it out"
    )]
    NoSpread {
        /// The scorer's name.
        scorer: String,
        /// Rewards that were not missing.
        given: usize,
        /// Base images.
        images: usize,
    },
    /// A sum without terms.
    #[error("a sum of 0 rewards; name at least one")]
    NoTerms,
    /// The units of another sum.
    #[error("a sum of {terms} rewards needs one base mean and deviation each, found {found}")]
    Base {
        /// Terms of the sum.
        terms: usize,
        /// Base statistics that were given.
        found: usize,
    },
    /// A weight that is no weight.
    #[error("the weight of reward `{scorer}` is {weight}, expected a finite number other than 0")]
    Weight {
        /// The scorer's name.
        scorer: String,
        /// The weight.
        weight: f64,
    },
}

impl Error {
    /// Names the file in a system error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

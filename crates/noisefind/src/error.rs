//! What can go wrong, in words that name the culprit and the way out.

use std::path::{Path, PathBuf};

use noisefind_core::ports::PortError;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the facade.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that the user gave is outside its range; the text names field, expected and found.
    #[error("{0}")]
    Usage(String),
    /// A config file that cannot be understood.
    #[error("{}: {reason}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A model that cannot be opened.
    #[error("{source}")]
    Model {
        /// As the user named it.
        name: String,
        /// What is wrong with it.
        source: PortError,
    },
    /// A scorer or judge that cannot be opened.
    #[error("{source}")]
    Reward {
        /// As the user named it.
        name: String,
        /// What is wrong with it.
        source: PortError,
    },
    /// A reward that the model's program recommends and that cannot be used.
    #[error("{model} recommends the reward {reward}, but {source}; name another with --reward")]
    Recommended {
        /// The model as the user named it.
        model: String,
        /// As the program wrote it.
        reward: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Too many rewards were missing for the run to go on, or to have learnt anything.
    #[error(
        "{in_a_row} rewards in a row are missing after {evaluations} evaluations ({}); {}",
        listed(reasons), after_missing(run, *can_go_on)
    )]
    RewardsMissing {
        /// The run folder.
        run: PathBuf,
        /// Images generated so far.
        evaluations: usize,
        /// Missing rewards since the last given one.
        in_a_row: usize,
        /// Why, each reason of the last step once.
        reasons: Vec<String>,
        /// Whether there is budget left to go on with.
        can_go_on: bool,
    },
    /// This build of the program does not carry one of its own models.
    #[error("this program was built without its model {name}; {feature}give --model DIR with a model folder")]
    NoEmbeddedModel {
        /// The model.
        name: String,
        /// How to build the program with it, where a feature of cargo does that.
        feature: &'static str,
    },
    /// The policy and the model take different noise.
    #[error(
        "the policy is for noise of shape {policy:?}, model {model} takes {found:?}; give the --model it was tuned with"
    )]
    PolicyShape {
        /// Shape in the policy file.
        policy: Vec<usize>,
        /// The model's name.
        model: String,
        /// Shape that the model takes.
        found: Vec<usize>,
    },
    /// A file that is no image.
    #[error("{}: {reason}", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What keeps it from being one.
        reason: String,
    },
    /// Files that have no score because they are no images.
    #[error("{count} of {files} files could not be read and have no score; the first: {first}")]
    Unread {
        /// How many.
        count: usize,
        /// Of how many.
        files: usize,
        /// What is wrong with the first one.
        first: String,
    },
    /// A grid, a curve or a report that cannot be made.
    #[error("image: {0}")]
    Rendering(String),
    /// The method reports a problem.
    #[error(transparent)]
    Method(#[from] noisefind_core::Error),
    /// The run folder reports a problem.
    #[error(transparent)]
    Run(#[from] noisefind_rundir::Error),
}

impl Error {
    pub(crate) fn model(name: &str, source: impl Into<PortError>) -> Self {
        Self::Model { name: name.to_owned(), source: source.into() }
    }

    pub(crate) fn reward(name: &str, source: impl Into<PortError>) -> Self {
        Self::Reward { name: name.to_owned(), source: source.into() }
    }

    /// Whether there is no model where the user said, or a part of it is absent.
    pub fn is_absent_model(&self) -> bool {
        let Self::Model { source, .. } = self else { return false };
        matches!(
            source.downcast_ref(),
            Some(
                noisefind_nn::error::Error::NotAFolder { .. }
                    | noisefind_nn::error::Error::Hub { .. }
                    | noisefind_nn::error::Error::MissingFile { .. }
            )
        )
    }

    /// Whether the user asked for something impossible (exit code 2), rather than something went wrong.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::Config { .. } | Self::Method(noisefind_core::Error::Config { .. }) => true,
            Self::Recommended { source, .. } => source.is_usage(),
            _ => false,
        }
    }
}

fn listed(reasons: &[String]) -> String {
    if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") }
}

fn after_missing(run: &Path, can_go_on: bool) -> String {
    let run = run.display();
    if can_go_on {
        format!("everything is saved; see to the scorer, then go on with `noisefind tune --resume {run}`")
    } else {
        "the budget is used up and nothing was learnt; see to the scorer, then start again in a new folder"
            .to_owned()
    }
}

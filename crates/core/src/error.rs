//! Everything that can go wrong in the method, with the culprit, what was expected and what was found.

use crate::noise::SampleKey;
use crate::ports::PortError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number of the configuration is outside its range.
    #[error("{field} is {found}, expected {expected}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The numbers of a policy do not make a Gaussian.
    #[error("policy: {0}")]
    Policy(String),
    /// A saved state does not fit the run that reads it.
    #[error("saved state: {0}")]
    State(String),
    /// A method was told the reward of a noise that it was not asked for.
    #[error(
        "the noise of {key:?} is not the one that the policy gives for this key; tell the noises that were asked for"
    )]
    ForeignNoise {
        /// The key of the noise.
        key: SampleKey,
    },
    /// A port answered with the wrong number of things.
    #[error("{port} returned {found} {things} for {expected} noises")]
    Count {
        /// Who answered.
        port: String,
        /// What was counted.
        things: &'static str,
        /// One a noise.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The generator and the run disagree about the noise.
    #[error("the generator takes noise of shape {found:?}, the run was made for {expected:?}")]
    NoiseShape {
        /// The run's shape.
        expected: Vec<usize>,
        /// The generator's shape.
        found: Vec<usize>,
    },
    /// The generator failed.
    #[error("generator: {0}")]
    Generator(#[source] PortError),
    /// A scorer failed.
    #[error("scorer {name}: {source}")]
    Scorer {
        /// The scorer's name.
        name: String,
        /// What it said.
        source: PortError,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

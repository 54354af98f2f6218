//! Models that need no files. A program that is not built for tests has none.

use noisefind_core::ports::{Generator, Scorer};

/// A model with its scorers.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "test-doubles")),
    allow(dead_code, reason = "there is none in the program")
)]
pub(crate) struct TestDouble {
    /// The name of the model.
    pub(crate) name: &'static str,
    /// Opens the model.
    pub(crate) generator: fn() -> Box<dyn Generator>,
    /// Opens a scorer or the judge by name.
    pub(crate) scorer: fn(&str) -> Option<Box<dyn Scorer>>,
    /// The model's own scorer.
    pub(crate) reward: &'static str,
    /// The model's own judge.
    pub(crate) judge: &'static str,
}

/// The test double called `name`.
#[cfg(any(test, feature = "test-doubles"))]
pub(crate) fn find(name: &str) -> Option<&'static TestDouble> {
    super::fake::MODELS.iter().find(|model| model.name == name)
}

/// The test double called `name`: none, this program is not built for tests.
#[cfg(not(any(test, feature = "test-doubles")))]
pub(crate) fn find(_name: &str) -> Option<&'static TestDouble> {
    None
}

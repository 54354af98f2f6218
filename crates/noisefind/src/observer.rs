//! How long work tells somebody how it goes; the library itself prints nothing.

use noisefind_core::media::Media;
use noisefind_core::noise::SampleKey;
use noisefind_core::ports::Reward;
use serde::Serialize;

use crate::record::MetricsLine;
use crate::run::prior::PriorRun;

/// Follows long work. Every method has a body that does nothing, so a program implements what it shows.
pub trait Observer {
    /// Everything is open and checked; work starts.
    fn started(&mut self, _header: &Header) {}

    /// Of a list of prompts, number `at` of `total` (counted from 1) is next.
    fn prompt(&mut self, _at: usize, _total: usize, _prompt: &str, _found: Found) {}

    /// Something the user should know that does not stop the work; one sentence.
    fn warned(&mut self, _warning: &str) {}

    /// One step of the method is done and saved.
    fn stepped(&mut self, _line: &MetricsLine) {}

    /// A sample is generated, scored and recorded, while tuning or after it; `reward` is `None` where there is no scorer,
    /// or the scale of several rewards is not measured yet.
    fn sampled(&mut self, _key: SampleKey, _media: &Media, _reward: Option<&Reward>) {}

    /// `done` of `total` samples of the final comparison, or of `sample`, are there; told before the first too.
    fn generated(&mut self, _done: usize, _total: usize) {}

    /// Asked after every sample; `true` ends the work at this safe point.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Follows nothing.
impl Observer for () {}

/// What the work will be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    /// What the samples should show.
    pub prompt: String,
    /// Name or folder of the model.
    pub model: String,
    /// `[channels, (frames,) height, width]`.
    pub noise_shape: Vec<usize>,
    /// Name of the reward.
    pub reward: String,
    /// Names of the held-out scorers.
    pub held_out: Vec<String>,
    /// Name of the method.
    pub method: String,
    /// Where the model runs.
    pub device: String,
    /// In which numbers the model runs.
    pub dtype: String,
    /// Threads that compute.
    pub threads: usize,
    /// Evaluations to spend.
    pub evaluations: usize,
    /// Evaluations spent already, where a run is resumed.
    pub evaluations_done: usize,
    /// The earlier runs that it begins with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<PriorRun>,
    /// The run folder.
    pub run: String,
}

/// What was there of a prompt's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing; it starts now.
    Nothing,
    /// A run that was stopped; it goes on now.
    Begun,
    /// A finished run; it is left alone.
    Finished,
}

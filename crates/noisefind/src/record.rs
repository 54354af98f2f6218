//! How a run is kept on disk: the line of a step, the state after it, the environment it ran in.

use noisefind_core::record::StepRecord;
use noisefind_core::state::{NamedTensor, RunHeader, RunState};
use noisefind_rundir::{Tensor, TensorFile};
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsLine {
    /// Steps done, this one included.
    pub step: u32,
    /// Seconds since the run began, resumed parts added up.
    pub elapsed_seconds: f64,
    /// What the method says.
    #[serde(flatten)]
    pub record: StepRecord,
}

/// `environment.json`: what the run depends on that is no setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of the program.
    pub program_version: String,
    /// Where the model runs.
    pub device: String,
    /// In which numbers it computes.
    pub dtype: String,
    /// Threads the program may use.
    pub threads: usize,
    /// Operating system and processor family.
    pub platform: String,
    /// What the processor can do beyond its family.
    pub instruction_sets: Vec<String>,
    /// SHA-256 over the model's files.
    pub model_sha256: String,
}

/// What a step checkpoint says beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The step whose policy is the best so far.
    pub best_step: u32,
    /// The method's own memory.
    pub header: RunHeader,
}

/// The state as a file.
pub(crate) fn to_file(state: RunState, best_step: u32) -> TensorFile<Saved> {
    let entry = |tensor: NamedTensor| (tensor.name, Tensor { shape: tensor.shape, values: tensor.values });
    let tensors = state.tensors.into_iter().map(entry).collect();
    TensorFile { tensors, metadata: Saved { best_step, header: state.header } }
}

/// The state that [`to_file`] wrote, and its best step.
pub(crate) fn from_file(file: TensorFile<Saved>) -> (RunState, u32) {
    let entry =
        |(name, tensor): (String, Tensor)| NamedTensor { name, shape: tensor.shape, values: tensor.values };
    let tensors = file.tensors.into_iter().map(entry).collect();
    (RunState { tensors, header: file.metadata.header }, file.metadata.best_step)
}

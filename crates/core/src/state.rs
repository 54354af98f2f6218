//! Everything that a run needs to go on after a stop, as plain structs and named tensors.

use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::noise::{NoiseShape, SampleKey};
use crate::policy::NoisePolicy;
use crate::progress::Progress;

/// One named array of `f32`, ready for a safetensors file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedTensor {
    /// Dotted name, unique in its state.
    pub name: String,
    /// Dimensions; their product is the number of values.
    pub shape: Vec<usize>,
    /// The numbers in memory order.
    pub values: Vec<f32>,
}

/// A run between two steps: `header` for the metadata, `tensors` for the arrays. Loading it and going on gives
/// the same bits as never having stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The small part.
    pub header: RunHeader,
    /// The large part; the current policy is `mu` and `sigma`.
    pub tensors: Vec<NamedTensor>,
}

/// The part of a [`RunState`] that is no array. The position of the random streams is the iteration in
/// `progress`: streams are keyed by it and have no other memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The settings of the run.
    pub config: RunConfig,
    /// Shape of the noise.
    pub shape: NoiseShape,
    /// Counters and running figures.
    pub progress: Progress,
    /// What the method remembers of its samples.
    pub memory: Memory,
}

/// The method's memory of its samples, next to the tensors that hold their numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Remembered evaluations, oldest first.
    pub samples: Vec<RememberedSample>,
    /// Steps that each optimiser took, in the method's order.
    pub optimizer_steps: Vec<u32>,
}

/// Name and reward of a remembered evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RememberedSample {
    /// The sample's name.
    pub key: SampleKey,
    /// Its given reward.
    pub reward: f64,
}

impl NamedTensor {
    /// A tensor under `name`; `shape` must account for all `values`.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { name: name.into(), shape, values }
    }
}

/// The two tensors of a policy under `prefix`: `{prefix}mu` and `{prefix}sigma`.
pub fn policy_tensors(prefix: &str, policy: &NoisePolicy) -> [NamedTensor; 2] {
    let dims = policy.dims();
    [
        NamedTensor::new(format!("{prefix}mu"), dims.clone(), policy.mean().to_vec()),
        NamedTensor::new(format!("{prefix}sigma"), dims, policy.sigma().to_vec()),
    ]
}

/// The policy that [`policy_tensors`] wrote.
///
/// # Errors
/// Where a tensor is absent, has the wrong number of values or is no Gaussian.
pub fn read_policy(tensors: &[NamedTensor], prefix: &str, shape: NoiseShape) -> Result<NoisePolicy> {
    let mean = find_tensor(tensors, &format!("{prefix}mu"))?;
    let sigma = find_tensor(tensors, &format!("{prefix}sigma"))?;
    NoisePolicy::new(shape, mean.values.clone(), sigma.values.clone())
}

/// The values of tensor `name`, `count` of them.
pub(crate) fn read_tensor<'a>(tensors: &'a [NamedTensor], name: &str, count: usize) -> Result<&'a [f32]> {
    let tensor = find_tensor(tensors, name)?;
    if tensor.values.len() != count {
        let found = tensor.values.len();
        return Err(Error::State(format!("tensor {name} has {found} values, expected {count}")));
    }
    Ok(&tensor.values)
}

fn find_tensor<'a>(tensors: &'a [NamedTensor], name: &str) -> Result<&'a NamedTensor> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.ok_or_else(|| Error::State(format!("tensor {name} is absent")))
}

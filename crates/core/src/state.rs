//! What a method saves, as plain structs and named tensors.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::noise::{NoiseShape, SampleKey};
use crate::policy::NoisePolicy;

/// One named array of `f32`, ready for a safetensors file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedTensor {
    /// Dotted name, unique in its state.
    pub name: String,
    /// Dimensions; their product is the number of values.
    pub shape: Vec<usize>,
    /// The values in memory order.
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// A tensor called `name`; `shape` must account for all `values`.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { name: name.into(), shape, values }
    }
}

/// Everything that a method needs to go on, except for its policy, which the run saves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodState {
    /// The small part.
    pub header: MethodHeader,
    /// The arrays; the method chooses their names.
    pub tensors: Vec<NamedTensor>,
}

/// The part of a [`MethodState`] that is no array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodHeader {
    /// Evaluations that the method remembers, oldest first. Their noises are not stored: a key and the policy of its
    /// iteration give the noise again.
    pub samples: Vec<ScoredKey>,
    /// Counters, such as the steps of an optimiser, in the method's order.
    pub counters: Vec<u32>,
}

/// Key and reward of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredKey {
    /// Names the sample.
    pub key: SampleKey,
    /// Its given reward.
    pub reward: f64,
}

impl MethodState {
    /// The values of tensor `name`, `count` of them.
    ///
    /// # Errors
    /// Where there is no such tensor, or it has another number of values.
    pub fn tensor(&self, name: &str, count: usize) -> Result<&[f32]> {
        read_tensor(&self.tensors, name, count)
    }

    /// Counter number `at`.
    ///
    /// # Errors
    /// Where there are fewer counters.
    pub fn counter(&self, at: usize) -> Result<u32> {
        let found = self.header.counters.get(at).copied();
        found.ok_or_else(|| Error::State(format!("counter {at} is absent")))
    }
}

/// The two tensors of a policy under `prefix`: `{prefix}mu` and `{prefix}sigma`.
pub fn policy_tensors(prefix: &str, policy: &NoisePolicy) -> [NamedTensor; 2] {
    let dims = policy.stacked_dims();
    [
        NamedTensor::new(format!("{prefix}mu"), dims.clone(), policy.stacked_mean()),
        NamedTensor::new(format!("{prefix}sigma"), dims, policy.stacked_sigma()),
    ]
}

/// The policy that [`policy_tensors`] wrote.
///
/// # Errors
/// Where a tensor is absent, has the wrong number of values or is no Gaussian.
pub fn read_policy(tensors: &[NamedTensor], prefix: &str, shape: NoiseShape) -> Result<NoisePolicy> {
    let mean = find_tensor(tensors, &format!("{prefix}mu"))?;
    let sigma = find_tensor(tensors, &format!("{prefix}sigma"))?;
    NoisePolicy::from_stacked(shape, &mean.values, &sigma.values)
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

pub(crate) fn find_tensor<'a>(tensors: &'a [NamedTensor], name: &str) -> Result<&'a NamedTensor> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.ok_or_else(|| Error::State(format!("tensor {name} is absent")))
}

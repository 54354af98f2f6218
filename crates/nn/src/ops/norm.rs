//! Group and layer normalisation; statistics are f32 whatever the storage.

use burn_tensor::{DType, Tensor, module};
use noisefind_kernels::{Dtype, GroupNormShape, group_norm, layer_norm};

use super::buffers;
use super::host::{self, Host, agreed, with_storage};
use super::record::{Operation, recorded};
use super::{Activation, activate};
use crate::device::Placement;
use crate::weights::Scope;

/// The learnt scale and shift of a normalisation.
#[derive(Clone, Debug)]
enum Affine {
    Packed {
        gamma: Vec<f32>,
        beta: Vec<f32>,
        dtype: Dtype,
    },
    /// Scale and shift as f32 tensors.
    Portable(Box<[Tensor<1>; 2]>),
}

impl Affine {
    fn load(scope: &Scope<'_>, channels: usize) -> Self {
        let gamma = scope.tensor("weight", &[channels]).unwrap_or_default();
        let beta = scope.tensor("bias", &[channels]).unwrap_or_default();
        let placement = scope.placement();
        match placement.kernel_dtype() {
            Some(dtype) => Self::Packed { gamma, beta, dtype },
            None => Self::Portable(Box::new([gamma, beta].map(|values| f32_vector(values, placement)))),
        }
    }
}

fn f32_vector(values: Vec<f32>, placement: &Placement) -> Tensor<1> {
    let length = values.len();
    placement.with_dtype(DType::F32).tensor(values, [length])
}

/// Group normalisation over `[batch, height, width, channels]`, followed by an activation.
///
/// Wu and He, "Group Normalization", ECCV 2018.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    affine: Affine,
    groups: usize,
    epsilon: f32,
}

impl GroupNorm {
    /// From `weight` and `bias`.
    pub fn load(scope: &Scope<'_>, channels: usize, groups: usize, epsilon: f32) -> Self {
        Self { affine: Affine::load(scope, channels), groups, epsilon }
    }

    /// `activation(normalised x)`, the same shape as `x`.
    pub fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let (groups, pixels) = (self.groups, height * width);
        match &self.affine {
            Affine::Packed { gamma, beta, dtype } => {
                let shape = GroupNormShape { batch, pixels, channels, groups };
                let describe = || describe("group norm", [batch * pixels, channels], *dtype);
                recorded(describe, || {
                    let x = Host::new(x);
                    with_storage!(*dtype, T => {
                        let mut out = buffers::take::<T>(batch * pixels * channels);
                        agreed(group_norm(x.slice::<T>(), shape, self.epsilon, gamma, beta, activation, &mut out));
                        host::tensor(out, [batch, height, width, channels])
                    })
                })
            }
            Affine::Portable(affine) => {
                let [gamma, beta] = &**affine;
                let dtype = x.dtype();
                let x = x.cast(DType::F32).reshape([batch, pixels, groups, channels / groups]);
                let mean = x.clone().mean_dim(3).mean_dim(1);
                let centred = x - mean;
                let variance = centred.clone().square().mean_dim(3).mean_dim(1);
                let normal =
                    (centred / (variance + self.epsilon).sqrt()).reshape([batch, height, width, channels]);
                activate(normal * gamma.clone().unsqueeze() + beta.clone().unsqueeze(), activation)
                    .cast(dtype)
            }
        }
    }
}

/// Layer normalisation over the last axis.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    affine: Affine,
    epsilon: f32,
}

impl LayerNorm {
    /// From `weight` and `bias`.
    pub fn load(scope: &Scope<'_>, channels: usize, epsilon: f32) -> Self {
        Self { affine: Affine::load(scope, channels), epsilon }
    }

    /// The same shape as `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.affine {
            Affine::Packed { gamma, beta, dtype } => {
                let shape = x.dims();
                let rows = shape[..D - 1].iter().product();
                recorded(
                    || describe("layer norm", [rows, shape[D - 1]], *dtype),
                    || {
                        let x = Host::new(x);
                        with_storage!(*dtype, T => {
                            let mut out = buffers::take::<T>(shape.iter().product());
                            agreed(layer_norm(x.slice::<T>(), self.epsilon, gamma, beta, &mut out));
                            host::tensor(out, shape)
                        })
                    },
                )
            }
            Affine::Portable(affine) => {
                let [gamma, beta] = &**affine;
                let dtype = x.dtype();
                let x = x.cast(DType::F32);
                module::layer_norm(x, gamma.clone(), Some(beta.clone()), f64::from(self.epsilon)).cast(dtype)
            }
        }
    }
}

/// What one call computes.
fn describe(kind: &'static str, [rows, channels]: [usize; 2], dtype: Dtype) -> Operation {
    let bytes = 2 * rows * channels * dtype.size();
    Operation { kind, shape: format!("{rows} x {channels}"), flops: 0, bytes }
}

//! Linear layers, with the residual and the activation that follow them, and the gated linear unit of transformers.

use burn_tensor::{Tensor, TensorData, module};
use noisefind_kernels::{Epilogue, PackedMatrix, gemm};

use super::buffers;
use super::host::{self, Host, agreed, with_storage};
use super::record::{Operation, recorded};
use super::{Activation, activate};
use crate::device::Placement;
use crate::weights::Scope;

/// `y = x W^T + b` over the last axis, `W` stored as `[output, input]` as PyTorch stores it.
#[derive(Clone, Debug)]
pub struct Linear {
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Packed(PackedMatrix),
    Portable(Box<Portable>),
}

/// The layer as Burn takes it; `weight` is `[input, output]`.
#[derive(Clone, Debug)]
struct Portable {
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
}

impl Portable {
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, self.weight.clone(), self.bias.clone())
    }
}

/// Whether a layer adds a learnt vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bias {
    With,
    Without,
}

impl Linear {
    /// A layer with bias, from `weight` (`[output, input]`, or the 1x1 convolution of the same numbers) and `bias`.
    pub fn load(scope: &Scope<'_>, input: usize, output: usize) -> Self {
        Self::load_all(scope, &[""], input, output, Bias::With)
    }

    /// A layer without bias, from `weight` alone.
    pub fn load_without_bias(scope: &Scope<'_>, input: usize, output: usize) -> Self {
        Self::load_all(scope, &[""], input, output, Bias::Without)
    }

    /// Several layers with bias over the same input as one: `output` columns for each of `names`, side by side.
    pub fn load_joined(scope: &Scope<'_>, names: &[&str], input: usize, output: usize) -> Self {
        Self::load_all(scope, names, input, output, Bias::With)
    }

    /// As [`Linear::load_joined`], without bias.
    pub fn load_joined_without_bias(scope: &Scope<'_>, names: &[&str], input: usize, output: usize) -> Self {
        Self::load_all(scope, names, input, output, Bias::Without)
    }

    fn load_all(scope: &Scope<'_>, names: &[&str], input: usize, output: usize, bias: Bias) -> Self {
        let mut weight = Some(Vec::new());
        let mut joined_bias = Some(Vec::new());
        for name in names {
            let scope = if name.is_empty() { scope.clone() } else { scope.at(name) };
            extend(&mut weight, scope.tensor_of_any("weight", &[&[output, input], &[output, input, 1, 1]]));
            if bias == Bias::With {
                extend(&mut joined_bias, scope.tensor("bias", &[output]));
            }
        }
        let bias = joined_bias.filter(|bias| !bias.is_empty());
        Self::new(
            &weight.unwrap_or_default(),
            bias.as_deref(),
            output * names.len(),
            input,
            scope.placement(),
        )
    }

    /// A layer from its numbers, `weight` being `[output, input]`; empty slices make a layer that is never called.
    pub(crate) fn new(
        weight: &[f32],
        bias: Option<&[f32]>,
        output: usize,
        input: usize,
        placement: &Placement,
    ) -> Self {
        if let Some(format) = placement.kernel_format()
            && let Ok(packed) = PackedMatrix::pack(weight, bias, output, input, format)
        {
            return Self { body: Body::Packed(packed) };
        }
        // A weight that is absent makes a layer without numbers; the loading ends with an error that names it.
        let rows = if weight.is_empty() { 0 } else { output };
        let bias = bias.filter(|_| rows > 0);
        let weight = placement.tensor(weight.to_vec(), [rows, input]).transpose();
        let bias = bias.map(|bias| placement.tensor(bias.to_vec(), [bias.len()]));
        Self { body: Body::Portable(Box::new(Portable { weight, bias })) }
    }

    /// `[.., input]` to `[.., output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward_with(x, None, Activation::None)
    }

    /// `activation(x W^T + b + residual)`.
    pub fn forward_with<const D: usize>(
        &self,
        x: Tensor<D>,
        residual: Option<Tensor<D>>,
        activation: Activation,
    ) -> Tensor<D> {
        match &self.body {
            Body::Packed(packed) => forward_packed("linear", packed, x, residual, activation),
            Body::Portable(portable) => {
                let y = portable.forward(x);
                activate(if let Some(residual) = residual { y + residual } else { y }, activation)
            }
        }
    }
}

/// Dauphin's gated linear unit with the exact GELU: `(x W_v^T + b_v) * gelu(x W_g^T + b_g)`.
#[derive(Clone, Debug)]
pub struct Geglu {
    body: Body,
}

impl Geglu {
    /// From `weight` `[2 inner, input]` and `bias`, the values' half first.
    pub fn load(scope: &Scope<'_>, input: usize, inner: usize) -> Self {
        let weight = scope.tensor("weight", &[2 * inner, input]).unwrap_or_default();
        let bias = scope.tensor("bias", &[2 * inner]);
        let placement = scope.placement();
        if let Some(format) = placement.kernel_format()
            && let Ok(packed) = PackedMatrix::pack_geglu(&weight, bias.as_deref(), inner, input, format)
        {
            return Self { body: Body::Packed(packed) };
        }
        Self { body: Linear::new(&weight, bias.as_deref(), 2 * inner, input, placement).body }
    }

    /// `[batch, length, input]` to `[batch, length, inner]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.body {
            Body::Packed(packed) => forward_packed("geglu", packed, x, None, Activation::None),
            Body::Portable(portable) => {
                let mut halves = portable.forward(x).chunk(2, 2).into_iter();
                match (halves.next(), halves.next()) {
                    (Some(values), Some(gates)) => values * activate(gates, Activation::GeluErf),
                    _ => unreachable!("chunk(2) of an even axis gives two halves"),
                }
            }
        }
    }
}

fn forward_packed<const D: usize>(
    kind: &'static str,
    packed: &PackedMatrix,
    x: Tensor<D>,
    residual: Option<Tensor<D>>,
    activation: Activation,
) -> Tensor<D> {
    let mut shape = x.dims();
    shape[D - 1] = packed.n();
    let (k, n, rows) = (packed.k(), packed.n(), shape[..D - 1].iter().product::<usize>());
    let residuals = if residual.is_some() { rows * n } else { 0 };
    let describe = || {
        let weights = packed.weights();
        let bytes = (rows * (k + n) + residuals + weights) * packed.dtype().size();
        Operation { kind, shape: format!("{rows} x {k} -> {n}"), flops: 2 * rows * weights, bytes }
    };
    recorded(describe, || {
        let (x, residual) = (Host::new(x), residual.map(Host::new));
        with_storage!(packed.dtype(), T => {
            let mut out = buffers::take::<T>(shape.iter().product());
            let residual = residual.as_ref().map(|residual| residual.slice::<T>());
            let epilogue = Epilogue { residual, activation, ..Epilogue::default() };
            agreed(gemm(x.slice::<T>(), packed, &epilogue, &mut out));
            host::tensor(out, shape)
        })
    })
}

/// Appends a tensor's numbers, or makes the whole absent where the tensor is.
fn extend(joined: &mut Option<Vec<f32>>, more: Option<Vec<f32>>) {
    match (joined.as_mut(), more) {
        (Some(joined), Some(more)) => joined.extend(more),
        _ => *joined = None,
    }
}

impl Placement {
    /// Uploads numbers in memory order.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype))
    }
}

//! Matrix products `out[m, n] = x[m, k] * weights[n, k]^T` with weights that were packed at load.

use rayon::prelude::*;

use crate::activation::gelu_erf;
use crate::element::{Dtype, Element};
use crate::epilogue::Epilogue;
use crate::error::{Error, Result, check_length, check_shape};

/// The weights of a linear layer in the order in which the kernels read them, and its bias.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    /// `[k, columns]`
    weights: Vec<f32>,
    bias: Vec<f32>,
    n: usize,
    k: usize,
    dtype: Dtype,
    gated: bool,
}

impl PackedMatrix {
    /// Packs `weights` `[n, k]` and `bias` `[n]` for activations stored as `dtype`; with `bf16`, weights are rounded to it.
    ///
    /// # Errors
    /// A length that does not fit, or a size of 0.
    pub fn pack(weights: &[f32], bias: Option<&[f32]>, n: usize, k: usize, dtype: Dtype) -> Result<Self> {
        check_shape("columns", "at least 1", n, n > 0)?;
        check_shape("inner size", "at least 1", k, k > 0)?;
        check_length("weights", n * k, weights.len())?;
        if let Some(bias) = bias {
            check_length("bias", n, bias.len())?;
        }
        let mut packed = vec![0.0; n * k];
        for (column, row) in weights.chunks_exact(k).enumerate() {
            for (depth, &weight) in row.iter().enumerate() {
                packed[depth * n + column] = round_to(weight, dtype);
            }
        }
        let bias = bias.map_or_else(|| vec![0.0; n], <[f32]>::to_vec);
        Ok(Self { weights: packed, bias, n, k, dtype, gated: false })
    }

    /// Packs the projection of a GEGLU layer: `weights` `[2 inner, k]` with the values' half first, then the gates';
    /// the product's output is `[m, inner]`, `values * gelu_erf(gates)`.
    ///
    /// # Errors
    /// A length that does not fit, or a size of 0.
    pub fn pack_geglu(
        weights: &[f32],
        bias: Option<&[f32]>,
        inner: usize,
        k: usize,
        dtype: Dtype,
    ) -> Result<Self> {
        let plain = Self::pack(weights, bias, 2 * inner, k, dtype)?;
        Ok(Self { gated: true, n: inner, ..plain })
    }

    /// Columns of the output.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns of the input.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Storage type of the activations.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }
}

/// `out[m, n] = epilogue(x[m, k] * weights^T + bias)`, with `m` taken from the length of `x`.
///
/// # Errors
/// A length or storage type that does not fit the packed weights.
pub fn gemm<T: Element>(
    x: &[T],
    weights: &PackedMatrix,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let (n, k) = (weights.n, weights.k);
    if T::DTYPE != weights.dtype {
        return Err(Error::Dtype { expected: weights.dtype.name(), found: T::DTYPE.name() });
    }
    check_shape("input length", "a multiple of the inner size", x.len(), x.len().is_multiple_of(k))?;
    let m = x.len() / k;
    check_length("output", m * n, out.len())?;
    epilogue.check(m, n)?;
    let columns = if weights.gated { 2 * n } else { n };
    let rows_per_sample = epilogue.sample_bias.map_or(m, |bias| m / (bias.len() / n)).max(1);
    out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
        let mut sums = weights.bias.clone();
        for (x, weights) in x[row * k..(row + 1) * k].iter().zip(weights.weights.chunks_exact(columns)) {
            let x = x.widen();
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += x * weight;
            }
        }
        for (column, out) in out.iter_mut().enumerate() {
            let mut sum = sums[column];
            if weights.gated {
                sum *= gelu_erf(sums[n + column]);
            }
            if let Some(bias) = epilogue.sample_bias {
                sum += bias[row / rows_per_sample * n + column].widen();
            }
            if let Some(residual) = epilogue.residual {
                sum += residual[row * n + column].widen();
            }
            *out = T::narrow(epilogue.activation.apply(sum));
        }
    });
    Ok(())
}

/// The weight as the kernels will multiply with it.
fn round_to(weight: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => weight,
        Dtype::Bf16 => half::bf16::narrow(weight).widen(),
    }
}

//! The few fused operations that diffusion models and CLIP towers spend their time in.
//!
//! Activations are channel-last, `[batch, height, width, channels]` or `[batch, length, channels]`, so that linear
//! layers, attention and convolution follow each other without layout changes. Each operation has two bodies with
//! the same numbers: plain Burn operations for every device, and [`noisefind_kernels`] on the CPU, for which the
//! weights are packed once at load.

mod attention;
mod buffers;
mod conv;
mod host;
mod linear;
mod norm;
mod record;

use burn_tensor::{DType, Tensor, TensorData, activation as burn_activation};

pub use attention::{Attention, attention, attention_fused};
pub use conv::{Conv2d, ConvOptions};
pub use linear::{Geglu, Linear};
pub use noisefind_kernels::Activation;
pub use norm::{GroupNorm, LayerNorm};
pub use record::{Call, Operation, record};

use crate::device::Placement;
use crate::error::{Error, Result};
pub use buffers::release as release_buffers;
use host::{Host, agreed, kernel_dtype, with_storage};
use record::recorded;

/// Joins two images channel by channel: `[b, h, w, c]` and `[b, h, w, d]` to `[b, h, w, c + d]`.
pub fn concat_channels(a: Tensor<4>, b: Tensor<4>, placement: &Placement) -> Tensor<4> {
    let Some(dtype) = placement.kernel_dtype() else {
        return Tensor::cat(vec![a, b], 3);
    };
    let [batch, height, width, channels] = a.dims();
    let more = b.dims()[3];
    let describe = || Operation {
        kind: "concat",
        shape: format!("{height}x{width} {channels} + {more}"),
        flops: 0,
        bytes: 2 * batch * height * width * (channels + more) * dtype.size(),
    };
    recorded(describe, || {
        let (a, b) = (Host::new(a), Host::new(b));
        with_storage!(dtype, T => {
            let mut out = buffers::take::<T>(batch * height * width * (channels + more));
            agreed(noisefind_kernels::concat_channels(a.slice::<T>(), channels, b.slice::<T>(), more, &mut out));
            host::tensor(out, [batch, height, width, channels + more])
        })
    })
}

/// Exchanges the two middle axes, `[a, b, c, d]` to `[a, c, b, d]`: frames and pixels of clips.
pub fn swap_middle(x: Tensor<4>, placement: &Placement) -> Tensor<4> {
    let Some(dtype) = placement.kernel_dtype() else { return x.swap_dims(1, 2) };
    let dims @ [batch, first, second, channels] = x.dims();
    let describe = || Operation {
        kind: "swap",
        shape: format!("{batch} x {first} x {second} x {channels}"),
        flops: 0,
        bytes: 2 * batch * first * second * channels * dtype.size(),
    };
    recorded(describe, || {
        let x = Host::new(x);
        with_storage!(dtype, T => {
            let mut out = buffers::take::<T>(batch * first * second * channels);
            agreed(noisefind_kernels::swap_middle(x.slice::<T>(), dims, &mut out));
            host::tensor(out, [batch, second, first, channels])
        })
    })
}

impl Placement {
    /// The kernels' storage type, where tensors are on the CPU and the kernels are in use.
    pub(crate) fn kernel_format(&self) -> Option<noisefind_kernels::Format> {
        let activations = self.kernel_dtype()?;
        Some(noisefind_kernels::Format { activations, weights: self.weight_storage() })
    }

    /// The storage type of activations in the CPU kernels; none where other bodies run.
    pub(crate) fn kernel_dtype(&self) -> Option<noisefind_kernels::Dtype> {
        if self.uses_kernels() { kernel_dtype(self.dtype) } else { None }
    }
}

/// The activation in plain Burn operations.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::None => x,
        Activation::Silu => burn_activation::silu(x),
        Activation::QuickGelu => x.clone() * burn_activation::sigmoid(x * 1.702),
        Activation::GeluErf => burn_activation::gelu(x),
        Activation::Relu => burn_activation::relu(x),
    }
}

/// The numbers of a tensor in memory order, as f32; `what` names it in messages.
///
/// # Errors
/// Where the device does not give them back.
pub fn read_back<const D: usize>(tensor: Tensor<D>, what: &'static str) -> Result<Vec<f32>> {
    let data: TensorData = tensor.cast(DType::F32).into_data();
    data.try_into_vec().map_err(|error| Error::Readback { what, reason: format!("{error:?}") })
}

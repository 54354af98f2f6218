//! Scaled dot-product attention over fused projections.
//!
//! Vaswani et al., "Attention Is All You Need", NeurIPS 2017.

use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{DType, Tensor, module};
use noisefind_kernels::{AttentionShape, Dtype, HeadRows};

use super::buffers;
use super::host::{self, Host, agreed, with_storage};
use super::record::{Operation, recorded};
use crate::device::Placement;

/// How an attention layer splits and masks its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Heads; the channels are split between them in order.
    pub heads: usize,
    /// Whether row `i` sees only rows `0..=i`.
    pub causal: bool,
    /// Whether half-precision scores are computed in f32; on the CPU they always are.
    pub upcast: bool,
}

/// Self-attention over `[batch, length, 3 channels]` (queries, keys and values side by side) to `[batch, length, channels]`.
pub fn attention_fused(qkv: Tensor<3>, options: Attention, placement: &Placement) -> Tensor<3> {
    let [batch, length, triple] = qkv.dims();
    let channels = triple / 3;
    let Some(dtype) = placement.kernel_dtype() else {
        let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(2, part * channels, channels));
        return portable(q, k, v, options);
    };
    let shape = kernel_shape(batch, length, length, channels, options);
    recorded(
        || describe(&shape, dtype),
        || {
            let qkv = Host::new(qkv);
            with_storage!(dtype, T => {
                let mut out = buffers::take::<T>(batch * length * channels);
                let data = qkv.slice::<T>();
                let rows = |part: usize| HeadRows { data: &data[part * channels..], row_stride: triple };
                agreed(noisefind_kernels::attention(rows(0), rows(1), rows(2), &shape, &mut out));
                host::tensor(out, [batch, length, channels])
            })
        },
    )
}

/// Attention of `q` `[batch, length, channels]` over `kv` `[groups, keys, 2 channels]` (keys and values side by side).
///
/// The batch falls into `groups` equal groups in order, and each group sees its own keys: the two halves of
/// classifier-free guidance share one prompt each, whatever the batch.
pub fn attention(q: Tensor<3>, kv: Tensor<3>, options: Attention, placement: &Placement) -> Tensor<3> {
    let [batch, length, channels] = q.dims();
    let [groups, keys, double] = kv.dims();
    // Queries do not see each other, so those of one group can stand as the rows of a single sample.
    let queries = batch / groups * length;
    let q = q.reshape([groups, queries, channels]);
    let Some(dtype) = placement.kernel_dtype() else {
        let [k, v] = [0, 1].map(|part| kv.clone().narrow(2, part * channels, channels));
        return portable(q, k, v, options).reshape([batch, length, channels]);
    };
    let shape = kernel_shape(groups, queries, keys, channels, options);
    recorded(
        || describe(&shape, dtype),
        || {
            let (q, kv) = (Host::new(q), Host::new(kv));
            with_storage!(dtype, T => {
                let mut out = buffers::take::<T>(batch * length * channels);
                let q = HeadRows { data: q.slice::<T>(), row_stride: channels };
                let kv = kv.slice::<T>();
                let [k, v] = [0, channels].map(|start| HeadRows { data: &kv[start..], row_stride: double });
                agreed(noisefind_kernels::attention(q, k, v, &shape, &mut out));
                host::tensor(out, [batch, length, channels])
            })
        },
    )
}

/// What one call computes.
fn describe(shape: &AttentionShape<'_>, dtype: Dtype) -> Operation {
    let AttentionShape { batch, heads, head_dim, queries, keys, .. } = *shape;
    Operation {
        kind: "attention",
        shape: format!("{batch} x {heads} heads of {head_dim}, {queries} over {keys}"),
        flops: 4 * batch * heads * head_dim * queries * keys,
        bytes: 2 * batch * heads * head_dim * (queries + keys) * dtype.size(),
    }
}

fn kernel_shape(
    batch: usize,
    queries: usize,
    keys: usize,
    channels: usize,
    options: Attention,
) -> AttentionShape<'static> {
    let head_dim = channels / options.heads;
    AttentionShape {
        batch,
        heads: options.heads,
        head_dim,
        queries,
        keys,
        scale: (head_dim as f32).powf(-0.5),
        causal: options.causal,
        key_lengths: None,
    }
}

/// Attention in plain Burn operations; all arguments are `[batch, length, channels]`.
fn portable(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, options: Attention) -> Tensor<3> {
    let dtype = q.dtype();
    let split = |x: Tensor<3>| {
        let [batch, length, channels] = x.dims();
        let x = x.reshape([batch, length, options.heads, channels / options.heads]).swap_dims(1, 2);
        if options.upcast { x.cast(DType::F32) } else { x }
    };
    let module_options = AttentionModuleOptions { is_causal: options.causal, ..Default::default() };
    let out = module::attention(split(q), split(k), split(v), None, None, module_options);
    let [batch, heads, length, head_dim] = out.dims();
    out.swap_dims(1, 2).reshape([batch, length, heads * head_dim]).cast(dtype)
}

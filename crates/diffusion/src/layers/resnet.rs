//! The residual block of denoiser and decoder, `ResnetBlock2D` of diffusers.

use burn_tensor::Tensor;

use noisefind_nn::ops::{Activation, Conv2d, ConvOptions, GroupNorm, Linear};
use noisefind_nn::weights::Scope;

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))`
#[derive(Clone, Debug)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Linear>,
}

/// Sizes of a residual block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetOptions {
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// Width of the time embedding; the decoder has none.
    pub(crate) time_embed_dim: Option<usize>,
    pub(crate) groups: usize,
    pub(crate) epsilon: f32,
}

impl ResnetBlock {
    pub(crate) fn load(scope: &Scope<'_>, options: &ResnetOptions) -> Self {
        let ResnetOptions { input, output, groups, epsilon, .. } = *options;
        Self {
            norm1: GroupNorm::load(&scope.at("norm1"), input, groups, epsilon),
            conv1: Conv2d::load(&scope.at("conv1"), input, output, ConvOptions::Same),
            time_emb_proj: options
                .time_embed_dim
                .map(|width| Linear::load(&scope.at("time_emb_proj"), width, output)),
            norm2: GroupNorm::load(&scope.at("norm2"), output, groups, epsilon),
            conv2: Conv2d::load(&scope.at("conv2"), output, output, ConvOptions::Same),
            conv_shortcut: (input != output).then(|| Linear::load(&scope.at("conv_shortcut"), input, output)),
        }
    }

    /// What an embedded time (after SiLU) adds between the convolutions, `[groups, output]`.
    pub(crate) fn project_time(&self, embedding: Tensor<2>) -> Tensor<2> {
        match &self.time_emb_proj {
            Some(projection) => projection.forward(embedding),
            None => embedding,
        }
    }

    /// `[batch, height, width, input]` to `[batch, height, width, output]`.
    pub(crate) fn forward(&self, x: Tensor<4>, time: Option<Tensor<2>>) -> Tensor<4> {
        let h = self.norm1.forward(x.clone(), Activation::Silu);
        let h = self.conv1.forward_with(h, time, None, Activation::None);
        let h = self.norm2.forward(h, Activation::Silu);
        let shortcut = match &self.conv_shortcut {
            Some(projection) => projection.forward(x),
            None => x,
        };
        self.conv2.forward_with(h, None, Some(shortcut), Activation::None)
    }
}

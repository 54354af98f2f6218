//! The levels of the U-Net: down, middle and up, with or without attention.

use burn::tensor::Tensor;

use super::Conditioning;
use super::config::{UnetBlock, UnetConfig};
use super::transformer::{Transformer2d, TransformerOptions};
use crate::layers::{ResnetBlock, ResnetOptions};
use noisefind_nn::ops::{Conv2d, ConvOptions, concat_channels};
use noisefind_nn::weights::Scope;

/// One level on the way down: `DownBlock2D` or `CrossAttnDownBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, level: usize) -> Self {
        let widths = &config.block_out_channels;
        let output = widths[level];
        let input = widths[level.saturating_sub(1)];
        let resnets = (0..config.layers_per_block).map(|layer| {
            let input = if layer == 0 { input } else { output };
            ResnetBlock::load(&scope.at("resnets").at(layer), &resnet_options(config, input, output))
        });
        let is_last = level + 1 == widths.len();
        let halving = ConvOptions::Halving { padding: config.downsample_padding };
        Self {
            resnets: resnets.collect(),
            attentions: load_attentions(
                scope,
                config,
                config.down_blocks[level],
                config.layers_per_block,
                output,
            ),
            downsampler: (!is_last)
                .then(|| Conv2d::load(&scope.at("downsamplers.0.conv"), output, output, halving)),
        }
    }

    pub(super) fn resnets(&self) -> impl Iterator<Item = &ResnetBlock> {
        self.resnets.iter()
    }

    pub(super) fn transformers(&self) -> impl Iterator<Item = &Transformer2d> {
        self.attentions.iter()
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        conditioning: &mut Conditioning<'_>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(conditioning.time()));
            if let Some(attention) = self.attentions.get(layer) {
                x = attention.forward(x, conditioning);
            }
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// The innermost level: `UNetMidBlock2DCrossAttn`.
#[derive(Clone, Debug)]
pub(super) struct MidBlock {
    resnets: [ResnetBlock; 2],
    attention: Transformer2d,
}

impl MidBlock {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, channels: usize) -> Self {
        let options = resnet_options(config, channels, channels);
        Self {
            resnets: [0, 1].map(|at| ResnetBlock::load(&scope.at("resnets").at(at), &options)),
            attention: Transformer2d::load(
                &scope.at("attentions.0"),
                &transformer_options(config, config.mid_block, channels),
            ),
        }
    }

    pub(super) fn resnets(&self) -> impl Iterator<Item = &ResnetBlock> {
        self.resnets.iter()
    }

    pub(super) fn transformers(&self) -> impl Iterator<Item = &Transformer2d> {
        std::iter::once(&self.attention)
    }

    pub(super) fn forward(&self, x: Tensor<4>, conditioning: &mut Conditioning<'_>) -> Tensor<4> {
        let x = self.resnets[0].forward(x, Some(conditioning.time()));
        let x = self.attention.forward(x, conditioning);
        self.resnets[1].forward(x, Some(conditioning.time()))
    }
}

/// One level on the way up: `UpBlock2D` or `CrossAttnUpBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// `level` counts from the innermost.
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, level: usize) -> Self {
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let last = widths.len() - 1;
        let output = widths[level];
        let previous = widths[level.saturating_sub(1)];
        // Each layer takes a skip of this level's width, except the last, whose skip comes from the next level out.
        let next = widths[(level + 1).min(last)];
        let layers = config.layers_per_block + 1;
        let resnets = (0..layers).map(|layer| {
            let below = if layer == 0 { previous } else { output };
            let skip = if layer + 1 == layers { next } else { output };
            ResnetBlock::load(&scope.at("resnets").at(layer), &resnet_options(config, below + skip, output))
        });
        Self {
            resnets: resnets.collect(),
            attentions: load_attentions(scope, config, config.up_blocks[level], layers, output),
            upsampler: (level < last)
                .then(|| Conv2d::load(&scope.at("upsamplers.0.conv"), output, output, ConvOptions::Doubling)),
        }
    }

    pub(super) fn resnets(&self) -> impl Iterator<Item = &ResnetBlock> {
        self.resnets.iter()
    }

    pub(super) fn transformers(&self) -> impl Iterator<Item = &Transformer2d> {
        self.attentions.iter()
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        conditioning: &mut Conditioning<'_>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("the way down leaves a skip for each layer of the way up");
            x = resnet.forward(concat_channels(x, skip, conditioning.placement), Some(conditioning.time()));
            if let Some(attention) = self.attentions.get(layer) {
                x = attention.forward(x, conditioning);
            }
        }
        let Some(upsampler) = &self.upsampler else {
            return x;
        };
        // Odd sizes were rounded up on the way down; the next skip has the size from before.
        let [_, height, width, _] = skips.last().expect("a level further out leaves skips").dims();
        upsampler.forward_doubling_to(x, [height, width])
    }
}

fn load_attentions(
    scope: &Scope<'_>,
    config: &UnetConfig,
    block: UnetBlock,
    layers: usize,
    channels: usize,
) -> Vec<Transformer2d> {
    let layers = if block.transformer_layers > 0 { layers } else { 0 };
    let options = transformer_options(config, block, channels);
    (0..layers).map(|layer| Transformer2d::load(&scope.at("attentions").at(layer), &options)).collect()
}

fn resnet_options(config: &UnetConfig, input: usize, output: usize) -> ResnetOptions {
    ResnetOptions {
        input,
        output,
        time_embed_dim: Some(config.time_embed_dim),
        groups: config.norm_num_groups,
        epsilon: config.norm_eps,
    }
}

fn transformer_options(config: &UnetConfig, block: UnetBlock, channels: usize) -> TransformerOptions {
    TransformerOptions {
        channels,
        layers: block.transformer_layers,
        heads: block.heads,
        cross_attention_dim: config.cross_attention_dim,
        groups: config.norm_num_groups,
        upcast: config.upcast_attention,
    }
}

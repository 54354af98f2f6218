//! The levels of the U-Net: down, middle and up, with or without attention.

use burn_tensor::Tensor;

use super::Conditioning;
use super::config::{MidBlockConfig, UnetAttention, UnetBlock, UnetConfig};
use super::temporal::{LevelSizes, TemporalLevel};
use super::transformer::{Transformer2d, TransformerOptions};
use crate::layers::{ResnetBlock, ResnetOptions};
use noisefind_nn::ops::{Conv2d, ConvOptions, concat_channels};
use noisefind_nn::weights::Scope;

/// One level on the way down: `DownBlock2D` or `CrossAttnDownBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    temporal: TemporalLevel,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, level: usize) -> Self {
        let widths = &config.block_out_channels;
        let output = widths[level];
        let input = widths[level.saturating_sub(1)];
        let block = &config.down_blocks[level];
        let resnets = (0..block.resnets).map(|layer| {
            let input = if layer == 0 { input } else { output };
            ResnetBlock::load(&scope.at("resnets").at(layer), &resnet_options(config, input, output))
        });
        let is_last = level + 1 == widths.len();
        let halving = ConvOptions::Halving { padding: config.downsample_padding };
        Self {
            resnets: resnets.collect(),
            attentions: load_attentions(scope, config, block, output),
            temporal: TemporalLevel::load(scope, config, level_sizes(level, block)),
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
            x = self.temporal.after_resnet(layer, x, conditioning.frames);
            if let Some(attention) = self.attentions.get(layer) {
                x = attention.forward(x, conditioning);
            }
            x = self.temporal.after_attention(layer, x, conditioning.frames);
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// The innermost level: `UNetMidBlock2DCrossAttn`, `UNetMidBlock2D` or nothing.
#[derive(Clone, Debug)]
pub(super) struct MidBlock {
    resnets: Vec<ResnetBlock>,
    attention: Option<Transformer2d>,
    temporal: TemporalLevel,
}

impl MidBlock {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, channels: usize) -> Self {
        let (resnets, attention) = match &config.mid_block {
            MidBlockConfig::Absent => (0, None),
            MidBlockConfig::Residual => (1, None),
            MidBlockConfig::Attending(attention) => (2, Some(attention)),
        };
        let options = resnet_options(config, channels, channels);
        let load = |attention: &UnetAttention| {
            let options = transformer_options(config, attention, attention.layers[0], channels);
            Transformer2d::load(&scope.at("attentions.0"), &options)
        };
        Self {
            resnets: (0..resnets)
                .map(|at| ResnetBlock::load(&scope.at("resnets").at(at), &options))
                .collect(),
            attention: attention.map(load),
            temporal: TemporalLevel::load_middle(scope, config),
        }
    }

    pub(super) fn resnets(&self) -> impl Iterator<Item = &ResnetBlock> {
        self.resnets.iter()
    }

    pub(super) fn transformers(&self) -> impl Iterator<Item = &Transformer2d> {
        self.attention.iter()
    }

    pub(super) fn forward(&self, mut x: Tensor<4>, conditioning: &mut Conditioning<'_>) -> Tensor<4> {
        for (at, resnet) in self.resnets.iter().enumerate() {
            if at > 0
                && let Some(attention) = &self.attention
            {
                x = attention.forward(x, conditioning);
                x = self.temporal.after_attention(at - 1, x, conditioning.frames);
            }
            x = resnet.forward(x, Some(conditioning.time()));
            x = self.temporal.after_resnet(at, x, conditioning.frames);
        }
        x
    }
}

/// One level on the way up: `UpBlock2D` or `CrossAttnUpBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    temporal: TemporalLevel,
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
        let block = &config.up_blocks[level];
        let layers = block.resnets;
        let resnets = (0..layers).map(|layer| {
            let below = if layer == 0 { previous } else { output };
            let skip = if layer + 1 == layers { next } else { output };
            ResnetBlock::load(&scope.at("resnets").at(layer), &resnet_options(config, below + skip, output))
        });
        Self {
            resnets: resnets.collect(),
            attentions: load_attentions(scope, config, block, output),
            temporal: TemporalLevel::load(scope, config, level_sizes(last - level, block)),
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
            x = self.temporal.after_resnet(layer, x, conditioning.frames);
            if let Some(attention) = self.attentions.get(layer) {
                x = attention.forward(x, conditioning);
            }
            x = self.temporal.after_attention(layer, x, conditioning.frames);
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
    block: &UnetBlock,
    channels: usize,
) -> Vec<Transformer2d> {
    let Some(attention) = &block.attention else { return Vec::new() };
    let scope = scope.at("attentions");
    let transformer = |(at, &layers): (usize, &usize)| {
        Transformer2d::load(&scope.at(at), &transformer_options(config, attention, layers, channels))
    };
    attention.layers.iter().enumerate().map(transformer).collect()
}

fn level_sizes(level: usize, block: &UnetBlock) -> LevelSizes {
    let attentions = block.attention.as_ref().map_or(0, |attention| attention.layers.len());
    LevelSizes { level, resnets: block.resnets, attentions }
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

fn transformer_options(
    config: &UnetConfig,
    attention: &UnetAttention,
    layers: usize,
    channels: usize,
) -> TransformerOptions {
    TransformerOptions {
        channels,
        layers,
        heads: attention.heads,
        only_text: attention.only_text,
        cross_attention_dim: config.cross_attention_dim,
        groups: config.norm_num_groups,
        upcast: config.upcast_attention,
    }
}

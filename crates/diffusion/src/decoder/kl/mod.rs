//! The full decoder, the second half of `AutoencoderKL` of diffusers 0.42.1.

mod config;

use std::sync::Arc;

use burn_tensor::Tensor;

pub use config::AutoencoderKlConfig;

use super::tiling::Seams;
use super::{Decoder, DecoderConfig, DecoderInfo, Scaling, TileInfo};
use crate::layers::{ResnetBlock, ResnetOptions};
use noisefind_nn::device::Placement;
use noisefind_nn::ops::{Activation, Attention, Conv2d, ConvOptions, GroupNorm, Linear, attention_fused};
use noisefind_nn::weights::{Scope, Weights};

/// Under the square root of all group norms of the decoder.
const EPSILON: f32 = 1e-6;

/// The decoder.
#[derive(Clone, Debug)]
struct KlDecoder {
    post_quant_conv: Option<Linear>,
    conv_in: Conv2d,
    mid_resnets: [ResnetBlock; 2],
    mid_attention: Option<MidAttention>,
    up_blocks: Vec<UpDecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl DecoderConfig for AutoencoderKlConfig {
    fn info(&self) -> DecoderInfo {
        DecoderInfo {
            latent_channels: self.latent_channels,
            pixels_per_latent: 1 << (self.block_out_channels.len() - 1),
            scaling: Scaling { factor: self.scaling_factor, statistics: self.latent_statistics.clone() },
            overflows_in_half: self.force_upcast,
            tile: TileInfo { sample_size: Some(self.sample_size), overlaps: 4, seams: Seams::Faded },
            widest: self.block_out_channels.iter().take(2).sum(),
        }
    }

    fn load(&self, weights: &mut Weights) -> Arc<dyn Decoder> {
        weights.rename(current_name);
        Arc::new(KlDecoder::load(&weights.root(), self))
    }
}

/// The name that diffusers gives today to a tensor of an older file.
fn current_name(name: &str) -> String {
    let Some((before, after)) = name.split_once("mid_block.attentions.0.") else {
        return name.to_owned();
    };
    let (layer, kind) = after.rsplit_once('.').unwrap_or((after, ""));
    let layer = match layer {
        "query" => "to_q",
        "key" => "to_k",
        "value" => "to_v",
        "proj_attn" => "to_out.0",
        current => current,
    };
    format!("{before}mid_block.attentions.0.{layer}.{kind}")
}

impl KlDecoder {
    fn load(scope: &Scope<'_>, config: &AutoencoderKlConfig) -> Self {
        let decoder = scope.at("decoder");
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (innermost, outermost) = (widths[0], widths[widths.len() - 1]);
        let groups = config.norm_num_groups;
        let latents = config.latent_channels;
        let mid = decoder.at("mid_block");
        let options = resnet_options(groups, innermost, innermost);
        Self {
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| Linear::load(&scope.at("post_quant_conv"), latents, latents)),
            conv_in: Conv2d::load(&decoder.at("conv_in"), latents, innermost, ConvOptions::Same),
            mid_resnets: [0, 1].map(|at| ResnetBlock::load(&mid.at("resnets").at(at), &options)),
            mid_attention: config
                .mid_block_add_attention
                .then(|| MidAttention::load(&mid.at("attentions.0"), innermost, groups)),
            up_blocks: (0..widths.len())
                .map(|level| UpDecoderBlock::load(&decoder.at("up_blocks").at(level), config, &widths, level))
                .collect(),
            conv_norm_out: GroupNorm::load(&decoder.at("conv_norm_out"), outermost, groups, EPSILON),
            conv_out: Conv2d::load(&decoder.at("conv_out"), outermost, 3, ConvOptions::Same),
        }
    }
}

impl Decoder for KlDecoder {
    fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = match &self.post_quant_conv {
            Some(projection) => projection.forward(latents),
            None => latents,
        };
        let mut x = self.mid_resnets[0].forward(self.conv_in.forward(x), None);
        if let Some(attention) = &self.mid_attention {
            x = attention.forward(x);
        }
        x = self.mid_resnets[1].forward(x, None);
        for block in &self.up_blocks {
            x = block.forward(x);
        }
        self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu))
    }
}

fn resnet_options(groups: usize, input: usize, output: usize) -> ResnetOptions {
    ResnetOptions { input, output, time_embed_dim: None, groups, epsilon: EPSILON }
}

/// One level on the way up.
#[derive(Clone, Debug)]
struct UpDecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl UpDecoderBlock {
    fn load(scope: &Scope<'_>, config: &AutoencoderKlConfig, widths: &[usize], level: usize) -> Self {
        let output = widths[level];
        let resnets = (0..=config.layers_per_block).map(|layer| {
            let input = if layer == 0 { widths[level.saturating_sub(1)] } else { output };
            let options = resnet_options(config.norm_num_groups, input, output);
            ResnetBlock::load(&scope.at("resnets").at(layer), &options)
        });
        Self {
            resnets: resnets.collect(),
            upsampler: (level + 1 < widths.len())
                .then(|| Conv2d::load(&scope.at("upsamplers.0.conv"), output, output, ConvOptions::Doubling)),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for resnet in &self.resnets {
            x = resnet.forward(x, None);
        }
        match &self.upsampler {
            Some(upsampler) => upsampler.forward(x),
            None => x,
        }
    }
}

/// Self-attention of all pixels with a single head.
#[derive(Clone, Debug)]
struct MidAttention {
    group_norm: GroupNorm,
    qkv: Linear,
    to_out: Linear,
    placement: Placement,
}

impl MidAttention {
    fn load(scope: &Scope<'_>, channels: usize, groups: usize) -> Self {
        Self {
            group_norm: GroupNorm::load(&scope.at("group_norm"), channels, groups, EPSILON),
            qkv: Linear::load_joined(scope, &["to_q", "to_k", "to_v"], channels, channels),
            to_out: Linear::load(&scope.at("to_out.0"), channels, channels),
            placement: scope.placement().clone(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let pixels = [batch, height * width, channels];
        let qkv = self.qkv.forward(self.group_norm.forward(x.clone(), Activation::None).reshape(pixels));
        let options = Attention { heads: 1, causal: false, upcast: true };
        let attended = attention_fused(qkv, options, &self.placement);
        let x = self.to_out.forward_with(attended, Some(x.reshape(pixels)), Activation::None);
        x.reshape([batch, height, width, channels])
    }
}

//! The small distilled decoder, the second half of `AutoencoderTiny` of diffusers 0.42.1 (TAESD).
//!
//! Original: <https://github.com/madebyollin/taesd>.

mod config;

use std::sync::Arc;

use burn_tensor::{Tensor, activation};

pub use config::AutoencoderTinyConfig;

use super::tiling::Seams;
use super::{Decoder, DecoderConfig, DecoderInfo, Scaling, TileInfo};
use noisefind_nn::ops::{Activation, Conv2d, ConvOptions};
use noisefind_nn::weights::{Scope, Weights};

/// The decoder: convolutions and residual blocks under the numbers that they have in PyTorch's list of layers.
#[derive(Clone, Debug)]
struct TinyDecoder {
    conv_in: Conv2d,
    levels: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Level {
    blocks: Vec<Block>,
    /// Doubles the image on all levels but the last, which ends in colours.
    conv: Conv2d,
}

/// `relu(conv4(relu(conv2(relu(conv0(x))))) + x)`
#[derive(Clone, Debug)]
struct Block {
    convs: [Conv2d; 3],
}

impl DecoderConfig for AutoencoderTinyConfig {
    fn info(&self) -> DecoderInfo {
        DecoderInfo {
            latent_channels: self.latent_channels,
            pixels_per_latent: 1 << (self.decoder_block_out_channels.len() - 1),
            scaling: Scaling { factor: self.scaling_factor, statistics: None },
            overflows_in_half: self.force_upcast,
            tile: TileInfo { sample_size: None, overlaps: 8, seams: Seams::Laid },
            widest: 2 * self.decoder_block_out_channels[0],
        }
    }

    fn load(&self, weights: &mut Weights) -> Arc<dyn Decoder> {
        Arc::new(TinyDecoder::load(&weights.root(), self))
    }
}

impl TinyDecoder {
    fn load(scope: &Scope<'_>, config: &AutoencoderTinyConfig) -> Self {
        let layers = scope.at("decoder.layers");
        let width = config.decoder_block_out_channels[0];
        let conv_in = Conv2d::load(&layers.at(0), config.latent_channels, width, ConvOptions::Same);
        // Layer 1 is the ReLU after the first convolution.
        let mut at = 2;
        let last = config.num_decoder_blocks.len() - 1;
        let mut levels = Vec::new();
        for (level, &count) in config.num_decoder_blocks.iter().enumerate() {
            let blocks = (at..at + count).map(|at| Block::load(&layers.at(at).at("conv"), width)).collect();
            at += count;
            let conv = if level == last {
                Conv2d::load(&layers.at(at), width, 3, ConvOptions::Same)
            } else {
                // The enlargement has a number of its own, and no weights.
                at += 1;
                Conv2d::load_without_bias(&layers.at(at), width, width, ConvOptions::Doubling)
            };
            at += 1;
            levels.push(Level { blocks, conv });
        }
        Self { conv_in, levels }
    }
}

impl Decoder for TinyDecoder {
    fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        /// Latents beyond this magnitude are outliers of the sampler.
        const MAGNITUDE: f32 = 3.0;
        let x = activation::tanh(latents / MAGNITUDE) * MAGNITUDE;
        let mut x = self.conv_in.forward_with(x, None, None, Activation::Relu);
        for level in &self.levels {
            for block in &level.blocks {
                x = block.forward(x);
            }
            x = level.conv.forward(x);
        }
        x * 2.0 - 1.0
    }
}

impl Block {
    fn load(scope: &Scope<'_>, width: usize) -> Self {
        Self { convs: [0, 2, 4].map(|at| Conv2d::load(&scope.at(at), width, width, ConvOptions::Same)) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second, third] = &self.convs;
        let h = first.forward_with(x.clone(), None, None, Activation::Relu);
        let h = second.forward_with(h, None, None, Activation::Relu);
        third.forward_with(h, None, Some(x), Activation::Relu)
    }
}

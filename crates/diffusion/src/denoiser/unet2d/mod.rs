//! The conditional U-Net of still images, driven by `unet/config.json`.
//!
//! Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022; structure and tensor
//! names of `UNet2DConditionModel`, diffusers 0.42.1. Text projections and time embeddings do not depend on the
//! sample, so they are computed once and passed in.

mod blocks;
mod config;
mod embedding;
mod motion;
mod motion_adapter;
mod temporal;
mod transformer;
mod video_config;

use std::sync::Arc;

use burn_tensor::Tensor;

pub use config::{MidBlockConfig, MotionConfig, TemporalConfig, UnetAttention, UnetBlock, UnetConfig};
pub use motion::MotionUnetConfig;
pub use motion_adapter::MotionAdapter;
pub(crate) use motion_adapter::PART as MOTION_ADAPTER;

use super::{AddedConditioning, Conditioned, Denoiser, DenoiserConfig, DenoiserInfo, FOLDER};
use crate::layers::TemporalTransformer;
use blocks::{DownBlock, MidBlock, UpBlock};
use embedding::TimeEmbedding;
use noisefind_nn::device::Placement;
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::{self, Adapters};
use noisefind_nn::ops::{Activation, Conv2d, ConvOptions, GroupNorm};
use noisefind_nn::weights::{Scope, Weights};

/// The denoiser.
#[derive(Clone, Debug)]
pub struct Unet {
    config: UnetConfig,
    conv_in: Conv2d,
    transformer_in: Option<TemporalTransformer>,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    placement: Placement,
}

/// Keys and values of the text for each cross-attention, in the order in which they are met: `[groups, tokens, 2 c]`.
#[derive(Clone, Debug)]
pub struct TextContext(Vec<Tensor<3>>);

/// What the time adds inside each residual block, in the order in which they are met: `[groups, channels]`.
#[derive(Clone, Debug)]
pub struct StepConditioning(Vec<Tensor<2>>);

/// Hands out the conditioning block by block, in the order of the forward pass.
struct Conditioning<'a> {
    times: std::slice::Iter<'a, Tensor<2>>,
    texts: std::slice::Iter<'a, Tensor<3>>,
    /// Frames of each clip; the batch holds one after the other.
    frames: usize,
    placement: &'a Placement,
}

impl Conditioning<'_> {
    fn time(&mut self) -> Tensor<2> {
        self.times.next().expect("there is a time embedding for each residual block").clone()
    }

    fn text(&mut self) -> Tensor<3> {
        self.texts.next().expect("there is a text projection for each cross-attention").clone()
    }
}

impl Unet {
    /// Opens the part `unet`.
    ///
    /// # Errors
    /// Where config or weights are absent, damaged or do not fit each other.
    pub fn open(model: &ModelFiles, placement: &Placement) -> Result<Self> {
        Self::open_adapted(model, placement, &Adapters::default())
    }

    /// As [`Self::open`], with adapters merged into the weights.
    ///
    /// # Errors
    /// As [`Self::open`], and where an adapter does not fit.
    pub fn open_adapted(model: &ModelFiles, placement: &Placement, adapters: &Adapters) -> Result<Self> {
        Self::open_config(UnetConfig::read(model)?, model, placement, adapters)
    }

    fn open_config(
        config: UnetConfig,
        model: &ModelFiles,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Self> {
        let weights = Weights::open(model, FOLDER, "diffusion_pytorch_model", placement)?;
        Self::of_weights(config, weights, adapters)
    }

    fn of_weights(config: UnetConfig, mut weights: Weights, adapters: &Adapters) -> Result<Self> {
        let spellings = |module: &str| lora::unet_spellings(module, config.down_blocks[0].resnets);
        weights.change(adapters.changes(FOLDER, &weights, spellings)?);
        let unet = Self::load(&weights.root(), config);
        weights.finish(&[])?;
        Ok(unet)
    }

    fn load(scope: &Scope<'_>, config: UnetConfig) -> Self {
        let widths = &config.block_out_channels;
        let (outermost, innermost) = (widths[0], widths[widths.len() - 1]);
        let down = (0..widths.len())
            .map(|level| DownBlock::load(&scope.at("down_blocks").at(level), &config, level));
        let up =
            (0..widths.len()).map(|level| UpBlock::load(&scope.at("up_blocks").at(level), &config, level));
        Self {
            conv_in: Conv2d::load(&scope.at("conv_in"), config.in_channels, outermost, ConvOptions::Same),
            transformer_in: temporal::load_input(scope, &config),
            time_embedding: TimeEmbedding::load(scope, &config),
            down_blocks: down.collect(),
            mid_block: MidBlock::load(&scope.at("mid_block"), &config, innermost),
            up_blocks: up.collect(),
            conv_norm_out: GroupNorm::load(
                &scope.at("conv_norm_out"),
                outermost,
                config.norm_num_groups,
                config.norm_eps,
            ),
            conv_out: Conv2d::load(&scope.at("conv_out"), outermost, config.out_channels, ConvOptions::Same),
            placement: scope.placement().clone(),
            config,
        }
    }

    /// The denoiser's sizes.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Projects hidden states of the text `[groups, tokens, cross_attention_dim]` for every cross-attention.
    ///
    /// In [`Unet::forward`] the batch falls into `groups` equal parts in order, each with its own text.
    pub fn embed_text(&self, hidden_states: &Tensor<3>) -> TextContext {
        let transformers = self.down_blocks.iter().flat_map(DownBlock::transformers);
        let transformers = transformers.chain(self.mid_block.transformers());
        let transformers = transformers.chain(self.up_blocks.iter().flat_map(UpBlock::transformers));
        TextContext(transformers.flat_map(|transformer| transformer.project_text(hidden_states)).collect())
    }

    /// Embeds each of `timesteps`, together with `added` and the guidance scale where the model is conditioned on them.
    pub fn embed_times(
        &self,
        timesteps: &[f32],
        added: Option<&AddedConditioning>,
        guidance_scale: Option<f32>,
    ) -> Vec<StepConditioning> {
        let resnets = self.down_blocks.iter().flat_map(DownBlock::resnets);
        let resnets = resnets.chain(self.mid_block.resnets());
        let resnets: Vec<_> = resnets.chain(self.up_blocks.iter().flat_map(UpBlock::resnets)).collect();
        let embed = |&timestep: &f32| {
            let embedding = self.time_embedding.forward(timestep, added, guidance_scale);
            StepConditioning(resnets.iter().map(|resnet| resnet.project_time(embedding.clone())).collect())
        };
        timesteps.iter().map(embed).collect()
    }

    /// Denoises `[batch, height, width, in_channels]` to `[batch, height, width, out_channels]`.
    ///
    /// Any height and width will do; the batch must be a multiple of the groups of `step` and `text`.
    pub fn forward(&self, x: Tensor<4>, step: &StepConditioning, text: &TextContext) -> Tensor<4> {
        self.forward_clips(x, 1, step, text)
    }

    /// As [`Self::forward`], where each `frames` samples in a row are one clip, whose frames see each other.
    pub fn forward_clips(
        &self,
        x: Tensor<4>,
        frames: usize,
        step: &StepConditioning,
        text: &TextContext,
    ) -> Tensor<4> {
        let mut conditioning =
            Conditioning { times: step.0.iter(), texts: text.0.iter(), frames, placement: &self.placement };
        let x = if self.config.center_input_sample { x * 2.0 - 1.0 } else { x };
        let mut x = self.conv_in.forward(x);
        if let Some(transformer) = &self.transformer_in {
            x = transformer.forward(x, frames);
        }
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, &mut conditioning, &mut skips);
        }
        x = self.mid_block.forward(x, &mut conditioning);
        for block in &self.up_blocks {
            x = block.forward(x, &mut conditioning, &mut skips);
        }
        self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu))
    }
}

impl DenoiserConfig for UnetConfig {
    fn info(&self) -> DenoiserInfo {
        DenoiserInfo {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            sample_size: self.sample_size,
            frames: self.temporal.as_ref().map(|_| DEFAULT_FRAMES),
            max_frames: self.temporal.as_ref().and_then(TemporalConfig::max_frames),
            text_width: self.cross_attention_dim,
            text_time: self.text_time,
            takes_guidance_scale: self.time_cond_proj_dim.is_some(),
            activations: activations(self),
        }
    }

    fn open(
        &self,
        model: &ModelFiles,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Arc<dyn Denoiser>> {
        Ok(Arc::new(Unet::open_config(self.clone(), model, placement, adapters)?))
    }

    fn with_motion(&self, adapter: &MotionAdapter) -> Result<Box<dyn DenoiserConfig>> {
        Ok(Box::new(MotionUnetConfig::new(self, adapter)?))
    }
}

/// Frames of a clip where nobody says otherwise, as in diffusers' pipelines.
const DEFAULT_FRAMES: usize = 16;

/// Numbers between the layers of the denoiser for both halves of guidance: all skips, and at the outermost level what a
/// transformer holds at once.
fn activations(unet: &UnetConfig) -> usize {
    /// Stream, residual, joined projections or half of the expansion, and result.
    const HELD: usize = 8;
    const HALVES: usize = 2;
    let [height, width] = unet.sample_size.unwrap_or([64, 64]);
    let level = |(level, channels): (usize, &usize)| (height >> level) * (width >> level) * channels;
    let skips =
        |(at, (channels, block)): (usize, (&usize, &UnetBlock))| (block.resnets + 1) * level((at, channels));
    let levels = unet.block_out_channels.iter().zip(&unet.down_blocks).enumerate();
    let frames = if unet.temporal.is_some() { DEFAULT_FRAMES } else { 1 };
    HALVES * frames * (levels.map(skips).sum::<usize>() + HELD * level((0, &unet.block_out_channels[0])))
}

impl Denoiser for Unet {
    fn condition(
        self: Arc<Self>,
        conditioning: &super::Conditioning,
        timesteps: &[f32],
    ) -> Arc<dyn Conditioned> {
        Arc::new(ConditionedUnet {
            text: self.embed_text(&conditioning.text),
            steps: self.embed_times(timesteps, conditioning.added.as_ref(), conditioning.guidance_scale),
            unet: self,
        })
    }
}

/// The denoiser with its text and timesteps.
#[derive(Debug)]
struct ConditionedUnet {
    unet: Arc<Unet>,
    text: TextContext,
    steps: Vec<StepConditioning>,
}

impl Conditioned for ConditionedUnet {
    fn predict(&self, latents: Tensor<5>, at: usize) -> Tensor<5> {
        let [batch, frames, height, width, channels] = latents.dims();
        let samples = latents.reshape([batch * frames, height, width, channels]);
        let output = self.unet.forward_clips(samples, frames, &self.steps[at], &self.text);
        let channels = output.dims()[3];
        output.reshape([batch, frames, height, width, channels])
    }
}

//! What a user chooses: where a model runs, and how it generates.

use crate::decoder::Decoding;
use crate::scheduler::SchedulerChoice;
use crate::text::TextLength;
use noisefind_nn::device::{DeviceChoice, DtypeChoice};
use noisefind_nn::error::{Error, Result};
use noisefind_nn::lora::LoraSource;
use noisefind_nn::textual_inversion::EmbeddingSource;

/// Where a model runs, and what is changed about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// The device.
    pub device: DeviceChoice,
    /// The number format of weights and activations.
    pub dtype: DtypeChoice,
    /// Adapters to merge into the weights.
    pub loras: Vec<LoraSource>,
    /// New tokens for prompts.
    pub embeddings: Vec<EmbeddingSource>,
    /// Another decoder: a folder with `config.json` and weights, an id on the hub, or a file of weights.
    pub vae: Option<String>,
    /// Motion modules that make a video model of a model of still images: a folder with `config.json` and weights, or an
    /// id on the hub.
    pub motion_adapter: Option<String>,
    /// Whether the decoder sees a large image as a whole or in tiles.
    pub decoding: Decoding,
}

/// How a model generates; the defaults are those of diffusers.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOptions {
    /// Denoising steps.
    pub num_inference_steps: usize,
    /// How far the prompt is followed: `output = uncond + guidance_scale (cond - uncond)`; off at 1 and below.
    pub guidance_scale: f32,
    /// Share of fresh noise in DDIM's steps, 0 to 1.
    pub eta: f32,
    /// What the image should not show. `None` stands for the empty text, or for zeros where the pipeline takes zeros; an
    /// empty text that is given is encoded.
    pub negative_prompt: Option<String>,
    /// What becomes of prompts that are longer than the text encoders read.
    pub text_length: TextLength,
    /// Last layers of the text encoders that the prompt skips.
    pub clip_skip: usize,
    /// The scheduler, where not the model's own.
    pub scheduler: Option<SchedulerChoice>,
    /// Rows of the image in pixels, where not native.
    pub height: Option<usize>,
    /// Columns of the image in pixels, where not native.
    pub width: Option<usize>,
    /// Frames of a clip, where not native; models of still images take 1 only.
    pub num_frames: Option<usize>,
    /// Frames a second at which a clip is shown; 8 where nobody says.
    pub fps: Option<f64>,
    /// Images computed together: changes memory and speed, and nothing else.
    pub batch_size: usize,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            num_inference_steps: 50,
            guidance_scale: 7.5,
            eta: 0.0,
            negative_prompt: None,
            text_length: TextLength::default(),
            clip_skip: 0,
            scheduler: None,
            height: None,
            width: None,
            num_frames: None,
            fps: None,
            batch_size: 8,
        }
    }
}

impl GenerationOptions {
    /// Checks the ranges that do not depend on the model.
    ///
    /// # Errors
    /// The option that is out of range.
    pub fn check(&self) -> Result<()> {
        let scale = self.guidance_scale;
        if !(scale.is_finite() && scale >= 0.0) {
            let expected = "a number from 0 on; 1 and below switch guidance off".into();
            return Err(Error::Option { option: "guidance-scale", found: scale.to_string(), expected });
        }
        if self.batch_size == 0 {
            return Err(Error::Option {
                option: "batch-size",
                found: "0".into(),
                expected: "at least 1".into(),
            });
        }
        Ok(())
    }
}

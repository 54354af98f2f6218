//! From a prompt to everything that the denoiser needs of it, computed once.

use std::sync::Arc;

use burn_tensor::Tensor;
use noisefind_core::noise::NoiseShape;

use super::{DiffusionModel, GenerationOptions};
use crate::denoiser::{AddedConditioning, Conditioned, Conditioning};
use crate::scheduler::Schedule;
use noisefind_nn::error::Result;
use noisefind_nn::ops::read_back;
use noisefind_nn::text::Tokenizer;

/// A prompt together with a schedule, ready to generate any number of images.
#[derive(Clone, Debug)]
pub struct PreparedPrompt {
    pub(super) schedule: Schedule,
    pub(super) denoiser: Arc<dyn Conditioned>,
    pub(super) noise_shape: NoiseShape,
    /// The factor of classifier-free guidance, where it is on.
    pub(super) guidance_scale: Option<f32>,
    pub(super) batch_size: usize,
    truncated: Vec<String>,
    embedding: Vec<f32>,
}

impl PreparedPrompt {
    /// The ends of prompt and negative prompt that did not fit into the text encoder.
    pub fn truncated(&self) -> &[String] {
        &self.truncated
    }

    /// The pooled text embedding of the prompt, a fixed number of values for each model.
    pub fn embedding(&self) -> &[f32] {
        &self.embedding
    }

    /// Shape of the noise that it takes.
    pub fn noise_shape(&self) -> NoiseShape {
        self.noise_shape
    }

    /// The steps from noise to image.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

impl DiffusionModel {
    /// The tokenizer that says what the model reads of a prompt.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.text.tokenizer()
    }

    /// Encodes a prompt and lays out the schedule.
    ///
    /// # Errors
    /// Where an option is out of range.
    pub fn prepare(&self, prompt: &str, options: &GenerationOptions) -> Result<PreparedPrompt> {
        options.check()?;
        let schedule = Schedule::new(&self.scheduler(options)?, options.num_inference_steps, options.eta)?;
        let noise_shape = self.noise_shape_for(options)?;
        // Distilled models take the scale as an input instead of a second half of the batch.
        let takes_scale = self.denoiser_info.takes_guidance_scale;
        let guided = options.guidance_scale > 1.0 && !takes_scale;
        let mut truncated = Vec::new();
        let negative = options.negative_prompt.as_deref();
        let texts = if guided { vec![negative.unwrap_or_default(), prompt] } else { vec![prompt] };
        self.text.check_skip(options.clip_skip)?;
        let mut encoded = self.text.encode(&texts, options.clip_skip, options.text_length, &mut truncated)?;
        let [groups, _, _] = encoded.hidden_states.dims();
        let last = encoded.pooled.clone().narrow(0, groups - 1, 1);
        let embedding = read_back(last, "prompt embedding")?;
        if guided && negative.is_none() && self.index.force_zeros_for_empty_prompt {
            let states = encoded.hidden_states.narrow(0, 1, 1);
            encoded.hidden_states = Tensor::cat(vec![states.zeros_like(), states], 0);
            let pooled = encoded.pooled.narrow(0, 1, 1);
            encoded.pooled = Tensor::cat(vec![pooled.zeros_like(), pooled], 0);
        }
        let pixels = self.vae.info().pixels_per_latent;
        let [height, width] = [noise_shape.height, noise_shape.width].map(|size| (size * pixels) as f32);
        let added = self.denoiser_info.text_time.map(|_| AddedConditioning {
            text_embeds: encoded.pooled.clone(),
            time_ids: [height, width, 0.0, 0.0, height, width],
        });
        let conditioning = Conditioning {
            text: encoded.hidden_states,
            added,
            guidance_scale: takes_scale.then_some(options.guidance_scale),
        };
        Ok(PreparedPrompt {
            denoiser: Arc::clone(&self.denoiser).condition(&conditioning, &schedule.timesteps()),
            schedule,
            noise_shape,
            guidance_scale: guided.then_some(options.guidance_scale),
            batch_size: options.batch_size,
            truncated,
            embedding,
        })
    }
}

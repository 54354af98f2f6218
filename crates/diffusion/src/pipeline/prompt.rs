//! From a prompt to everything that the denoiser needs of it, computed once.

use burn::tensor::Tensor;
use noisefind_core::noise::NoiseShape;

use super::{DiffusionModel, GenerationOptions};
use crate::config::{ModelIndex, UnetConfig};
use crate::scheduler::Schedule;
use crate::unet::{AddedConditioning, StepConditioning, TextContext};
use noisefind_nn::clip::{ClipTextModel, ClipTextOutput};
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::Adapters;
use noisefind_nn::ops::read_back;
use noisefind_nn::text::Tokenizer;

/// A prompt together with a schedule, ready to draw any number of pictures.
#[derive(Clone, Debug)]
pub struct PreparedPrompt {
    pub(super) schedule: Schedule,
    pub(super) text: TextContext,
    pub(super) steps: Vec<StepConditioning>,
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

    /// Shape of the noise that it draws from.
    pub fn noise_shape(&self) -> NoiseShape {
        self.noise_shape
    }

    /// The steps from noise to picture.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

/// One text encoder with its tokenizer.
#[derive(Clone, Debug)]
struct TextEncoder {
    folder: &'static str,
    tokenizer: Tokenizer,
    model: ClipTextModel,
}

impl TextEncoder {
    fn open(
        files: &ModelFiles,
        folder: &'static str,
        tokenizer: &str,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Self> {
        let model = ClipTextModel::open_adapted(files, folder, placement, adapters)?;
        let config = model.config();
        let tokenizer = Tokenizer::open(files, tokenizer, config.max_position_embeddings, config.vocab_size)?;
        Ok(Self { folder, tokenizer, model })
    }
}

/// The text encoders of a pipeline: one, or SDXL's two.
#[derive(Clone, Debug)]
pub(super) struct TextEncoders {
    first: TextEncoder,
    second: Option<TextEncoder>,
}

/// Hidden states `[texts, tokens, channels]` and pooled text `[texts, channels]`.
struct Encoded {
    hidden_states: Tensor<3>,
    pooled: Tensor<2>,
}

impl TextEncoders {
    pub(super) fn open(
        files: &ModelFiles,
        index: &ModelIndex,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Self> {
        let open = |folder, tokenizer| TextEncoder::open(files, folder, tokenizer, placement, adapters);
        let second = index.has("text_encoder_2").then(|| open("text_encoder_2", "tokenizer_2"));
        Ok(Self { first: open("text_encoder", "tokenizer")?, second: second.transpose()? })
    }

    /// The tokenizer that says what the model reads of a prompt.
    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.first.tokenizer
    }

    /// Checks that the text is as wide as the denoiser expects.
    pub(super) fn check_fits(&self, files: &ModelFiles, unet: &UnetConfig) -> Result<()> {
        let width = |encoder: &TextEncoder| encoder.model.config().hidden_size;
        let found = width(&self.first) + self.second.as_ref().map_or(0, width);
        if found != unet.cross_attention_dim {
            return Err(Error::Config {
                file: files.display("unet/config.json"),
                key: "cross_attention_dim",
                found: unet.cross_attention_dim.to_string(),
                expected: format!("{found}, the width of the text encoders"),
            });
        }
        if let Some(sizes) = unet.text_time {
            let pooled = self.second.as_ref().unwrap_or(&self.first);
            let expected = pooled.model.config().projection_dim + 6 * sizes.addition_time_embed_dim;
            let found = sizes.projection_class_embeddings_input_dim;
            if found != expected {
                return Err(Error::Config {
                    file: files.display("unet/config.json"),
                    key: "projection_class_embeddings_input_dim",
                    found: found.to_string(),
                    expected: format!(
                        "{expected}: the projection of {} and six embedded sizes",
                        pooled.folder
                    ),
                });
            }
        }
        Ok(())
    }

    /// Checks that no encoder skips all of its layers.
    fn check_skip(&self, clip_skip: usize) -> Result<()> {
        let layers = |encoder: &TextEncoder| encoder.model.config().num_hidden_layers;
        let (first, second) = (layers(&self.first), self.second.as_ref().map(layers));
        let maximum = second.map_or(first, |second| first.min(second)) - 1;
        if clip_skip <= maximum {
            return Ok(());
        }
        let expected = format!("0 to {maximum}, fewer than the layers of each text encoder");
        Err(Error::Option { option: "clip-skip", found: clip_skip.to_string(), expected })
    }

    /// Encodes `texts`, of which the last is the prompt and skips `clip_skip` layers; the negative prompt skips none, as
    /// in diffusers.
    fn encode(&self, texts: &[&str], clip_skip: usize, truncated: &mut Vec<String>) -> Result<Encoded> {
        let mut run = |encoder: &TextEncoder| -> Result<ClipTextOutput> {
            let mut ids = Vec::new();
            for text in texts {
                let tokens = encoder.tokenizer.encode(text)?;
                if !tokens.truncated.is_empty() && !truncated.contains(&tokens.truncated) {
                    truncated.push(tokens.truncated);
                }
                ids.push(tokens.ids);
            }
            Ok(encoder.model.forward(&ids))
        };
        let skipping = |state: &dyn Fn(usize) -> Tensor<3>| match texts.len() - 1 {
            0 => state(clip_skip),
            prompt => {
                let rows = vec![state(0).narrow(0, 0, prompt), state(clip_skip).narrow(0, prompt, 1)];
                Tensor::cat(rows, 0)
            }
        };
        let first = run(&self.first)?;
        let Some(second_encoder) = &self.second else {
            let state = |skipped| self.first.model.hidden_state_without(&first, skipped);
            return Ok(Encoded { hidden_states: skipping(&state), pooled: first.pooled });
        };
        let second = run(second_encoder)?;
        // Two encoders were trained with the states before their last layers, without a norm.
        let state = |skipped: usize| {
            let before = |states: &[Tensor<3>]| states[states.len() - 2 - skipped].clone();
            Tensor::cat(vec![before(&first.hidden_states), before(&second.hidden_states)], 2)
        };
        Ok(Encoded { hidden_states: skipping(&state), pooled: second.text_embeds.unwrap_or(second.pooled) })
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
        let unet = self.unet.config();
        // Distilled models take the scale as an input instead of a second half of the batch.
        let takes_scale = unet.time_cond_proj_dim.is_some();
        let guided = options.guidance_scale > 1.0 && !takes_scale;
        let mut truncated = Vec::new();
        let texts = if guided { vec![options.negative_prompt.as_str(), prompt] } else { vec![prompt] };
        self.text.check_skip(options.clip_skip)?;
        let mut encoded = self.text.encode(&texts, options.clip_skip, &mut truncated)?;
        let [groups, _, _] = encoded.hidden_states.dims();
        let last = encoded.pooled.clone().narrow(0, groups - 1, 1);
        let embedding = read_back(last, "prompt embedding")?;
        if guided && options.negative_prompt.is_empty() && self.index.force_zeros_for_empty_prompt {
            let states = encoded.hidden_states.narrow(0, 1, 1);
            encoded.hidden_states = Tensor::cat(vec![states.zeros_like(), states], 0);
            let pooled = encoded.pooled.narrow(0, 1, 1);
            encoded.pooled = Tensor::cat(vec![pooled.zeros_like(), pooled], 0);
        }
        let pixels = self.vae.config().pixels_per_latent();
        let [height, width] = [noise_shape.height, noise_shape.width].map(|size| (size * pixels) as f32);
        let added = unet.text_time.map(|_| AddedConditioning {
            text_embeds: encoded.pooled.clone(),
            time_ids: [height, width, 0.0, 0.0, height, width],
        });
        let scale = takes_scale.then_some(options.guidance_scale);
        Ok(PreparedPrompt {
            text: self.unet.embed_text(&encoded.hidden_states),
            steps: self.unet.embed_times(&schedule.timesteps(), added.as_ref(), scale),
            schedule,
            noise_shape,
            guidance_scale: guided.then_some(options.guidance_scale),
            batch_size: options.batch_size,
            truncated,
            embedding,
        })
    }
}

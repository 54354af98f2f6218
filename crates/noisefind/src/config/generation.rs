//! How a model generates: the settings that flags, config files, policies and external generators share.
//!
//! A new setting is declared here and used where the model is opened; nothing else has to know it.

use noisefind_core::rng::NoiseSource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::DEFAULT_MODEL;
use super::declare::settings;
use super::range::{require, within};
use crate::error::Result;

settings! {
    /// Which model, and where and how it runs. Of these settings only the model and `dtype` change images.
    #[derive(Deserialize)]
    pub struct LoadingConfig in "Model" {
        /// Model: a folder in the diffusers layout, a checkpoint that is one file (.safetensors or .ckpt), an id on the Hugging
        /// Face hub, exec:COMMAND for an external process, or one of the built-in models: emoji-64-turbo (4 steps),
        /// emoji-64, from which it was distilled (20 steps with guidance), and emoji-64-video (clips of 8 frames) [default: emoji-64-turbo]
        #[arg(long, value_name = "DIR|FILE|HUB_ID|exec:COMMAND|NAME")]
        model: String,
        /// Device: auto, cpu, or a GPU backend that this program was built with [default: auto]
        #[arg(long)]
        device: String,
        /// Number format of weights and activations: auto, f32, bf16, f16, or int8, which keeps the weights of the denoiser
        /// in 8 bits on the CPU and the rest as auto does [default: auto]
        #[arg(long)]
        dtype: String,
        /// Images computed together. Changes memory and speed, not results [default: 8 for small models, else 1]
        #[arg(long, value_name = "N")]
        generation_batch: usize,
        /// Seconds until an exec: process has to be ready [default: 600]
        #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
        start_timeout_seconds: f64,
        /// Seconds until an exec: process has to answer a request [default: 300]
        #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
        request_timeout_seconds: f64,
    }
}

settings! {
    /// How a model generates an image or a clip from a noise.
    #[derive(Deserialize)]
    pub struct GenerationConfig in "Generation": loading as LoadingConfig {
        /// Denoising steps per image [default: the model's own, else 50]
        #[arg(long, value_name = "N")]
        num_inference_steps: usize,
        /// Classifier-free guidance scale. At 1 and below there is no guidance: each step runs the denoiser once, with the
        /// prompt, and all such values give the same image. Models that take the scale as an input (LCM) use any value
        /// [default: the model's own, else 7.5]
        #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
        guidance_scale: f64,
        /// Noise that the ddim scheduler adds at each step, 0 to 1 [default: 0]
        #[arg(long, value_name = "ETA", allow_negative_numbers = true)]
        eta: f64,
        /// What the image should not show [default: nothing]
        #[arg(long, value_name = "TEXT")]
        negative_prompt: String,
        /// For a model that is one file: the folder or hub id whose configs and tokenizers it takes [default: those of Stable
        /// Diffusion 1.5, 2.1 or XL, by the shapes in the file]
        #[arg(long, value_name = "DIR|HUB_ID")]
        config_from: String,
        /// Adapter to merge into the model (LoRA, LoHa, LoKr, DoRA or full differences): a file with the names of kohya,
        /// LyCORIS, PEFT or diffusers, or a folder or hub id that has one; repeatable
        #[arg(long, value_name = "FILE[=WEIGHT]")]
        lora: Vec<String>,
        /// Textual-inversion file (.safetensors or .pt) whose token prompts may use, by the name in the file or by TOKEN;
        /// repeatable
        #[arg(long, value_name = "FILE[=TOKEN]")]
        embedding: Vec<String>,
        /// Read prompts beyond the length of the text encoders in chunks of that length, instead of cutting off their ends
        /// [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        long_prompt: bool,
        /// Decoder that replaces the model's own: a folder or a hub id, for example of TAESD, or one file, which takes the
        /// config of the model's own [default: the model's own]
        #[arg(long, value_name = "DIR|FILE|HUB_ID")]
        vae: String,
        /// Decode large images in overlapping tiles, as diffusers does: less memory, slightly different pixels
        /// [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        vae_tiling: bool,
        /// Last layers of the text encoders to skip, counted as in diffusers [default: 0]
        #[arg(long, value_name = "N")]
        clip_skip: usize,
        /// Scheduler, with parameters of its class in diffusers that replace the model's [default: the model's own]
        #[arg(long, value_name = "NAME[,PARAMETER=VALUE]", help = scheduler_help())]
        scheduler: String,
        /// Image height in pixels [default: the model's own]
        #[arg(long, value_name = "PIXELS")]
        height: usize,
        /// Image width in pixels [default: the model's own]
        #[arg(long, value_name = "PIXELS")]
        width: usize,
        /// Frames per clip, for models that generate clips [default: the model's own, else 16]
        #[arg(long, value_name = "N")]
        num_frames: usize,
        /// Frames per second at which a clip is saved [default: 8]
        #[arg(long, value_name = "FPS", allow_negative_numbers = true)]
        fps: f64,
        /// AnimateDiff motion adapter, which makes a video model of a Stable Diffusion 1 model: a folder or a hub id
        #[arg(long, value_name = "DIR|HUB_ID")]
        motion_adapter: String,
        /// Frames of a clip, evenly spread, that scorers of images score [default: all]
        #[arg(long, value_name = "N")]
        reward_frames: usize,
        /// Random generator of the initial noise and of the noise of stochastic steps [default: philox]
        #[arg(long, value_enum)]
        noise_rng: NoiseRng,
    }
}

/// Random generator of the noise of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum NoiseRng {
    /// Counter-based; the same on every machine
    #[default]
    Philox,
    /// One torch.Generator per sample, with consecutive seeds: a list of generators in diffusers
    Torch,
    /// One torch.Generator for all samples: num_images_per_prompt in diffusers; only for `noisefind sample`
    TorchBatch,
}

impl NoiseRng {
    /// The generator of a batch of `size` samples.
    pub fn source(self, size: u32) -> NoiseSource {
        match self {
            Self::Philox => NoiseSource::Philox,
            Self::Torch => NoiseSource::Torch,
            Self::TorchBatch => NoiseSource::TorchBatch { size },
        }
    }
}

impl LoadingConfig {
    /// The model that the user means.
    pub fn model_name(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    fn resolve(self) -> Result<Self> {
        let resolved = self.or(Self {
            model: Some(DEFAULT_MODEL.to_owned()),
            device: Some("auto".to_owned()),
            dtype: Some("auto".to_owned()),
            // The shape of the model's noise decides, which is known later.
            generation_batch: None,
            start_timeout_seconds: Some(600.0),
            request_timeout_seconds: Some(300.0),
        });
        within("generation-batch", resolved.generation_batch, 1..=4096)?;
        for (flag, found) in [
            ("start-timeout-seconds", resolved.start_timeout_seconds),
            ("request-timeout-seconds", resolved.request_timeout_seconds),
        ] {
            let found = found.unwrap_or_default();
            require(found > 0.0 && found <= 1e6, flag, &found, "more than 0 and at most 1000000")?;
        }
        Ok(resolved)
    }
}

impl GenerationConfig {
    /// These settings with the model's `recommended` values and the defaults where they are silent. What is `None`
    /// afterwards is left to the model.
    ///
    /// # Errors
    /// Where a value is outside its range.
    pub fn resolve(self, recommended: GenerationConfig) -> Result<Self> {
        let resolved = self.or(recommended).or(Self {
            num_inference_steps: Some(50),
            guidance_scale: Some(7.5),
            eta: Some(0.0),
            clip_skip: Some(0),
            noise_rng: Some(NoiseRng::default()),
            ..Self::default()
        });
        let resolved = Self { loading: resolved.loading.clone().resolve()?, ..resolved };
        let guidance = resolved.guidance_scale.unwrap_or_default();
        require(guidance.is_finite() && guidance >= 0.0, "guidance-scale", &guidance, "0 or more")?;
        within("eta", resolved.eta, 0.0..=1.0)?;
        within("num-inference-steps", resolved.num_inference_steps, 1..=1000)?;
        within("clip-skip", resolved.clip_skip, 0..=100)?;
        within("height", resolved.height, 8..=16384)?;
        within("width", resolved.width, 8..=16384)?;
        within("num-frames", resolved.num_frames, 1..=1024)?;
        within("reward-frames", resolved.reward_frames, 1..=1024)?;
        within("fps", resolved.fps, 0.1..=240.0)?;
        Ok(resolved)
    }

    /// The model called `name` with its own settings.
    pub fn of_model(name: &str) -> Self {
        let loading = LoadingConfig { model: Some(name.to_owned()), ..LoadingConfig::default() };
        Self { loading, ..Self::default() }
    }

    /// Name or folder of the model.
    pub fn model(&self) -> &str {
        self.loading.model_name()
    }

    /// The settings that change images, by key: what a policy remembers beside its model.
    pub(crate) fn provenance(&self) -> Map<String, Value> {
        let dtype = self.loading.dtype.clone().filter(|dtype| dtype != "auto");
        let loading = LoadingConfig { dtype, ..LoadingConfig::default() };
        Self { loading, ..self.clone() }.entries()
    }

    /// The settings that an external generator is told, by key.
    pub(crate) fn external(&self) -> Map<String, Value> {
        Self { loading: LoadingConfig::default(), ..self.clone() }.entries()
    }

    fn entries(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(entries)) => entries,
            _ => Map::new(),
        }
    }
}

#[cfg(feature = "clap")]
fn scheduler_help() -> String {
    let names: Vec<&str> = noisefind_diffusion::scheduler::SchedulerChoice::names().collect();
    format!(
        "Scheduler, with parameters of its class in diffusers that replace the model's: {} [default: the model's own]",
        names.join(", ")
    )
}

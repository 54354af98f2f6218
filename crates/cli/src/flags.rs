//! Flags that several commands take; every flag's help gives its unit and default.

use clap::{Args, ValueEnum};
use noisefind::config::TuneOptions;
use noisefind::core::rng::NoiseSource;

/// Which model, and where it runs.
#[derive(Args)]
pub struct ModelFlags {
    /// Model folder in the diffusers layout, an id on the Hugging Face hub, a program, emoji-64, or emoji-64-turbo,
    /// which generates in 6 steps instead of 20; both ship with us [default: emoji-64]
    #[arg(long, value_name = "DIR|HUB_ID|exec:COMMAND|NAME")]
    pub model: Option<String>,
    /// Where the model runs: auto, cpu, or a GPU this program was built for [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Numbers that the model computes in: auto, f32, bf16 or f16 [default: auto]
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<String>,
    /// Seconds an exec: program may take until it is ready [default: 600]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub start_timeout_seconds: Option<f64>,
    /// Seconds an exec: program may take for one request [default: 300]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub request_timeout_seconds: Option<f64>,
}

/// How the model draws.
#[derive(Args)]
pub struct GenerationFlags {
    #[command(flatten)]
    pub model: ModelFlags,
    /// Denoising steps a picture [default: the model's own, else 50]
    #[arg(long, value_name = "T")]
    pub num_inference_steps: Option<usize>,
    /// Classifier-free guidance, 0 or more; 1 is none [default: the model's own, else 7.5]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance_scale: Option<f64>,
    /// Noise that the scheduler adds at every step, 0 to 1 [default: 0]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub eta: Option<f64>,
    /// What should not be drawn [default: nothing]
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// Adapter to merge into the model, repeatable: a file in kohya's, peft's or diffusers' naming, or an id on the hub
    #[arg(long, value_name = "FILE[=WEIGHT]")]
    pub lora: Vec<String>,
    /// Decoder to use in place of the model's own, for example TAESD: its folder, or its id on the hub
    #[arg(long, value_name = "DIR")]
    pub vae: Option<String>,
    /// Decode large pictures in overlapping tiles: less memory, slightly other pixels, as in diffusers [default: no]
    #[arg(long)]
    pub vae_tiling: bool,
    /// Last layers of the text encoders that the prompt skips, counted as in diffusers [default: 0]
    #[arg(long, value_name = "N")]
    pub clip_skip: Option<usize>,
    #[arg(long, value_name = "NAME[,PARAMETER=VALUE]", help = scheduler_help())]
    pub scheduler: Option<String>,
    /// Rows of a picture in pixels [default: the model's own]
    #[arg(long, value_name = "PIXELS")]
    pub height: Option<usize>,
    /// Columns of a picture in pixels [default: the model's own]
    #[arg(long, value_name = "PIXELS")]
    pub width: Option<usize>,
    /// Frames of a clip, for models that generate clips [default: the model's own, else 16]
    #[arg(long, value_name = "N")]
    pub num_frames: Option<usize>,
    /// Frames per second at which a clip is saved [default: 8]
    #[arg(long, value_name = "FPS", allow_negative_numbers = true)]
    pub fps: Option<f64>,
    /// AnimateDiff motion adapter, which makes a video model of a Stable Diffusion 1 model: its folder or hub id
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub motion_adapter: Option<String>,
    /// Frames of a clip, evenly spread, that scorers of images score [default: all]
    #[arg(long, value_name = "N")]
    pub reward_frames: Option<usize>,
}

impl GenerationFlags {
    /// These flags as options of the library; what was not given stays open.
    pub fn options(self) -> TuneOptions {
        TuneOptions {
            num_inference_steps: self.num_inference_steps,
            guidance_scale: self.guidance_scale,
            eta: self.eta,
            negative_prompt: self.negative_prompt,
            lora: Some(self.lora).filter(|adapters| !adapters.is_empty()),
            vae: self.vae,
            vae_tiling: self.vae_tiling.then_some(true),
            clip_skip: self.clip_skip,
            scheduler: self.scheduler,
            height: self.height,
            width: self.width,
            num_frames: self.num_frames,
            fps: self.fps,
            motion_adapter: self.motion_adapter,
            reward_frames: self.reward_frames,
            ..self.model.options()
        }
    }
}

fn scheduler_help() -> String {
    let names: Vec<&str> = noisefind::registry::scheduler_names().collect();
    format!(
        "Scheduler, with parameters of its class in diffusers where they are not the model's: {} [default: the model's own]",
        names.join(", ")
    )
}

impl ModelFlags {
    /// These flags as options of the library; what was not given stays open.
    pub fn options(self) -> TuneOptions {
        TuneOptions {
            model: self.model,
            device: self.device,
            dtype: self.dtype,
            start_timeout_seconds: self.start_timeout_seconds,
            request_timeout_seconds: self.request_timeout_seconds,
            ..TuneOptions::default()
        }
    }
}

/// Which generator the noise comes from, that of stochastic steps too.
#[derive(Clone, Copy, ValueEnum)]
pub enum NoiseRng {
    /// Counter-based; the same on every machine
    Philox,
    /// One torch.Generator for each sample, whose seeds follow one by one
    Torch,
}

/// As [`NoiseRng`], for samples that may be one batch.
#[derive(Clone, Copy, ValueEnum)]
pub enum SampleNoiseRng {
    /// Counter-based; the same on every machine
    Philox,
    /// One torch.Generator for each image, whose seeds follow one by one: a list of generators in diffusers
    Torch,
    /// One torch.Generator with one seed for all images: num_images_per_prompt in diffusers
    TorchBatch,
}

impl SampleNoiseRng {
    /// The generator for a batch of `size` samples.
    pub fn source(self, size: u32) -> NoiseSource {
        match self {
            Self::Philox => NoiseSource::Philox,
            Self::Torch => NoiseSource::Torch,
            Self::TorchBatch => NoiseSource::TorchBatch { size },
        }
    }
}

impl From<NoiseRng> for NoiseSource {
    fn from(rng: NoiseRng) -> Self {
        match rng {
            NoiseRng::Philox => Self::Philox,
            NoiseRng::Torch => Self::Torch,
        }
    }
}

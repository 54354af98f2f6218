//! What is measured, and our side of it.

use std::path::{Path, PathBuf};

use bench_common::Failure;
use burn_tensor::Tensor;
use noisefind::config::GenerationConfig;
use noisefind::core::noise::{Noise, SampleKey};
use noisefind::core::policy::NoisePolicy;
use noisefind::core::ports::Reward;
use noisefind::core::rng::NoiseSource;
use noisefind::registry::ModelSource;
use noisefind_diffusion::decoder::Vae;
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_diffusion::denoiser::{self, Conditioning};
use noisefind_diffusion::{DeviceChoice, ModelFiles, Placement};
use noisefind_nn::lora::Adapters;

/// The prompt wherever one is needed; `peer.py` has the same.
pub const PROMPT: &str = "a green dog";
/// Images computed together, end to end.
const BATCH: usize = 16;
/// Frames of a clip where nobody says otherwise, as many as ModelScope and AnimateDiff make.
pub const FRAMES: usize = 16;
/// Any time of the schedule.
const TIMESTEP: f32 = 621.0;

/// One call of what is measured.
pub type Call = Box<dyn FnMut() -> Result<(), Failure>>;

/// Where the models lie.
pub struct Folders {
    /// The default model.
    pub model: PathBuf,
    /// Parts of the size of Stable Diffusion 1.5 with random weights, made by `peer.py make`.
    pub sd15: PathBuf,
    /// A model of clips in the ModelScope layout; by default one of the published size with random weights, which
    /// `golden/diffusion/full_size.py` makes.
    pub video: PathBuf,
}

/// What is measured; `peer.py` reads the same from the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// One call of the default model's denoiser.
    DefaultUnet { batch: usize },
    /// One call of the denoiser of Stable Diffusion 1.5 for an image of 512 x 512, both halves of guidance.
    Sd15Unet,
    /// One image of 512 x 512 from its latents.
    Sd15Vae,
    /// One call of a denoiser of clips, both halves of guidance of one clip.
    VideoUnet { frames: usize },
    /// Images of the default model, from noise to score.
    EndToEnd { images: usize },
}

impl Case {
    /// A name from which the case can be read back.
    pub fn name(self) -> String {
        match self {
            Self::DefaultUnet { batch } => format!("default-unet batch={batch}"),
            Self::Sd15Unet => "sd15-unet batch=2".to_owned(),
            Self::Sd15Vae => "sd15-vae batch=1".to_owned(),
            Self::VideoUnet { frames } => format!("video-unet frames={frames}"),
            Self::EndToEnd { images } => format!("end-to-end images={images}"),
        }
    }

    /// Opens the model and gives the call.
    pub fn prepare(self, folders: &Folders, dtype: &str) -> Result<Call, Failure> {
        match self {
            Self::DefaultUnet { batch } => unet(&folders.model, batch, dtype),
            Self::Sd15Unet => unet(&folders.sd15, 2, dtype),
            Self::Sd15Vae => vae(&folders.sd15, dtype),
            Self::VideoUnet { frames } => video_unet(&folders.video, frames, dtype),
            Self::EndToEnd { images } => end_to_end(&folders.model, images, dtype),
        }
    }
}

/// One call of a denoiser at its native size. Text projections and the time embedding lie outside of it, because a run
/// computes them once.
pub fn unet(folder: &Path, batch: usize, dtype: &str) -> Result<Call, Failure> {
    let placement = Placement::open(DeviceChoice::Cpu, dtype.parse()?)?.storing(dtype.parse()?);
    let unet = Unet::open(&ModelFiles::directory(folder)?, &placement)?;
    let config = unet.config();
    let [height, width] = config.sample_size.unwrap_or([64, 64]);
    // The longest prompt of the default model, and of CLIP.
    let tokens = if config.cross_attention_dim < 768 { 24 } else { 77 };
    let groups = if batch.is_multiple_of(2) { 2 } else { 1 };
    let text = tensor(&placement, [groups, tokens, config.cross_attention_dim]);
    let input = tensor(&placement, [batch, height, width, config.in_channels]);
    let (text, steps) = (unet.embed_text(&text), unet.embed_times(&[TIMESTEP], None, None));
    Ok(Box::new(move || finite(unet.forward(input.clone(), &steps[0], &text))))
}

/// One call of a denoiser of clips on latents of at most 16 x 16: larger ones take minutes.
fn video_unet(folder: &Path, frames: usize, dtype: &str) -> Result<Call, Failure> {
    const LARGEST: usize = 16;
    let placement = Placement::open(DeviceChoice::Cpu, dtype.parse()?)?;
    let files = ModelFiles::directory(folder)?;
    let config = denoiser::config(&files)?;
    let info = config.info();
    let denoiser = config.open(&files, &placement, &Adapters::default())?;
    let [height, width] = info.sample_size.unwrap_or([LARGEST; 2]).map(|side| side.min(LARGEST));
    let tokens = if info.text_width < 768 { 24 } else { 77 };
    let text = tensor(&placement, [2, tokens, info.text_width]);
    let input: Tensor<5> = tensor(&placement, [2, frames, height, width, info.in_channels]);
    let conditioned =
        denoiser.condition(&Conditioning { text, added: None, guidance_scale: None }, &[TIMESTEP]);
    Ok(Box::new(move || finite(conditioned.predict(input.clone(), 0))))
}

fn vae(folder: &Path, dtype: &str) -> Result<Call, Failure> {
    let placement = Placement::open(DeviceChoice::Cpu, dtype.parse()?)?;
    let vae = Vae::open(&ModelFiles::directory(folder)?, "vae", &placement)?;
    let latents = tensor(&placement, [1, 64, 64, vae.info().latent_channels]);
    Ok(Box::new(move || finite(vae.decode(latents.clone()))))
}

fn end_to_end(folder: &Path, images: usize, dtype: &str) -> Result<Call, Failure> {
    let (model, dtype) = (folder.display().to_string(), dtype.to_owned());
    let source = ModelSource::find(&model)?;
    let mut config = GenerationConfig::of_model(&model);
    config.loading.dtype = Some(dtype);
    let defaults = source.defaults()?;
    let config = config.resolve(defaults.generation)?;
    let mut model = source.open(&config, PROMPT)?;
    let name = defaults.reward.ok_or("the model brings no scorer of its own")?;
    let mut scorer = source.open_scorer(&name, &config, None)?;
    let policy = NoisePolicy::standard(model.generator.noise_shape());
    Ok(Box::new(move || {
        for noises in noises(&policy, images).chunks(BATCH) {
            let media = model.generator.generate(PROMPT, noises)?;
            let rewards = scorer.score(PROMPT, &media)?;
            if let Some(Reward::Missing(reason)) = rewards.iter().find(|reward| reward.given().is_none()) {
                return Err(format!("a reward is missing: {reason}").into());
            }
        }
        Ok(())
    }))
}

/// Fresh noises of the first seeds.
pub fn noises(policy: &NoisePolicy, count: usize) -> Vec<Noise> {
    let seeds = 0..count as u64;
    seeds.map(|seed| policy.sample(NoiseSource::Philox, SampleKey::fresh(seed, 0))).collect()
}

/// Irregular numbers in -1..1.
fn tensor<const D: usize>(placement: &Placement, shape: [usize; D]) -> Tensor<D> {
    let number = |at: usize| (at.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    placement.tensor((0..shape.iter().product()).map(number).collect(), shape)
}

/// Reads the result, which nobody could otherwise know to be computed.
fn finite<const D: usize>(output: Tensor<D>) -> Result<(), Failure> {
    let numbers: Vec<f32> = output
        .cast(burn_tensor::DType::F32)
        .into_data()
        .try_into_vec()
        .map_err(|error| format!("the output cannot be read: {error:?}"))?;
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(format!("the output holds {number}").into()),
        None => Ok(()),
    }
}

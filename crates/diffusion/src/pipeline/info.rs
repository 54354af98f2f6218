//! What a model folder holds, for users who want to know before they run it.

use noisefind_core::noise::NoiseShape;

use super::frames_at_once;
use crate::decoder::{self, ENCODER, Vae};
use crate::denoiser::{self, DenoiserInfo};
use crate::model_index::ModelIndex;
use crate::scheduler::{PredictionType, Schedule, SchedulerClass, SchedulerConfig, SchedulerFile};
use noisefind_nn::clip::ClipTextModel;
use noisefind_nn::device::{DeviceChoice, DtypeChoice, Placement};
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::Adapters;
use noisefind_nn::text::Tokenizer;
use noisefind_nn::weights::Weights;

/// The contents of a model folder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The family, as users name it: `Stable Diffusion XL`.
    pub family: String,
    /// The pipeline's class.
    pub pipeline: String,
    /// Parts with weights.
    pub parts: Vec<PartInfo>,
    /// Numbers in the files of all parts together.
    pub parameters: usize,
    /// Numbers that the CPU holds, once they are packed for its kernels: without the half of the decoder that only
    /// training needs.
    pub packed_parameters: usize,
    /// The most numbers that lie between the layers at once, for one image or clip of native size with guidance: those of
    /// the denoiser, or those of the decoder for the frames that it decodes at once.
    pub activations: Option<usize>,
    /// Shape of the noise for an image of native size.
    pub noise_shape: Option<NoiseShape>,
    /// Native rows and columns of an image in pixels.
    pub native_size: Option<[usize; 2]>,
    /// The class of the model's own scheduler.
    pub scheduler: Option<&'static SchedulerClass>,
    /// What the denoiser's output means.
    pub prediction_type: Option<PredictionType>,
    /// What keeps the model from running, in words; empty where nothing does.
    pub problems: Vec<String>,
}

/// One part with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// The part's folder.
    pub name: String,
    /// Numbers in its files.
    pub parameters: usize,
    /// How many the CPU holds for those that are loaded, once they are packed for its kernels.
    pub packed_parameters: usize,
    /// Number formats in its files.
    pub stored_dtypes: Vec<String>,
    /// SHA-256 of each of its files, in hexadecimal, with the file's name.
    pub sha256: Vec<(String, String)>,
}

impl ModelInfo {
    /// Reads and verifies a model folder: every config is parsed, every weight is read and checked against its config.
    ///
    /// # Errors
    /// Where there is no `model_index.json`; everything else is among the problems.
    pub fn read(files: &ModelFiles) -> Result<Self> {
        let index = ModelIndex::read(files)?;
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32)?.checking();
        let mut problems = Vec::new();
        let mut parts = Vec::new();
        for name in ["text_encoder", "text_encoder_2", "unet", "vae"] {
            if name.starts_with("text") && !index.has(name) && name != "text_encoder" {
                continue;
            }
            let stem = if name.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
            let part = PartInfo::read(files, name, stem, &placement);
            parts.extend(note(part, &mut problems));
            let opened = match name {
                "unet" => denoiser::config_with_motion(files, &index, None)
                    .and_then(|config| config.open(files, &placement, &Adapters::default()))
                    .map(drop),
                "vae" => Vae::open(files, name, &placement).map(drop),
                _ => ClipTextModel::open(files, name, &placement).and_then(|encoder| {
                    let tokenizer = name.replace("text_encoder", "tokenizer");
                    let config = encoder.config();
                    Tokenizer::open(files, &tokenizer, config.max_position_embeddings, config.vocab_size)
                        .map(drop)
                }),
            };
            note(opened, &mut problems);
        }
        let unet = denoiser::config_with_motion(files, &index, None).map(|config| config.info());
        let unet = note(unet, &mut problems);
        let vae = note(decoder::config(files, "vae").map(|config| config.info()), &mut problems);
        let scheduler = SchedulerFile::read(files, &index).and_then(|file| {
            let config = file.own()?;
            Schedule::new(&config, index.default_steps_and_guidance().0, 0.0)?;
            Ok(config)
        });
        let scheduler = note(scheduler, &mut problems);
        problems.dedup();
        let noise_shape = unet.as_ref().map(DenoiserInfo::noise_shape);
        let native_size = noise_shape.zip(vae.as_ref()).map(|(shape, vae)| {
            let pixels = vae.pixels_per_latent;
            [shape.height * pixels, shape.width * pixels]
        });
        let activations = unet.as_ref().zip(vae).zip(native_size).map(|((unet, vae), size)| {
            // One clip or image: of a clip as many frames as are decoded at once.
            let frames = unet.frames.unwrap_or(1).min(frames_at_once(size[0] * size[1]));
            unet.activations.max(frames * Vae::activations_of(&vae, size))
        });
        Ok(Self {
            family: family(&index, unet.as_ref(), scheduler.as_ref()),
            pipeline: index.class_name,
            parameters: parts.iter().map(|part| part.parameters).sum(),
            packed_parameters: parts.iter().map(|part| part.packed_parameters).sum(),
            activations,
            parts,
            noise_shape,
            native_size,
            scheduler: scheduler.as_ref().map(SchedulerConfig::class),
            prediction_type: scheduler.and_then(|scheduler| scheduler.prediction().ok()),
            problems,
        })
    }

    /// About how much memory it takes to generate one image of native size when each number takes `bytes`: 4 for f32, 2 for
    /// bf16.
    pub fn memory_bytes(&self, bytes: usize) -> Option<usize> {
        Some((self.packed_parameters + self.activations?) * bytes)
    }
}

impl PartInfo {
    fn read(files: &ModelFiles, name: &str, stem: &str, placement: &Placement) -> Result<Self> {
        let weights = Weights::open(files, name, stem, placement)?;
        let skipped: &[&str] = if name == "vae" { &ENCODER } else { &[] };
        Ok(Self {
            name: name.to_owned(),
            parameters: weights.parameters(),
            packed_parameters: weights.packed_without(skipped),
            stored_dtypes: weights.stored_dtypes(),
            sha256: weights.sha256()?,
        })
    }
}

/// The value, or a line among the problems.
fn note<T>(result: Result<T>, problems: &mut Vec<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let line = error.to_string();
            if !problems.contains(&line) {
                problems.push(line);
            }
            None
        }
    }
}

/// The family's name, from what tells them apart: the width of the text and the further conditioning.
fn family(index: &ModelIndex, unet: Option<&DenoiserInfo>, scheduler: Option<&SchedulerConfig>) -> String {
    let Some(unet) = unet else {
        return index.class_name.clone();
    };
    let is_clip = unet.frames.is_some();
    let name = match (unet.text_width, unet.text_time.is_some()) {
        // Motion modules have encodings of positions, which end.
        _ if is_clip && unet.max_frames.is_some() => "AnimateDiff",
        _ if is_clip => "ModelScope text-to-video",
        (_, true) => "Stable Diffusion XL",
        (768, _) => "Stable Diffusion 1",
        (1024, _) => "Stable Diffusion 2",
        _ => "latent diffusion",
    };
    let is_consistency_model =
        unet.takes_guidance_scale || scheduler.is_some_and(|scheduler| scheduler.class().name == "lcm");
    if is_consistency_model { format!("{name}, latent consistency") } else { name.to_owned() }
}

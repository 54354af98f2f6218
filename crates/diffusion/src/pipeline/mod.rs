//! A whole model: prompt and noise in, images or clips out.
//!
//! Reference: `StableDiffusionPipeline`, `StableDiffusionXLPipeline`, `TextToVideoSDPipeline` and `AnimateDiffPipeline` of
//! diffusers 0.42.1.

mod denoise;
mod generator;
mod info;
mod options;
mod prompt;
mod repair;

use noisefind_core::media::Media;
use noisefind_core::noise::NoiseShape;

pub use denoise::Latents;
pub use generator::DiffusionGenerator;
pub use info::{ModelInfo, PartInfo};
pub use options::{GenerationOptions, LoadOptions};
pub use prompt::PreparedPrompt;

use std::path::Path;
use std::sync::Arc;

use crate::decoder::Vae;
use crate::denoiser::{self, Denoiser, DenoiserInfo};
use crate::model_index::{ModelIndex, PipelineClass};
use crate::scheduler::{Schedule, SchedulerConfig, SchedulerFile};
use crate::single_file;
use crate::text::TextEncoders;
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::{ModelFiles, in_folder};
use noisefind_nn::lora::Adapters;
use noisefind_nn::ops::release_buffers;
use noisefind_nn::weight_names;

/// A frozen text-to-image model.
#[derive(Clone, Debug)]
pub struct DiffusionModel {
    files: ModelFiles,
    index: ModelIndex,
    scheduler: SchedulerFile,
    text: TextEncoders,
    denoiser: Arc<dyn Denoiser>,
    denoiser_info: DenoiserInfo,
    vae: Vae,
    /// The decoder in error messages: its folder, or where its files are.
    vae_name: String,
    placement: Placement,
    vae_placement: Placement,
    notes: Vec<String>,
}

impl DiffusionModel {
    /// Opens a diffusers folder.
    ///
    /// # Errors
    /// Where a part or an adapter is absent, damaged, not implemented, or does not fit the others; or the device is not available.
    pub fn open(files: ModelFiles, options: &LoadOptions) -> Result<Self> {
        let placement = Placement::open(options.device, options.dtype)?;
        let index = ModelIndex::read(&files)?;
        let mut notes = variant_note(&files, &index);
        let mut scheduler = SchedulerFile::read(&files, &index)?;
        repair::repair_scheduler(&index, &mut scheduler, &mut notes);
        let adapters = Adapters::open(&options.loras, &index.parts)?;
        let text = TextEncoders::open(&files, &index, &placement, &adapters, &options.embeddings)?;
        let config = denoiser::config_with_motion(&files, &index, options.motion_adapter.as_deref())?;
        let mut denoiser_info = config.info();
        repair::repair_sample_size(&index, &files, &mut denoiser_info, &mut notes)?;
        check_denoiser(&files, &index, &denoiser_info)?;
        let denoiser = config.open(&files, &placement.storing(options.dtype), &adapters)?;
        adapters.finish()?;
        let (vae_files, folder) = match &options.vae {
            Some(name) if Path::new(name).is_file() => (single_file::open_vae(Path::new(name), &files)?, ""),
            Some(name) => (ModelFiles::find(name)?, ""),
            None => (files.clone(), "vae"),
        };
        let vae_name = vae_files.display(folder);
        let vae_placement = Vae::placement(&vae_files, folder, &placement)?;
        let mut vae = Vae::open_decoding(&vae_files, folder, &vae_placement, options.decoding)?;
        if index.pipeline != PipelineClass::StableDiffusionXl {
            vae = vae.without_statistics();
        }
        text.check_fits(&files, &denoiser_info)?;
        let (latents, channels) = (vae.info().latent_channels, denoiser_info.in_channels);
        if latents != channels {
            let decoder = vae_files.display(&in_folder(folder, "config.json"));
            return Err(match &options.vae {
                Some(_) => Error::Config {
                    file: decoder,
                    key: "latent_channels",
                    found: latents.to_string(),
                    expected: format!("{channels}, the in_channels of unet/config.json"),
                },
                None => {
                    let inpaints =
                        if channels == 2 * latents + 1 { "; this is an inpainting model" } else { "" };
                    Error::Config {
                        file: files.display("unet/config.json"),
                        key: "in_channels",
                        found: channels.to_string(),
                        expected: format!("{latents}, the latent_channels of {decoder}{inpaints}"),
                    }
                }
            });
        }
        Ok(Self {
            files,
            index,
            scheduler,
            text,
            denoiser,
            denoiser_info,
            vae,
            vae_name,
            placement,
            vae_placement,
            notes,
        })
    }

    /// What was changed about the model while it was opened, a line each, as diffusers' pipelines change it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The model's files.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// Where the model runs, and in which number format.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Shape of the noise for an image of the model's native size.
    pub fn noise_shape(&self) -> NoiseShape {
        self.denoiser_info.noise_shape()
    }

    /// Shape of the noise for the image size that `options` ask for.
    ///
    /// # Errors
    /// Where the size is no multiple of the pixels that the decoder makes of one latent.
    pub fn noise_shape_for(&self, options: &GenerationOptions) -> Result<NoiseShape> {
        let native = self.noise_shape();
        let pixels = self.vae.info().pixels_per_latent;
        let sized = self.denoiser_info.sample_size.is_some();
        let latent = |option, asked: Option<usize>, native: usize| match asked {
            None if sized => Ok(native),
            None => Err(Error::Config {
                file: self.files.display("unet/config.json"),
                key: "sample_size",
                found: "absent".into(),
                expected: format!("the size of the latents; or give --{option}"),
            }),
            Some(size) if size > 0 && size.is_multiple_of(pixels) => Ok(size / pixels),
            Some(size) => Err(Error::Option {
                option,
                found: size.to_string(),
                expected: format!("a multiple of {pixels} pixels"),
            }),
        };
        Ok(NoiseShape {
            frames: frames_for(&self.denoiser_info, options)?,
            height: latent("height", options.height, native.height)?,
            width: latent("width", options.width, native.width)?,
            ..native
        })
    }

    /// About how many bytes lie between the layers at once while `batch` samples with noise of `shape` are generated: those of
    /// the denoiser with guidance, or those of the decoder for one frame, whichever are more.
    pub fn working_bytes(&self, shape: NoiseShape, batch: usize) -> u64 {
        let native = self.denoiser_info.noise_shape().numel() as f64;
        let larger = shape.numel() as f64 / native * batch as f64;
        let pixels = self.vae.info().pixels_per_latent;
        let decoder = self.vae.activations([shape.height * pixels, shape.width * pixels]);
        let denoiser = self.denoiser_info.activations as f64 * larger * self.placement.dtype.size() as f64;
        denoiser.max(decoder as f64 * self.vae_placement.dtype.size() as f64) as u64
    }

    /// Bytes of an image or clip of a sample with noise of `shape`, 8 bits a value.
    pub fn media_bytes(&self, shape: NoiseShape) -> u64 {
        let pixels = self.vae.info().pixels_per_latent as u64;
        3 * pixels * pixels * (shape.numel() / shape.channels) as u64
    }

    /// Checks what does not need the weights, so that nobody waits for them in vain: the motion adapter, the number of
    /// frames, the scheduler that `options` select, and its number of steps.
    ///
    /// # Errors
    /// Where the adapter or the number of frames does not fit the model, or the scheduler is not implemented, not defined
    /// for this model, or refuses the number of steps.
    pub fn check(files: &ModelFiles, load: &LoadOptions, options: &GenerationOptions) -> Result<()> {
        options.check()?;
        let index = ModelIndex::read(files)?;
        let mut scheduler = SchedulerFile::read(files, &index)?;
        repair::repair_scheduler(&index, &mut scheduler, &mut Vec::new());
        let scheduler = scheduler.selected(options.scheduler.as_ref())?;
        let config = denoiser::config_with_motion(files, &index, load.motion_adapter.as_deref())?;
        frames_for(&config.info(), options)?;
        Schedule::new(&scheduler, options.num_inference_steps, options.eta).map(drop)
    }

    /// The config of the scheduler that `options` select.
    ///
    /// # Errors
    /// Where the model's own is not implemented and none replaces it, or the one that does is not defined for this model.
    pub fn scheduler(&self, options: &GenerationOptions) -> Result<SchedulerConfig> {
        self.scheduler.selected(options.scheduler.as_ref())
    }

    /// Decodes final latents to images or clips in the same order: at most `batch_size` samples at a time, and of a clip
    /// as many frames as fit into the memory that the denoiser needs anyway.
    ///
    /// # Errors
    /// Where shapes differ from the model's, the decoder gives a value that is not finite, or the device fails.
    pub fn decode(&self, latents: &[Latents], batch_size: usize) -> Result<Vec<Media>> {
        let image = |decoded: &DecodedImage| {
            let DecodedImage { frames, height, width, values } = decoded;
            Media::quantise(*frames, *height, *width, values).map_err(|source| Error::Decoder {
                decoder: self.vae_name.clone(),
                dtype: self.vae_placement.dtype,
                reason: source.to_string(),
            })
        };
        // Of clips one at a time, so that no more than one is in memory before it is rounded.
        let is_clip = latents.first().is_some_and(|first| first.shape.frames.is_some());
        let at_once = if is_clip { 1 } else { latents.len().max(1) };
        let mut media = Vec::with_capacity(latents.len());
        for part in latents.chunks(at_once) {
            for decoded in self.decode_values(part, batch_size)? {
                media.push(image(&decoded)?);
            }
        }
        Ok(media)
    }

    /// As [`decode`](Self::decode), before the values are rounded to 8 bits.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), but values may be anything.
    pub fn decode_values(&self, latents: &[Latents], batch_size: usize) -> Result<Vec<DecodedImage>> {
        let pixels_per_latent = self.vae.info().pixels_per_latent;
        let Some(first) = latents.first() else {
            return Ok(Vec::new());
        };
        let shape = first.shape;
        let expected = NoiseShape { channels: self.denoiser_info.in_channels, ..shape };
        if let Some(other) = latents.iter().find(|latents| latents.shape != expected) {
            return Err(Error::Shape {
                what: "latents",
                expected: expected.dims(),
                found: other.shape.dims(),
            });
        }
        let frames = shape.frames.unwrap_or(1);
        let per_frame = shape.height * shape.width * shape.channels;
        let pixels = shape.height * shape.width * pixels_per_latent * pixels_per_latent;
        let at_once = batch_size.saturating_mul(frames).clamp(1, frames_at_once(pixels));
        let values = denoise::channels_last(latents.iter().map(|latents| latents.values.as_slice()), shape);
        let mut images: Vec<Vec<f32>> = Vec::with_capacity(latents.len() * frames);
        let mut size = [0, 0];
        for batch in values.chunks(at_once * per_frame) {
            let unscaled =
                batch.iter().enumerate().map(|(at, &value)| self.vae.unscale(value, at % shape.channels));
            let dims = [batch.len() / per_frame, shape.height, shape.width, shape.channels];
            let (values, found) = self.vae.decode_values(unscaled.collect(), dims, &self.vae_placement)?;
            size = found;
            images.extend(values.chunks_exact(3 * size[0] * size[1]).map(<[f32]>::to_vec));
        }
        release_buffers();
        Ok(images.chunks(frames).map(|frames| DecodedImage::of_frames(frames, size)).collect())
    }
}

/// A line about the parts whose weights are only there in variants.
fn variant_note(files: &ModelFiles, index: &ModelIndex) -> Vec<String> {
    const STEM: &str = "diffusion_pytorch_model";
    let stems = [("text_encoder", "model"), ("text_encoder_2", "model"), ("unet", STEM), ("vae", STEM)];
    let mut found = Vec::new();
    for (part, stem) in stems {
        if index.has(part) && files.single_file().is_none() {
            // A part without weights is refused when it is opened.
            let variant = weight_names::find(files, part, stem).ok().and_then(|names| names.variant);
            found.extend(variant.map(|variant| format!("{variant} of {part}")));
        }
    }
    let note = format!("the plain weights are absent, so variants of them are taken: {}", found.join(", "));
    if found.is_empty() { Vec::new() } else { vec![note] }
}

/// Checks that the pipeline can use what the denoiser takes and gives.
fn check_denoiser(files: &ModelFiles, index: &ModelIndex, denoiser: &DenoiserInfo) -> Result<()> {
    let invalid = |key, found: String, expected: String| {
        Err(Error::Config { file: files.display("unet/config.json"), key, found, expected })
    };
    let (input, output) = (denoiser.in_channels, denoiser.out_channels);
    let is_inpainting = input > output;
    if output != input && !is_inpainting {
        let expected =
            format!("{input}, as in_channels; models that also predict a variance are not implemented");
        return invalid("out_channels", output.to_string(), expected);
    }
    if index.pipeline == PipelineClass::LatentConsistency && !denoiser.takes_guidance_scale {
        let expected = "a number, since LatentConsistencyModelPipeline hands over the guidance scale";
        return invalid("time_cond_proj_dim", "null".into(), expected.into());
    }
    if index.pipeline == PipelineClass::StableDiffusionXl && denoiser.text_time.is_none() {
        let expected = "text_time, as StableDiffusionXLPipeline needs";
        return invalid("addition_embed_type", "null".into(), expected.into());
    }
    Ok(())
}

/// Frames of a clip that `options` ask for; `None` for a model of still images.
fn frames_for(denoiser: &DenoiserInfo, options: &GenerationOptions) -> Result<Option<usize>> {
    /// More than any model of this kind was trained for.
    const MOST: usize = 1024;
    let DenoiserInfo { frames: native, max_frames, .. } = *denoiser;
    let wrong = |found: usize, expected: String| {
        Err(Error::Option { option: "num-frames", found: found.to_string(), expected })
    };
    match (options.num_frames, native) {
        (None | Some(1), None) => Ok(None),
        (Some(found), None) => wrong(found, "1, because the model generates still images".into()),
        (asked, Some(native)) => {
            let most = max_frames.unwrap_or(MOST);
            let frames = asked.unwrap_or(native.min(most));
            if (1..=most).contains(&frames) {
                return Ok(Some(frames));
            }
            let why =
                if max_frames.is_some() { ", the most that the motion adapter was trained for" } else { "" };
            wrong(frames, format!("1 to {most}{why}"))
        }
    }
}

/// Images or frames of so many pixels that are decoded at once: a batch of larger ones would need more memory than the
/// denoiser does.
fn frames_at_once(pixels: usize) -> usize {
    const PIXELS_AT_ONCE: usize = 1 << 19;
    (PIXELS_AT_ONCE / pixels.max(1)).max(1)
}

/// An image or a clip as the decoder gives it: 0 is black and 1 is white, and values beyond are possible.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedImage {
    /// Frames; 1 for a still image.
    pub frames: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// `[3, frames, height, width]`, RGB.
    pub values: Vec<f32>,
}

impl DecodedImage {
    /// Joins frames of `[height, width, 3]` in `-1..=1`.
    fn of_frames(frames: &[Vec<f32>], [height, width]: [usize; 2]) -> Self {
        let planes = (0..3)
            .flat_map(|channel| frames.iter().flat_map(move |frame| frame.iter().skip(channel).step_by(3)));
        let values = planes.map(|value| value / 2.0 + 0.5).collect();
        Self { frames: frames.len(), height, width, values }
    }

    /// The values clamped to `0.0..=1.0`, as diffusers' `output_type="np"` has them.
    pub fn in_range(&self) -> Vec<f32> {
        self.values.iter().map(|value| value.clamp(0.0, 1.0)).collect()
    }
}

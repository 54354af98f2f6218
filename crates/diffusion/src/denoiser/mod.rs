//! Denoisers: one folder a class, chosen by the `_class_name` of its config.
//!
//! A class is a config that knows its sizes and can load the network ([`DenoiserConfig`]), the network ([`Denoiser`]), and
//! the network together with all that does not change between steps ([`Conditioned`]). A new class is a folder and a row
//! of `CLASSES`.

pub mod unet2d;

use std::fmt::Debug;
use std::sync::Arc;

use burn_tensor::Tensor;
use noisefind_core::noise::NoiseShape;

use crate::model_index::PartClass;
use noisefind_nn::config::Keys;
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::Adapters;

pub use unet2d::MotionAdapter;

use crate::model_index::ModelIndex;

/// The folder of the denoiser.
const FOLDER: &str = "unet";

/// One class of denoisers.
struct Class {
    /// Its names in `_class_name`.
    names: &'static [&'static str],
    /// Reads the keys of its config.
    parse: fn(&Keys) -> Result<Box<dyn DenoiserConfig>>,
}

/// All classes that are implemented.
const CLASSES: &[Class] = &[
    Class {
        names: &["UNet2DConditionModel", "FlaxUNet2DConditionModel"],
        parse: |keys| Ok(Box::new(unet2d::UnetConfig::from_keys(keys)?)),
    },
    Class {
        names: &["UNet3DConditionModel"],
        parse: |keys| Ok(Box::new(unet2d::UnetConfig::from_keys_3d(keys)?)),
    },
    Class {
        names: &["UNetMotionModel"],
        parse: |keys| Ok(Box::new(unet2d::UnetConfig::from_motion_keys(keys)?)),
    },
];

/// What the rest of the program needs to know of a denoiser.
#[derive(Clone, Debug, PartialEq)]
pub struct DenoiserInfo {
    /// Latent channels in.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Native latent rows and columns, where the config says them.
    pub sample_size: Option<[usize; 2]>,
    /// Frames of a clip where nobody says otherwise; `None` for still images.
    pub frames: Option<usize>,
    /// The most frames of a clip, where the positional encodings end.
    pub max_frames: Option<usize>,
    /// Width of the text's hidden states.
    pub text_width: usize,
    /// Widths of pooled text and image sizes as further conditioning, where the denoiser takes them.
    pub text_time: Option<TextTimeConfig>,
    /// Whether the guidance scale is an input, as in distilled models.
    pub takes_guidance_scale: bool,
    /// The most numbers that lie between the layers at once, for one sample of native size with guidance.
    pub activations: usize,
}

impl DenoiserInfo {
    /// Shape of the noise of a sample of native size; where the config does not say one, of the size of Stable Diffusion.
    pub fn noise_shape(&self) -> NoiseShape {
        let [height, width] = self.sample_size.unwrap_or([64, 64]);
        NoiseShape { channels: self.in_channels, frames: self.frames, height, width }
    }
}

/// The additional conditioning of SDXL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextTimeConfig {
    /// Width of each embedded image size.
    pub addition_time_embed_dim: usize,
    /// Width of the pooled text and the six sizes together.
    pub projection_class_embeddings_input_dim: usize,
}

/// SDXL's further conditioning, one row for each group of the batch.
#[derive(Clone, Debug)]
pub struct AddedConditioning {
    /// Pooled text `[groups, projection]`.
    pub text_embeds: Tensor<2>,
    /// Original height and width, top and left of the crop, target height and width, in pixels.
    pub time_ids: [f32; 6],
}

/// What is the same for all samples of a prompt.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// Hidden states of the text `[groups, tokens, text_width]`; a batch falls into `groups` equal parts in order, each
    /// with its own text.
    pub text: Tensor<3>,
    /// Pooled text and image sizes, for denoisers with `text_time`.
    pub added: Option<AddedConditioning>,
    /// The guidance scale, for denoisers with `takes_guidance_scale`.
    pub guidance_scale: Option<f32>,
}

/// The config of a denoiser.
pub trait DenoiserConfig: Debug + Send + Sync {
    /// Its sizes.
    fn info(&self) -> DenoiserInfo;

    /// Opens the network, with adapters merged into the weights.
    ///
    /// # Errors
    /// Where weights are absent, damaged or do not fit the config, or an adapter does not fit.
    fn open(
        &self,
        model: &ModelFiles,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Arc<dyn Denoiser>>;

    /// This denoiser with the motion modules of an AnimateDiff adapter, which make a video model of it.
    ///
    /// # Errors
    /// Where the adapter is absent or damaged, or does not fit.
    fn with_motion(&self, adapter: &MotionAdapter) -> Result<Box<dyn DenoiserConfig>>;
}

/// A denoiser.
pub trait Denoiser: Debug + Send + Sync {
    /// Computes what does not change from sample to sample: projections of the text and of each timestep.
    /// The weights are shared, not copied.
    fn condition(self: Arc<Self>, conditioning: &Conditioning, timesteps: &[f32]) -> Arc<dyn Conditioned>;
}

/// A denoiser with its conditioning.
pub trait Conditioned: Debug + Send + Sync {
    /// The output for `latents`, both `[batch, frames, height, width, channels]` in the model's dtype, at the step `at` of
    /// the timesteps; still images have one frame. The output may have further channels, which samplers ignore.
    fn predict(&self, latents: Tensor<5>, at: usize) -> Tensor<5>;
}

/// The keys of the denoiser's config.
pub(crate) fn keys(model: &ModelFiles) -> Result<Keys> {
    Keys::read(model, &format!("{FOLDER}/config.json"))
}

/// Reads the config of the model's denoiser.
///
/// # Errors
/// Where it is absent, damaged or not implemented.
pub fn config(model: &ModelFiles) -> Result<Box<dyn DenoiserConfig>> {
    let keys = keys(model)?;
    let class = PartClass::of(model, (FOLDER, FOLDER), &keys, CLASSES[0].names[0])?;
    match CLASSES.iter().find(|known| known.names.contains(&class.name.as_str())) {
        Some(known) => (known.parse)(&keys),
        None => Err(class.unknown(CLASSES.iter().map(|known| known.names[0]))),
    }
}

/// The config of the model's denoiser with the motion adapter that the user names, or else with the one that the model
/// has beside a denoiser of still images.
///
/// # Errors
/// As [`config`], and where the adapter is absent, damaged or does not fit.
pub fn config_with_motion(
    model: &ModelFiles,
    index: &ModelIndex,
    motion_adapter: Option<&str>,
) -> Result<Box<dyn DenoiserConfig>> {
    let config = config(model)?;
    match motion_adapter {
        Some(name) => MotionAdapter::find(name)
            .and_then(|adapter| config.with_motion(&adapter))
            .map_err(|source| Error::MotionAdapter(Box::new(source))),
        None if config.info().frames.is_none() && index.has(unet2d::MOTION_ADAPTER) => {
            config.with_motion(&MotionAdapter::in_model(model))
        }
        None => Ok(config),
    }
}

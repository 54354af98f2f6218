//! AnimateDiff: the motion modules of an adapter inside the U-Net of a model of still images.
//!
//! Guo et al., "AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific Tuning", ICLR 2024.
//! Reference: `MotionAdapter` and `UNetMotionModel.from_unet2d` of diffusers 0.42.1.

use std::sync::Arc;

use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::Adapters;
use noisefind_nn::weights::Weights;

use super::super::{Denoiser, DenoiserConfig, DenoiserInfo};
use super::config::{MotionConfig, TemporalConfig, UnetConfig, per_level};
use super::motion_adapter::MotionAdapter;
use super::{FOLDER, Unet};

/// What the weights of the denoiser are called.
const STEM: &str = "diffusion_pytorch_model";

/// A U-Net of still images with the motion modules of an adapter.
#[derive(Clone, Debug)]
pub struct MotionUnetConfig {
    unet: UnetConfig,
    adapter: MotionAdapter,
}

impl MotionUnetConfig {
    /// Reads the config of the adapter and holds it against that of the U-Net.
    pub(super) fn new(unet: &UnetConfig, adapter: &MotionAdapter) -> Result<Self> {
        let unfit = |reason: &str| Err(Error::Unfit { file: adapter.name(), reason: reason.to_owned() });
        if unet.temporal.is_some() {
            return unfit("the model generates clips already, expected one of Stable Diffusion 1");
        }
        if unet.text_time.is_some() {
            return unfit("the model is Stable Diffusion XL, expected one of Stable Diffusion 1");
        }
        let keys = adapter.keys()?;
        let class: String = keys.or("_class_name", "MotionAdapter".to_owned())?;
        keys.check("_class_name", class == "MotionAdapter", &class, "MotionAdapter, a motion adapter")?;
        keys.refuse_except(&[("conv_in_channels", &[]), ("motion_mid_block_layers_per_block", &["1"])])?;
        let channels = keys.block_channels(&[320, 640, 1280, 1280], 1)?;
        let expected = format!("{:?}, as the model's unet/config.json", unet.block_out_channels);
        keys.check(
            "block_out_channels",
            channels == unet.block_out_channels,
            format!("{channels:?}"),
            expected,
        )?;
        let count = channels.len();
        let modules = per_level(&keys, "motion_layers_per_block", 2, count)?;
        let resnets: Vec<usize> = unet.down_blocks.iter().map(|block| block.resnets).collect();
        let expected = format!("{resnets:?}, the layers_per_block of unet/config.json");
        keys.check("motion_layers_per_block", modules == resnets, format!("{modules:?}"), expected)?;
        let motion = MotionConfig {
            heads: per_level(&keys, "motion_num_attention_heads", 8, count)?,
            layers: per_level(&keys, "motion_transformer_layers_per_block", 1, count)?,
            mid_layers: match keys.flag("use_motion_mid_block", true) {
                true => Some(keys.layers("motion_transformer_layers_per_mid_block", 1)?),
                false => None,
            },
            max_seq_length: keys.size("motion_max_seq_length", 32, 4096)?,
        };
        motion.check_heads(&keys, "motion_num_attention_heads", &channels)?;
        let unet = UnetConfig { temporal: Some(TemporalConfig::Motion(motion)), ..unet.clone() };
        Ok(Self { unet, adapter: adapter.clone() })
    }

    /// Opens the U-Net with the adapter's motion modules among its weights.
    ///
    /// # Errors
    /// Where weights are absent, damaged or do not fit the configs, or an adapter does not fit.
    pub fn open_unet(&self, model: &ModelFiles, placement: &Placement, adapters: &Adapters) -> Result<Unet> {
        let mut weights = Weights::open(model, FOLDER, STEM, placement)?;
        weights.extend(self.adapter.weights(placement)?);
        Unet::of_weights(self.unet.clone(), weights, adapters)
    }
}

impl DenoiserConfig for MotionUnetConfig {
    fn info(&self) -> DenoiserInfo {
        self.unet.info()
    }

    fn open(
        &self,
        model: &ModelFiles,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Arc<dyn Denoiser>> {
        Ok(Arc::new(self.open_unet(model, placement, adapters)?))
    }

    fn with_motion(&self, adapter: &MotionAdapter) -> Result<Box<dyn DenoiserConfig>> {
        let reason = format!("the model has another already, {}; expected one", self.adapter.name());
        Err(Error::Unfit { file: adapter.name(), reason })
    }
}

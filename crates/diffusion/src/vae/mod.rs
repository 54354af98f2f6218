//! The decoders that turn latents into pictures.

mod kl;
mod tiny;

use burn::tensor::{DType, Tensor};

use crate::config::VaeConfig;
use crate::device::Placement;
use crate::error::Result;
use crate::files::ModelFiles;
use crate::weights::Weights;
use kl::KlDecoder;
use tiny::TinyDecoder;

/// How the names begin of the half that turns pictures into latents, which nothing here needs.
pub(crate) const ENCODER: [&str; 2] = ["encoder.", "quant_conv."];

/// A decoder, with the map from the sampler's latents to its own.
#[derive(Clone, Debug)]
pub struct Vae {
    config: VaeConfig,
    decoder: Decoder,
}

#[derive(Clone, Debug)]
enum Decoder {
    Kl(Box<KlDecoder>),
    Tiny(Box<TinyDecoder>),
}

impl Vae {
    /// Opens the part `folder` (empty for a decoder in a folder of its own).
    ///
    /// # Errors
    /// Where config or weights are absent, damaged or do not fit each other.
    pub fn open(model: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self> {
        let config = VaeConfig::read(model, folder)?;
        let mut weights = Weights::open(model, folder, "diffusion_pytorch_model", placement)?;
        let decoder = match &config {
            VaeConfig::Kl(config) => {
                weights.rename(kl::current_name);
                Decoder::Kl(Box::new(KlDecoder::load(&weights.root(), config)))
            }
            VaeConfig::Tiny(config) => Decoder::Tiny(Box::new(TinyDecoder::load(&weights.root(), config))),
        };
        weights.finish(&ENCODER)?;
        Ok(Self { config, decoder })
    }

    /// Where a decoder runs best: half precision overflows in some of them, whose config says so.
    pub(crate) fn placement(model: &ModelFiles, folder: &str, placement: &Placement) -> Result<Placement> {
        let overflows =
            matches!(VaeConfig::read(model, folder)?, VaeConfig::Kl(config) if config.force_upcast);
        Ok(if overflows && placement.dtype == DType::F16 {
            placement.with_dtype(DType::F32)
        } else {
            placement.clone()
        })
    }

    /// The decoder's sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Maps one number of the sampler's latents, in `channel`, to the decoder's.
    pub fn unscale(&self, value: f32, channel: usize) -> f32 {
        match &self.config {
            VaeConfig::Kl(config) => match &config.latent_statistics {
                Some((mean, deviation)) => value * deviation[channel] / config.scaling_factor + mean[channel],
                None => value / config.scaling_factor + config.shift_factor,
            },
            VaeConfig::Tiny(config) => value / config.scaling_factor + config.shift_factor,
        }
    }

    /// Decodes unscaled latents `[batch, height, width, channels]` to pictures in about `-1..=1`,
    /// `[batch, height', width', 3]`.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        match &self.decoder {
            Decoder::Kl(decoder) => decoder.forward(latents),
            Decoder::Tiny(decoder) => decoder.forward(latents),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::device::{DeviceChoice, DtypeChoice};

    /// The full decoder of Stable Diffusion XL gives black pictures in half precision.
    #[test]
    fn a_decoder_that_overflows_runs_in_single_precision() {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion");
        let half = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).unwrap().with_dtype(DType::F16);
        for (family, dtype) in [("sdxl", DType::F32), ("lcm", DType::F16)] {
            let files = ModelFiles::directory(golden.join(family)).unwrap();
            assert_eq!(Vae::placement(&files, "vae", &half).unwrap().dtype, dtype, "{family}");
        }
        let files = ModelFiles::directory(golden.join("sdxl")).unwrap();
        let brain = half.with_dtype(DType::BF16);
        assert_eq!(Vae::placement(&files, "vae", &brain).unwrap().dtype, DType::BF16);
    }
}

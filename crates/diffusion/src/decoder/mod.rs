//! Decoders that turn latents into images: one folder a class, chosen by the `_class_name` of its config.
//!
//! A class is a config that knows its sizes and loads the network ([`DecoderConfig`]), and the network ([`Decoder`]). A
//! new class is a folder and a row of `CLASSES`.

pub mod kl;
mod tiling;
pub mod tiny;

use std::fmt::Debug;
use std::sync::Arc;

use burn_tensor::{DType, Tensor};

use crate::model_index::PartClass;
use noisefind_nn::config::Keys;
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::{ModelFiles, in_folder};
use noisefind_nn::ops::read_back;
use noisefind_nn::weights::Weights;
pub use tiling::Seams;
use tiling::{Plane, Tiling};

/// How the names begin of the half that turns images into latents, which nothing here needs.
pub(crate) const ENCODER: [&str; 2] = ["encoder.", "quant_conv."];

/// One class of decoders.
struct Class {
    /// Its name in `_class_name`.
    name: &'static str,
    /// Reads the keys of its config.
    parse: fn(&Keys) -> Result<Box<dyn DecoderConfig>>,
}

/// All classes that are implemented; the first is that of a config which names none.
const CLASSES: &[Class] = &[
    Class { name: "AutoencoderKL", parse: |keys| Ok(Box::new(kl::AutoencoderKlConfig::from_keys(keys)?)) },
    Class {
        name: "AutoencoderTiny",
        parse: |keys| Ok(Box::new(tiny::AutoencoderTinyConfig::from_keys(keys)?)),
    },
];

/// What the rest of the program needs to know of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderInfo {
    /// Latent channels.
    pub latent_channels: usize,
    /// Pixels along each axis for one latent pixel.
    pub pixels_per_latent: usize,
    /// From the sampler's latents to the decoder's.
    pub scaling: Scaling,
    /// Whether half precision overflows in this decoder.
    pub overflows_in_half: bool,
    /// How large images are cut.
    pub tile: TileInfo,
    /// Channels where the decoder holds the most numbers: in front of its last level, whose image has its full size and
    /// still the channels of the level before.
    pub widest: usize,
}

/// The map from the sampler's latents to the decoder's.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Divides the latents.
    pub factor: f32,
    /// Mean and standard deviation of each latent channel, where the model was trained with them and its pipeline applies
    /// them. No pipeline that is implemented applies the config's `shift_factor`.
    pub statistics: Option<(Vec<f32>, Vec<f32>)>,
}

/// The tiles of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileInfo {
    /// Sides in pixels, where the config says them.
    pub sample_size: Option<usize>,
    /// Into how many parts the overlap with a neighbour divides a side.
    pub overlaps: usize,
    /// How tiles are joined.
    pub seams: Seams,
}

/// The config of a decoder.
pub trait DecoderConfig: Debug + Send + Sync {
    /// Its sizes.
    fn info(&self) -> DecoderInfo;

    /// Loads the network; what is missing is noted in `weights`.
    fn load(&self, weights: &mut Weights) -> Arc<dyn Decoder>;
}

/// A decoder.
pub trait Decoder: Debug + Send + Sync {
    /// Decodes `[batch, height, width, channels]` to images in about `-1..=1`, `[batch, height', width', 3]`.
    fn forward(&self, latents: Tensor<4>) -> Tensor<4>;
}

/// Reads `<folder>/config.json`; `folder` is empty for a decoder in a folder of its own.
///
/// # Errors
/// Where it is absent, damaged or not implemented.
pub fn config(model: &ModelFiles, folder: &str) -> Result<Box<dyn DecoderConfig>> {
    let keys = Keys::read(model, &in_folder(folder, "config.json"))?;
    keys.refuse_except(&[("out_channels", &["3"])])?;
    let class = PartClass::of(model, (folder, "vae"), &keys, CLASSES[0].name)?;
    match CLASSES.iter().find(|known| known.name == class.name) {
        Some(known) => (known.parse)(&keys),
        None => Err(class.unknown(CLASSES.iter().map(|known| known.name))),
    }
}

/// A number that divides latents.
pub(crate) fn scaling_factor(keys: &Keys, default: f64) -> Result<f32> {
    const KEY: &str = "scaling_factor";
    let factor: f64 = keys.or(KEY, default)?;
    keys.check(KEY, factor.is_finite() && factor != 0.0, factor, "a finite number other than 0")?;
    Ok(factor as f32)
}

/// Whether a decoder sees a large image as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decoding {
    /// It does.
    #[default]
    Whole,
    /// It sees overlapping tiles, so that memory does not grow with the image; what `enable_tiling` does in diffusers.
    Tiled,
}

/// The part that decodes, with the map from the sampler's latents to its own.
#[derive(Clone, Debug)]
pub struct Vae {
    info: DecoderInfo,
    decoder: Arc<dyn Decoder>,
    tiling: Option<Tiling>,
}

impl Vae {
    /// About how many numbers lie between the layers where the decoder is widest, while it decodes one image of `height` x
    /// `width` pixels whole. A residual block holds its input, both of its parts and its output.
    pub fn activations_of(info: &DecoderInfo, [height, width]: [usize; 2]) -> usize {
        3 * height * width * info.widest
    }

    /// As [`Self::activations_of`], of this decoder as it decodes.
    pub fn activations(&self, size: [usize; 2]) -> usize {
        let pixels = self.tiling.as_ref().map(|tiling| tiling.side * tiling.pixels);
        Self::activations_of(&self.info, size.map(|side| side.min(pixels.unwrap_or(side))))
    }

    /// Opens the part `folder` (empty for a decoder in a folder of its own).
    ///
    /// # Errors
    /// Where config or weights are absent, damaged or do not fit each other.
    pub fn open(model: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self> {
        let config = config(model, folder)?;
        let mut weights = Weights::open(model, folder, "diffusion_pytorch_model", placement)?;
        let decoder = config.load(&mut weights);
        weights.finish(&ENCODER)?;
        Ok(Self { info: config.info(), decoder, tiling: None })
    }

    /// As [`Self::open`], with a choice of how large images are decoded.
    ///
    /// # Errors
    /// As [`Self::open`], and where the decoder's sizes cannot be cut into tiles.
    pub fn open_decoding(
        model: &ModelFiles,
        folder: &str,
        placement: &Placement,
        decoding: Decoding,
    ) -> Result<Self> {
        let vae = Self::open(model, folder, placement)?;
        if decoding == Decoding::Whole {
            return Ok(vae);
        }
        let cannot = || Error::Config {
            file: model.display(&in_folder(folder, "config.json")),
            key: "sample_size",
            found: vae.info.tile.sample_size.map_or_else(|| "absent".to_owned(), |size| size.to_string()),
            expected: format!(
                "a multiple of {} to decode in tiles; leave out --vae-tiling",
                4 * vae.info.pixels_per_latent
            ),
        };
        let tiling = Tiling::of(&vae.info).ok_or_else(cannot)?;
        Ok(Self { tiling: Some(tiling), ..vae })
    }

    /// Where a decoder runs best: half precision overflows in some of them, whose config says so.
    pub(crate) fn placement(model: &ModelFiles, folder: &str, placement: &Placement) -> Result<Placement> {
        let overflows = config(model, folder)?.info().overflows_in_half;
        Ok(if overflows && placement.dtype == DType::F16 {
            placement.with_dtype(DType::F32)
        } else {
            placement.clone()
        })
    }

    /// This decoder under a pipeline that does not apply the statistics of the latents.
    pub(crate) fn without_statistics(mut self) -> Self {
        self.info.scaling.statistics = None;
        self
    }

    /// The decoder's sizes.
    pub fn info(&self) -> &DecoderInfo {
        &self.info
    }

    /// Maps one number of the sampler's latents, in `channel`, to the decoder's.
    pub fn unscale(&self, value: f32, channel: usize) -> f32 {
        let Scaling { factor, statistics } = &self.info.scaling;
        match statistics {
            Some((mean, deviation)) => value * deviation[channel] / factor + mean[channel],
            None => value / factor,
        }
    }

    /// Decodes unscaled latents `[batch, height, width, channels]` to images in about `-1..=1`,
    /// `[batch, height', width', 3]`.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(latents)
    }

    /// As [`Self::decode`], of numbers in memory order and tile by tile where that was chosen; gives the images' numbers
    /// with their rows and columns.
    ///
    /// # Errors
    /// Where the device does not return an image.
    pub(crate) fn decode_values(
        &self,
        latents: Vec<f32>,
        dims: [usize; 4],
        placement: &Placement,
    ) -> Result<(Vec<f32>, [usize; 2])> {
        let whole = |latents, dims| {
            let images = self.decode(placement.tensor(latents, dims));
            let [_, height, width, _] = images.dims();
            Ok((read_back(images, "images")?, [height, width]))
        };
        let [_, height, width, channels] = dims;
        let Some(tiling) = self.tiling.filter(|tiling| tiling.applies_to(height, width)) else {
            return whole(latents, dims);
        };
        let mut images = Vec::new();
        for values in latents.chunks(height * width * channels) {
            let latents = Plane { height, width, channels, values: values.to_vec() };
            let image = tiling.decode(&latents, |tile| {
                let (values, [height, width]) =
                    whole(tile.values, [1, tile.height, tile.width, tile.channels])?;
                Ok(Plane { height, width, channels: 3, values })
            })?;
            images.extend(image.values);
        }
        Ok((images, [height, width].map(|size| size * tiling.pixels)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn_tensor::{Device, TensorData};

    use super::*;
    use noisefind_nn::device::{DeviceChoice, DtypeChoice};

    /// The full decoder's tiles are as large as its images in training; those of the small one are 512 pixels, so it is
    /// given smaller ones here.
    #[test]
    fn tiles_join_to_what_diffusers_makes_of_them() {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion");
        let bytes = std::fs::read(golden.join("tiling.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let read = |name: &str| {
            let tensor = file.tensor(name).unwrap();
            let values = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            let [batch, channels, height, width] = tensor.shape()[..] else { panic!("{name}") };
            let values = TensorData::new(values.collect::<Vec<_>>(), [batch, channels, height, width]);
            let channels_last = Tensor::<4>::from_data(values, &Device::flex()).permute([0, 2, 3, 1]);
            (read_back(channels_last, "golden numbers").unwrap(), [batch, height, width, channels])
        };
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).unwrap();
        for (family, name) in [("sd1", "faded"), ("lcm", "laid")] {
            let files = ModelFiles::directory(golden.join(family)).unwrap();
            let mut vae = Vae::open_decoding(&files, "vae", &placement, Decoding::Tiled).unwrap();
            let tiling = vae.tiling.as_mut().unwrap();
            let expected = if family == "lcm" { (256, 32) } else { (8, 2) };
            assert_eq!((tiling.side, tiling.overlap), expected);
            if family == "lcm" {
                (tiling.side, tiling.overlap) = (16, 2);
            }
            for size in ["large", "wide", "native"] {
                let (latents, dims) = read(&format!("{name}.{size}.latents"));
                let (expected, [batch, height, width, _]) = read(&format!("{name}.{size}.pictures"));
                let (found, size_found) = vae.decode_values(latents, dims, &placement).unwrap();
                assert_eq!(size_found, [height, width]);
                assert_eq!(found.len(), batch * height * width * 3);
                let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{name}, {size}: differs by {worst}");
                let (latents, _) = read(&format!("{name}.{size}.latents"));
                let whole = Vae::open(&files, "vae", &placement).unwrap();
                let (whole, _) = whole.decode_values(latents, dims, &placement).unwrap();
                let differs = whole.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) > 1e-2;
                // Only the full decoder leaves images alone that are no larger than a tile.
                assert_eq!(differs, size != "native" || family == "lcm", "{name}, {size}");
            }
        }
    }

    #[test]
    fn a_decoder_that_cannot_be_cut_says_so() {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion/sd1/vae");
        let folder = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(golden.join("config.json")).unwrap();
        assert!(config.contains("\"sample_size\": 16"));
        let changed = config.replace("\"sample_size\": 16", "\"sample_size\": 20");
        std::fs::write(folder.path().join("config.json"), changed).unwrap();
        let weights = "diffusion_pytorch_model.safetensors";
        std::fs::copy(golden.join(weights), folder.path().join(weights)).unwrap();
        let files = ModelFiles::directory(folder.path()).unwrap();
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).unwrap();
        let error = Vae::open_decoding(&files, "", &placement, Decoding::Tiled).unwrap_err().to_string();
        let expected = "config.json: sample_size is 20, expected a multiple of 8 to decode in tiles; leave out --vae-tiling";
        assert!(error.ends_with(expected), "{error}");
        assert!(Vae::open_decoding(&files, "", &placement, Decoding::Whole).is_ok());
    }

    /// The full decoder of Stable Diffusion XL gives black images in half precision.
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

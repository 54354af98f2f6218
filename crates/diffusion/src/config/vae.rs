//! Configs of the decoders, `AutoencoderKL` and `AutoencoderTiny` of diffusers.

use noisefind_nn::config::{Keys, OneOrMany};
use noisefind_nn::error::Result;
use noisefind_nn::files::{ModelFiles, in_folder};

/// Which decoder turns latents into pictures.
#[derive(Clone, Debug, PartialEq)]
pub enum VaeConfig {
    /// The full decoder.
    Kl(AutoencoderKlConfig),
    /// The small distilled decoder (TAESD).
    Tiny(AutoencoderTinyConfig),
}

/// The full decoder's sizes; field names are the config's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderKlConfig {
    /// Latent channels.
    pub latent_channels: usize,
    /// Widths, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks on each level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of all group norms.
    pub norm_num_groups: usize,
    /// Sides in pixels of the pictures that it was trained with, which are those of a tile.
    pub sample_size: usize,
    /// Divides the latents before decoding.
    pub scaling_factor: f32,
    /// Added after the division.
    pub shift_factor: f32,
    /// Mean and standard deviation of each latent channel, where the model was trained with them.
    pub latent_statistics: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether a 1x1 convolution comes first.
    pub use_post_quant_conv: bool,
    /// Whether the middle attends.
    pub mid_block_add_attention: bool,
    /// Whether half precision overflows in this decoder.
    pub force_upcast: bool,
}

/// The small decoder's sizes; field names are the config's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderTinyConfig {
    /// Latent channels.
    pub latent_channels: usize,
    /// Widths on the way up.
    pub decoder_block_out_channels: Vec<usize>,
    /// Blocks on each level on the way up.
    pub num_decoder_blocks: Vec<usize>,
    /// Divides the latents before decoding.
    pub scaling_factor: f32,
    /// Added after the division.
    pub shift_factor: f32,
}

impl VaeConfig {
    /// Reads `<folder>/config.json`; `folder` is empty for a decoder in a folder of its own.
    ///
    /// # Errors
    /// Where it is absent, damaged or not implemented.
    pub fn read(model: &ModelFiles, folder: &str) -> Result<Self> {
        let keys = Keys::read(model, &in_folder(folder, "config.json"))?;
        keys.refuse_except(&[
            ("_class_name", &["AutoencoderKL", "AutoencoderTiny"]),
            ("out_channels", &["3"]),
        ])?;
        let class: String = keys.or("_class_name", "AutoencoderKL".to_owned())?;
        if class == "AutoencoderTiny" { tiny(&keys).map(Self::Tiny) } else { kl(&keys).map(Self::Kl) }
    }

    /// Pixels along each axis for one latent pixel.
    pub fn pixels_per_latent(&self) -> usize {
        let doublings = match self {
            Self::Kl(config) => config.block_out_channels.len() - 1,
            Self::Tiny(config) => config.decoder_block_out_channels.len() - 1,
        };
        1 << doublings
    }

    /// Latent channels.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.latent_channels,
            Self::Tiny(config) => config.latent_channels,
        }
    }
}

fn kl(keys: &Keys) -> Result<AutoencoderKlConfig> {
    keys.refuse_except(&[("act_fn", &["silu", "swish"])])?;
    let norm_num_groups = keys.channels("norm_num_groups", 32)?;
    let block_out_channels = keys.block_channels(&[64], norm_num_groups)?;
    let types: Vec<String> =
        keys.or("up_block_types", vec!["UpDecoderBlock2D".to_owned(); block_out_channels.len()])?;
    let holds =
        types.len() == block_out_channels.len() && types.iter().all(|name| name == "UpDecoderBlock2D");
    keys.check(
        "up_block_types",
        holds,
        format!("{types:?}"),
        "an UpDecoderBlock2D for each of block_out_channels",
    )?;
    let latent_channels = keys.channels("latent_channels", 4)?;
    let sample_size = keys.or("sample_size", OneOrMany::One(32))?.for_each_of(1);
    let statistics = |key| {
        let values: Option<Vec<f32>> = keys.optional(key)?;
        let length = values.as_ref().map_or(latent_channels, Vec::len);
        keys.check(
            key,
            length == latent_channels,
            length,
            format!("{latent_channels} numbers, as latent_channels"),
        )?;
        Ok(values)
    };
    Ok(AutoencoderKlConfig {
        latent_channels,
        layers_per_block: keys.layers("layers_per_block", 1)?,
        norm_num_groups,
        sample_size: sample_size.first().copied().unwrap_or(0),
        scaling_factor: keys.positive("scaling_factor", 0.18215)? as f32,
        shift_factor: keys.or("shift_factor", 0.0)?,
        latent_statistics: statistics("latents_mean")?.zip(statistics("latents_std")?),
        use_post_quant_conv: keys.or("use_post_quant_conv", true)?,
        mid_block_add_attention: keys.or("mid_block_add_attention", true)?,
        force_upcast: keys.or("force_upcast", true)?,
        block_out_channels,
    })
}

fn tiny(keys: &Keys) -> Result<AutoencoderTinyConfig> {
    keys.refuse_except(&[
        ("act_fn", &["relu"]),
        ("upsampling_scaling_factor", &["2"]),
        ("upsample_fn", &["nearest"]),
    ])?;
    let widths: Vec<usize> = keys.or("decoder_block_out_channels", vec![64; 4])?;
    let blocks: Vec<usize> = keys.or("num_decoder_blocks", vec![3, 3, 3, 1])?;
    let plausible =
        |values: &[usize]| !values.is_empty() && values.iter().all(|&value| value > 0 && value <= 4096);
    // The published decoders have one width throughout, and the way from one width to another differs between versions.
    let holds = plausible(&widths) && widths.iter().all(|&width| width == widths[0]);
    keys.check("decoder_block_out_channels", holds, format!("{widths:?}"), "one width, repeated")?;
    let holds = plausible(&blocks) && blocks.len() == widths.len();
    keys.check(
        "num_decoder_blocks",
        holds,
        format!("{blocks:?}"),
        "a number for each of decoder_block_out_channels",
    )?;
    Ok(AutoencoderTinyConfig {
        latent_channels: keys.channels("latent_channels", 4)?,
        decoder_block_out_channels: widths,
        num_decoder_blocks: blocks,
        scaling_factor: keys.positive("scaling_factor", 1.0)? as f32,
        shift_factor: keys.or("shift_factor", 0.0)?,
    })
}

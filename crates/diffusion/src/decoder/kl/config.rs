//! Config of the full decoder, `AutoencoderKL` of diffusers.

use noisefind_nn::config::{Keys, OneOrMany};
use noisefind_nn::error::Result;

/// The decoder's sizes; field names are the config's keys.
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
    /// Sides in pixels of the images that it was trained with, which are those of a tile.
    pub sample_size: usize,
    /// Divides the latents before decoding.
    pub scaling_factor: f32,
    /// Mean and standard deviation of each latent channel, which the pipeline of Stable Diffusion XL applies.
    pub latent_statistics: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether a 1x1 convolution comes first.
    pub use_post_quant_conv: bool,
    /// Whether the middle attends.
    pub mid_block_add_attention: bool,
    /// Whether half precision overflows in this decoder.
    pub force_upcast: bool,
}

impl AutoencoderKlConfig {
    pub(crate) fn from_keys(keys: &Keys) -> Result<Self> {
        keys.refuse_except(&[("act_fn", &["silu", "swish"])])?;
        keys.refuse_null(&["in_channels", "down_block_types"])?;
        let norm_num_groups = keys.channels("norm_num_groups", 32)?;
        let block_out_channels = keys.block_channels(&[64], norm_num_groups)?;
        let types: Vec<String> = keys.or("up_block_types", vec!["UpDecoderBlock2D".to_owned()])?;
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
        Ok(Self {
            latent_channels,
            layers_per_block: keys.layers("layers_per_block", 1)?,
            norm_num_groups,
            sample_size: sample_size.first().copied().unwrap_or(0),
            scaling_factor: super::super::scaling_factor(keys, 0.18215)?,
            latent_statistics: statistics("latents_mean")?.zip(statistics("latents_std")?),
            use_post_quant_conv: keys.flag("use_post_quant_conv", true),
            mid_block_add_attention: keys.flag("mid_block_add_attention", true),
            force_upcast: keys.flag("force_upcast", true),
            block_out_channels,
        })
    }
}

//! Config of the small decoder, `AutoencoderTiny` of diffusers.

use noisefind_nn::config::Keys;
use noisefind_nn::error::Result;

/// The decoder's sizes; field names are the config's keys.
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
    /// Whether half precision overflows in this decoder.
    pub force_upcast: bool,
}

impl AutoencoderTinyConfig {
    pub(crate) fn from_keys(keys: &Keys) -> Result<Self> {
        keys.refuse_except(&[
            ("act_fn", &["relu"]),
            ("upsampling_scaling_factor", &["2"]),
            ("upsample_fn", &["nearest"]),
        ])?;
        let encoder_widths: Vec<usize> = keys.or("encoder_block_out_channels", vec![64; 4])?;
        let encoder_blocks: Vec<usize> = keys.or("num_encoder_blocks", vec![1, 3, 3, 3])?;
        keys.check(
            "encoder_block_out_channels",
            encoder_widths.len() == encoder_blocks.len(),
            format!("{encoder_widths:?}"),
            format!("a width for each of num_encoder_blocks ({encoder_blocks:?})"),
        )?;
        keys.refuse_null(&["in_channels"])?;
        let widths: Vec<usize> = keys.or("decoder_block_out_channels", vec![64; 4])?;
        let blocks: Vec<usize> = keys.or("num_decoder_blocks", vec![3, 3, 3, 1])?;
        let plausible = |values: &[usize], least| {
            !values.is_empty() && values.iter().all(|value| (least..=4096).contains(value))
        };
        // The published decoders have one width throughout, and the way from one width to another differs between versions.
        let holds = plausible(&widths, 1) && widths.iter().all(|&width| width == widths[0]);
        keys.check("decoder_block_out_channels", holds, format!("{widths:?}"), "one width, repeated")?;
        let holds = plausible(&blocks, 0) && blocks.len() == widths.len();
        keys.check(
            "num_decoder_blocks",
            holds,
            format!("{blocks:?}"),
            "a number for each of decoder_block_out_channels",
        )?;
        Ok(Self {
            latent_channels: keys.channels("latent_channels", 4)?,
            decoder_block_out_channels: widths,
            num_decoder_blocks: blocks,
            scaling_factor: super::super::scaling_factor(keys, 1.0)?,
            force_upcast: keys.flag("force_upcast", false),
        })
    }
}

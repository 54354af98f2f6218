//! Config of the denoiser, `UNet2DConditionModel` of diffusers.

use super::super::TextTimeConfig;
use noisefind_nn::config::{Keys, OneOrMany};
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;

/// The denoiser's sizes; field names are the config's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct UnetConfig {
    /// Native latent rows and columns.
    pub sample_size: [usize; 2],
    /// Latent channels in.
    pub in_channels: usize,
    /// Latent channels out.
    pub out_channels: usize,
    /// Whether the input is mapped by `2 x - 1`.
    pub center_input_sample: bool,
    /// Whether a time embedding starts with cosines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the divisor of the time frequencies.
    pub freq_shift: f32,
    /// Blocks on the way down, outermost first.
    pub down_blocks: Vec<UnetBlock>,
    /// Blocks on the way up, innermost first.
    pub up_blocks: Vec<UnetBlock>,
    /// Widths, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks on each level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Padding of the halving convolutions.
    pub downsample_padding: usize,
    /// Groups of all group norms.
    pub norm_num_groups: usize,
    /// Under the square root of the residual blocks' group norms.
    pub norm_eps: f32,
    /// Width of the text's hidden states.
    pub cross_attention_dim: usize,
    /// Whether half-precision attention scores are computed in f32.
    pub upcast_attention: bool,
    /// Width of the time embedding.
    pub time_embed_dim: usize,
    /// Width of the embedded guidance scale of distilled models.
    pub time_cond_proj_dim: Option<usize>,
    /// Pooled text and picture sizes as further conditioning.
    pub text_time: Option<TextTimeConfig>,
    /// Transformer blocks and heads of the middle.
    pub mid_block: UnetBlock,
}

/// One level of the denoiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnetBlock {
    /// Transformer blocks after each residual block; 0 where the level has no attention.
    pub transformer_layers: usize,
    /// Attention heads.
    pub heads: usize,
}

/// Keys with mathematics that is not implemented, and the values that switch it off.
const REFUSED: &[(&str, &[&str])] = &[
    ("act_fn", &["silu", "swish"]),
    ("addition_embed_type", &["text_time"]),
    ("attention_type", &["default"]),
    ("class_embed_type", &[]),
    ("class_embeddings_concat", &["false"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &[]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim", &[]),
    ("encoder_hid_dim_type", &[]),
    ("mid_block_only_cross_attention", &["false"]),
    ("mid_block_scale_factor", &["1", "1.0"]),
    ("mid_block_type", &["UNetMidBlock2DCrossAttn"]),
    ("num_attention_heads", &[]),
    ("num_class_embeds", &[]),
    ("only_cross_attention", &["false"]),
    ("quantization_config", &[]),
    ("resnet_out_scale_factor", &["1", "1.0"]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &["default"]),
    ("reverse_transformer_layers_per_block", &[]),
    ("time_embedding_act_fn", &[]),
    ("time_embedding_type", &["positional"]),
    ("timestep_post_act", &[]),
];

impl UnetConfig {
    /// Reads `unet/config.json`.
    ///
    /// # Errors
    /// Where it is absent, damaged or not implemented.
    pub fn read(model: &ModelFiles) -> Result<Self> {
        Self::from_keys(&Keys::read(model, "unet/config.json")?)
    }

    pub(crate) fn from_keys(keys: &Keys) -> Result<Self> {
        keys.refuse_except(REFUSED)?;
        let norm_num_groups = keys.channels("norm_num_groups", 32)?;
        let block_out_channels = keys.block_channels(&[320, 640, 1280, 1280], norm_num_groups)?;
        let levels = block_out_channels.len();
        let per_level = |key, default: usize| {
            let values = keys.or(key, OneOrMany::One(default))?.for_each_of(levels);
            let holds = values.len() == levels && values.iter().all(|&value| value > 0 && value <= 1024);
            keys.check(key, holds, format!("{values:?}"), format!("{levels} numbers from 1 to 1024"))?;
            Ok(values)
        };
        let heads: Vec<usize> = per_level("attention_head_dim", 8)?;
        let layers: Vec<usize> = per_level("transformer_layers_per_block", 1)?;
        for (&heads, &channels) in heads.iter().zip(&block_out_channels) {
            let expected = format!("numbers of heads that divide block_out_channels ({channels})");
            keys.check("attention_head_dim", channels.is_multiple_of(heads), heads, expected)?;
        }
        let block = |level: usize, attends| UnetBlock {
            transformer_layers: if attends { layers[level] } else { 0 },
            heads: heads[level],
        };
        let down = block_types(
            keys,
            "down_block_types",
            ["CrossAttnDownBlock2D", "DownBlock2D"],
            levels,
            levels - 1,
        )?;
        let up = block_types(keys, "up_block_types", ["CrossAttnUpBlock2D", "UpBlock2D"], levels, 0)?;
        let text_time = match keys.optional::<String>("addition_embed_type")? {
            None => None,
            Some(_) => Some(TextTimeConfig {
                addition_time_embed_dim: keys.channels("addition_time_embed_dim", 256)?,
                projection_class_embeddings_input_dim: keys
                    .required("projection_class_embeddings_input_dim")?,
            }),
        };
        let time_embed_dim = keys.channels("time_embedding_dim", 4 * block_out_channels[0])?;
        Ok(Self {
            sample_size: sample_size(keys)?,
            in_channels: keys.channels("in_channels", 4)?,
            out_channels: keys.channels("out_channels", 4)?,
            center_input_sample: keys.or("center_input_sample", false)?,
            flip_sin_to_cos: keys.or("flip_sin_to_cos", true)?,
            freq_shift: keys.or("freq_shift", 0.0)?,
            down_blocks: down.iter().enumerate().map(|(level, &attends)| block(level, attends)).collect(),
            up_blocks: up.iter().enumerate().map(|(at, &attends)| block(levels - 1 - at, attends)).collect(),
            mid_block: block(levels - 1, true),
            layers_per_block: keys.layers("layers_per_block", 2)?,
            downsample_padding: keys.size("downsample_padding", 1, 1)?,
            norm_num_groups,
            norm_eps: keys.positive("norm_eps", 1e-5)? as f32,
            cross_attention_dim: keys.channels("cross_attention_dim", 1280)?,
            upcast_attention: keys.or("upcast_attention", false)?,
            time_embed_dim,
            time_cond_proj_dim: keys.optional("time_cond_proj_dim")?,
            text_time,
            block_out_channels,
        })
    }
}

/// For each level, whether it attends; `plain` is the level that does not by default.
fn block_types(
    keys: &Keys,
    key: &'static str,
    [attending, other]: [&str; 2],
    levels: usize,
    plain: usize,
) -> Result<Vec<bool>> {
    let types: Option<Vec<String>> = keys.optional(key)?;
    let Some(types) = types else {
        return Ok((0..levels).map(|level| level != plain).collect());
    };
    keys.check(
        key,
        types.len() == levels,
        types.len(),
        format!("{levels} block types, as block_out_channels"),
    )?;
    types
        .iter()
        .map(|name| match name.as_str() {
            name if name == attending => Ok(true),
            name if name == other => Ok(false),
            name => {
                Err(keys.invalid(key, name, format!("{attending} or {other}; others are not implemented")))
            }
        })
        .collect()
}

fn sample_size(keys: &Keys) -> Result<[usize; 2]> {
    const KEY: &str = "sample_size";
    let sizes = keys.or(KEY, OneOrMany::One(64))?.for_each_of(2);
    match sizes[..] {
        [height, width] if (1..=8192).contains(&height) && (1..=8192).contains(&width) => Ok([height, width]),
        _ => Err(keys.invalid(KEY, format!("{sizes:?}"), "one or two numbers from 1 to 8192")),
    }
}

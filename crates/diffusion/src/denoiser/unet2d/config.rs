//! Config of the denoiser, `UNet2DConditionModel` of diffusers.

use serde_json::Value;

use super::super::TextTimeConfig;
use noisefind_nn::config::{ConfigValue, Keys, OneOrMany};
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;

/// The denoiser's sizes; field names are the config's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct UnetConfig {
    /// Native latent rows and columns, where the config says them.
    pub sample_size: Option<[usize; 2]>,
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
    /// Pooled text and image sizes as further conditioning.
    pub text_time: Option<TextTimeConfig>,
    /// What lies between the way down and the way up.
    pub mid_block: MidBlockConfig,
    /// How the frames of a clip see each other; `None` for still images.
    pub temporal: Option<TemporalConfig>,
}

/// How the frames of a clip see each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemporalConfig {
    /// `UNet3DConditionModel`: temporal convolutions and transformers.
    Layers {
        /// Channels of one head of the temporal transformers.
        head_dim: usize,
    },
    /// `UNetMotionModel`: AnimateDiff's motion modules.
    Motion(MotionConfig),
}

/// The motion modules of AnimateDiff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MotionConfig {
    /// Attention heads of each level, outermost first.
    pub heads: Vec<usize>,
    /// Transformer blocks of each module of a level, outermost first.
    pub layers: Vec<usize>,
    /// Transformer blocks of the module of the middle, where there is one.
    pub mid_layers: Option<usize>,
    /// The most frames of a clip.
    pub max_seq_length: usize,
}

impl TemporalConfig {
    /// The most frames of a clip, where there is a limit.
    pub fn max_frames(&self) -> Option<usize> {
        match self {
            Self::Layers { .. } => None,
            Self::Motion(motion) => Some(motion.max_seq_length),
        }
    }
}

/// One level of the denoiser, on the way down or up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnetBlock {
    /// Residual blocks.
    pub resnets: usize,
    /// What stands after each residual block, where the level attends.
    pub attention: Option<UnetAttention>,
}

/// The transformers of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnetAttention {
    /// Transformer blocks after each residual block in turn; 0 leaves the projections alone.
    pub layers: Vec<usize>,
    /// Attention heads.
    pub heads: usize,
    /// Whether the first attention of each block sees the text as well, and no block the pixels.
    pub only_text: bool,
}

/// The innermost level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MidBlockConfig {
    /// There is none.
    Absent,
    /// One residual block.
    Residual,
    /// A transformer between two residual blocks.
    Attending(UnetAttention),
}

const MID_CROSS_ATTENTION: &str = "UNetMidBlock2DCrossAttn";
/// The middle of distilled models (SSD-1B, Segmind-Vega).
const MID_RESIDUAL: &str = "UNetMidBlock2D";
/// Largest number of layers, blocks or heads that is read; real ones are below 100.
pub(super) const MOST: usize = 1024;

/// Keys with mathematics that is not implemented, and the values that switch it off.
const REFUSED: &[(&str, &[&str])] = &[
    ("act_fn", &["silu", "swish"]),
    ("addition_embed_type", &["text_time", "null"]),
    ("attention_type", &["default", "null"]),
    ("class_embed_type", &[]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("dual_cross_attention", &["false", "null"]),
    ("encoder_hid_dim", &[]),
    ("encoder_hid_dim_type", &[]),
    ("mid_block_scale_factor", &["1", "1.0"]),
    ("mid_block_type", &[MID_CROSS_ATTENTION, MID_RESIDUAL, "null"]),
    ("num_attention_heads", &[]),
    ("num_class_embeds", &[]),
    ("quantization_config", &[]),
    ("resnet_time_scale_shift", &["default"]),
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
        keys.refuse_null(&["dropout", "_class_name"])?;
        let norm_num_groups = keys.channels("norm_num_groups", 32)?;
        let block_out_channels = keys.block_channels(&[320, 640, 1280, 1280], norm_num_groups)?;
        let levels = block_out_channels.len();
        let heads = per_level(keys, "attention_head_dim", 8, levels)?;
        let resnets = per_level(keys, "layers_per_block", 2, levels)?;
        let only_text = only_cross_attention(keys, levels)?;
        let layers = TransformerLayers::read(keys, levels)?;
        let attention = |level: usize, layers: Vec<usize>, only_text| {
            let (heads, channels) = (heads[level], block_out_channels[level]);
            let expected = format!("at most one head for each of block_out_channels ({channels})");
            keys.check("attention_head_dim", heads <= channels, heads, expected)?;
            Ok(UnetAttention { layers, heads, only_text })
        };
        let attends = block_types(
            keys,
            "down_block_types",
            ["CrossAttnDownBlock2D", "DownBlock2D"],
            levels,
            levels - 1,
        )?;
        let mut down_blocks = Vec::new();
        for (level, attends) in attends.into_iter().enumerate() {
            let resnets = resnets[level];
            let of_level = |level| attention(level, layers.down(keys, level, resnets)?, only_text[level]);
            let attention = if attends { Some(of_level(level)?) } else { None };
            down_blocks.push(UnetBlock { resnets, attention });
        }
        let attends = block_types(keys, "up_block_types", ["CrossAttnUpBlock2D", "UpBlock2D"], levels, 0)?;
        let mut up_blocks = Vec::new();
        for (at, attends) in attends.into_iter().enumerate() {
            let level = levels - 1 - at;
            let resnets = resnets[level] + 1;
            let of_level = |level| attention(level, layers.up(keys, at, resnets)?, only_text[level]);
            let attention = if attends { Some(of_level(level)?) } else { None };
            up_blocks.push(UnetBlock { resnets, attention });
        }
        let mid_block = if keys.is_null("mid_block_type") {
            MidBlockConfig::Absent
        } else if keys.or("mid_block_type", MID_CROSS_ATTENTION.to_owned())? == MID_RESIDUAL {
            MidBlockConfig::Residual
        } else {
            MidBlockConfig::Attending(attention(levels - 1, layers.mid(keys)?, false)?)
        };
        let text_time = match keys.optional::<String>("addition_embed_type")? {
            None => None,
            Some(_) => Some(TextTimeConfig {
                addition_time_embed_dim: keys.required("addition_time_embed_dim")?,
                projection_class_embeddings_input_dim: keys
                    .required("projection_class_embeddings_input_dim")?,
            }),
        };
        let time_embed_dim = match keys.optional("time_embedding_dim")? {
            // Python takes 0 for no value here.
            None | Some(0) => 4 * block_out_channels[0],
            Some(width) => width,
        };
        Ok(Self {
            sample_size: sample_size(keys)?,
            in_channels: keys.channels("in_channels", 4)?,
            out_channels: keys.channels("out_channels", 4)?,
            center_input_sample: keys.flag("center_input_sample", false),
            flip_sin_to_cos: keys.flag("flip_sin_to_cos", true),
            freq_shift: keys.or("freq_shift", 0.0)?,
            down_blocks,
            up_blocks,
            mid_block,
            downsample_padding: downsample_padding(keys)?,
            norm_num_groups,
            norm_eps: keys.epsilon("norm_eps", 1e-5)?,
            cross_attention_dim: cross_attention_dim(keys, levels)?,
            upcast_attention: keys.flag("upcast_attention", false),
            time_embed_dim,
            time_cond_proj_dim: keys.optional("time_cond_proj_dim")?,
            text_time,
            temporal: None,
            block_out_channels,
        })
    }
}

/// A number from 1 on for each level, given once or level by level.
pub(super) fn per_level(keys: &Keys, key: &'static str, default: usize, levels: usize) -> Result<Vec<usize>> {
    let values = keys.or(key, OneOrMany::One(default))?.for_each_of(levels);
    let holds = values.len() == levels && values.iter().all(|value| (1..=MOST).contains(value));
    let expected = format!("{levels} numbers from 1 to {MOST}, one for each of block_out_channels");
    keys.check(key, holds, format!("{values:?}"), expected)?;
    Ok(values)
}

/// Width of the text, which all levels see.
fn cross_attention_dim(keys: &Keys, levels: usize) -> Result<usize> {
    const KEY: &str = "cross_attention_dim";
    let widths = keys.or(KEY, OneOrMany::One(1280))?.for_each_of(levels);
    let holds = widths.len() == levels && widths[0] > 0 && widths.iter().all(|width| *width == widths[0]);
    keys.check(
        KEY,
        holds,
        format!("{widths:?}"),
        format!("one width of the text, or {levels} times the same"),
    )?;
    Ok(widths[0])
}

/// For each level, whether it sees nothing but the text.
fn only_cross_attention(keys: &Keys, levels: usize) -> Result<Vec<bool>> {
    const KEY: &str = "only_cross_attention";
    let value = keys.or(KEY, Value::Bool(false))?;
    let parsed = match &value {
        Value::Bool(one) => Some(vec![*one; levels]),
        Value::Array(many) => many.iter().map(Value::as_bool).collect(),
        _ => None,
    };
    parsed
        .filter(|values| values.len() == levels)
        .ok_or_else(|| keys.invalid(KEY, &value, format!("true, false or {levels} of them")))
}

/// Numbers of transformer blocks: one for all levels, one a level, or one for each residual block of a level.
struct TransformerLayers {
    down: Vec<OneOrMany>,
    /// Where the way up has numbers of its own, innermost level first.
    up: Option<Vec<OneOrMany>>,
}

impl TransformerLayers {
    const DOWN: &str = "transformer_layers_per_block";
    const UP: &str = "reverse_transformer_layers_per_block";

    fn read(keys: &Keys, levels: usize) -> Result<Self> {
        let expected = || format!("a number, or {levels} numbers or lists of numbers");
        let read = |key| match keys.optional::<Value>(key)? {
            None => Ok(None),
            Some(Value::Number(one)) if key == Self::DOWN => {
                let one = one.as_u64().ok_or_else(|| keys.invalid(key, &one, expected()))?;
                Ok(Some((0..levels).map(|_| OneOrMany::One(one as usize)).collect()))
            }
            Some(value) => {
                let many = value.as_array().and_then(|many| many.iter().map(OneOrMany::of).collect());
                many.filter(|many: &Vec<OneOrMany>| many.len() >= levels)
                    .map(Some)
                    .ok_or_else(|| keys.invalid(key, &value, expected()))
            }
        };
        keys.refuse_null(&[Self::DOWN])?;
        let down = read(Self::DOWN)?.unwrap_or_else(|| (0..levels).map(|_| OneOrMany::One(1)).collect());
        Ok(Self { down, up: read(Self::UP)? })
    }

    /// Blocks after each of the residual blocks of a level on the way down.
    fn down(&self, keys: &Keys, level: usize, resnets: usize) -> Result<Vec<usize>> {
        Self::of_level(keys, Self::DOWN, &self.down[level], resnets)
    }

    /// Blocks in the middle, which has the list's last number, also where it is longer than there are levels.
    fn mid(&self, keys: &Keys) -> Result<Vec<usize>> {
        Self::of_level(keys, Self::DOWN, &self.down[self.down.len() - 1], 1)
    }

    /// The same on the way up, `at` counted from the innermost level.
    fn up(&self, keys: &Keys, at: usize, resnets: usize) -> Result<Vec<usize>> {
        let mirrored = &self.down[self.down.len() - 1 - at];
        match (&self.up, mirrored) {
            (Some(up), _) => Self::of_level(keys, Self::UP, &up[at], resnets),
            (None, OneOrMany::Many(_)) => {
                let expected = format!("{} as well, since {} holds lists", Self::UP, Self::DOWN);
                Err(keys.invalid(Self::UP, "absent", expected))
            }
            (None, one) => Self::of_level(keys, Self::DOWN, one, resnets),
        }
    }

    /// A list may be longer than the level, as the published ones are.
    fn of_level(keys: &Keys, key: &'static str, layers: &OneOrMany, resnets: usize) -> Result<Vec<usize>> {
        let layers = match layers {
            OneOrMany::One(one) => vec![*one; resnets],
            OneOrMany::Many(many) => many.clone(),
        };
        let holds = layers.len() >= resnets && layers.iter().all(|&layers| layers <= MOST);
        let expected = format!("at least {resnets} numbers up to {MOST} for this level");
        keys.check(key, holds, format!("{layers:?}"), expected)?;
        Ok(layers[..resnets].to_vec())
    }
}

/// For each level, whether it attends; `plain` is the level that does not by default.
pub(super) fn block_types(
    keys: &Keys,
    key: &'static str,
    [attending, other]: [&str; 2],
    levels: usize,
    plain: usize,
) -> Result<Vec<bool>> {
    /// Levels of the defaults.
    const DEFAULT: usize = 4;
    let default = || {
        let plain = if plain > 0 { DEFAULT - 1 } else { 0 };
        (0..DEFAULT).map(|level| if level == plain { other } else { attending }.to_owned()).collect()
    };
    let types: Vec<String> = keys.or(key, default())?;
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

/// Padding of the halving convolutions: 0 stands for zeros after each axis and none before it.
pub(super) fn downsample_padding(keys: &Keys) -> Result<usize> {
    const KEY: &str = "downsample_padding";
    let padding = keys.or(KEY, 1)?;
    keys.check(KEY, padding <= 1, padding, "0 or 1")?;
    Ok(padding)
}

/// Rows and columns of the latents, where the config says them.
pub(super) fn sample_size(keys: &Keys) -> Result<Option<[usize; 2]>> {
    const KEY: &str = "sample_size";
    let Some(sizes) = keys.optional::<OneOrMany>(KEY)? else { return Ok(None) };
    let sizes = sizes.for_each_of(2);
    match sizes[..] {
        [height, width] if (1..=8192).contains(&height) && (1..=8192).contains(&width) => {
            Ok(Some([height, width]))
        }
        _ => Err(keys.invalid(KEY, format!("{sizes:?}"), "one or two numbers from 1 to 8192")),
    }
}

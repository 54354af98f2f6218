//! Configs of the U-Nets that generate clips: `UNet3DConditionModel` and `UNetMotionModel` of diffusers.

use noisefind_nn::config::Keys;
use noisefind_nn::error::Result;

use super::config::{
    MidBlockConfig, MotionConfig, TemporalConfig, UnetAttention, UnetBlock, UnetConfig, block_types,
    downsample_padding, per_level, sample_size,
};

/// Keys with mathematics that is not implemented, and the values that switch it off.
const REFUSED: &[(&str, &[&str])] = &[
    ("act_fn", &["silu", "swish"]),
    // Hotshot-XL calls its own network of SDXL's layout by the same class name.
    ("addition_embed_type", &[]),
    ("encoder_hid_dim", &[]),
    ("encoder_hid_dim_type", &[]),
    ("mid_block_scale_factor", &["1", "1.0"]),
    ("quantization_config", &[]),
    ("time_cond_proj_dim", &[]),
];

/// What the two classes have in common: names of blocks, heads and transformer blocks of each level.
struct Levels {
    class: &'static str,
    heads: Vec<usize>,
    layers: Vec<usize>,
    mid_layers: usize,
    temporal: TemporalConfig,
    cross_attention_dim: usize,
}

impl UnetConfig {
    /// Reads the config of a `UNet3DConditionModel`, in which `attention_head_dim` is the width of a head.
    pub(crate) fn from_keys_3d(keys: &Keys) -> Result<Self> {
        keys.refuse_except(&[REFUSED, &[("num_attention_heads", &[] as &[&str])]].concat())?;
        let head_dim = keys.channels("attention_head_dim", 64)?;
        let channels = block_channels(keys)?;
        let levels = Levels {
            class: "3D",
            heads: channels.iter().map(|channels| channels / head_dim).collect(),
            layers: vec![1; channels.len()],
            mid_layers: 1,
            temporal: TemporalConfig::Layers { head_dim },
            cross_attention_dim: 1024,
        };
        let config = Self::from_levels(keys, channels, levels)?;
        let innermost = config.block_out_channels.len() - 1;
        for (level, channels) in config.block_out_channels.iter().enumerate() {
            let blocks = [&config.down_blocks[level], &config.up_blocks[innermost - level]];
            // Levels that do not attend have no heads.
            let attends = level == innermost || blocks.iter().any(|block| block.attention.is_some());
            let expected = format!("a divisor of block_out_channels ({channels})");
            let fits = !attends || channels.is_multiple_of(head_dim);
            keys.check("attention_head_dim", fits, head_dim, expected)?;
        }
        Ok(config)
    }

    /// Reads the config of a `UNetMotionModel`, a U-Net of still images with motion modules.
    pub(crate) fn from_motion_keys(keys: &Keys) -> Result<Self> {
        keys.refuse_except(
            &[
                REFUSED,
                &[
                    ("mid_block_layers", &["1"] as &[&str]),
                    ("reverse_motion_num_attention_heads", &[]),
                    ("reverse_temporal_transformer_layers_per_block", &[]),
                    ("reverse_transformer_layers_per_block", &[]),
                ],
            ]
            .concat(),
        )?;
        let channels = block_channels(keys)?;
        let count = channels.len();
        let layers = per_level(keys, "transformer_layers_per_block", 1, count)?;
        let motion = MotionConfig {
            heads: per_level(keys, "motion_num_attention_heads", 8, count)?,
            layers: per_level(keys, "temporal_transformer_layers_per_block", 1, count)?,
            mid_layers: match keys.flag("use_motion_mid_block", true) {
                true => Some(keys.layers("temporal_transformer_layers_per_mid_block", 1)?),
                false => None,
            },
            max_seq_length: keys.size("motion_max_seq_length", 32, 4096)?,
        };
        motion.check_heads(keys, "motion_num_attention_heads", &channels)?;
        let mid_layers = keys.optional("transformer_layers_per_mid_block")?.unwrap_or(layers[count - 1]);
        let heads = per_level(keys, "num_attention_heads", 8, count)?;
        let temporal = TemporalConfig::Motion(motion);
        let levels =
            Levels { class: "Motion", heads, layers, mid_layers, temporal, cross_attention_dim: 1280 };
        Self::from_levels(keys, channels, levels)
    }

    fn from_levels(keys: &Keys, block_out_channels: Vec<usize>, levels: Levels) -> Result<Self> {
        let count = block_out_channels.len();
        let resnets = per_level(keys, "layers_per_block", 2, count)?;
        let block = |level: usize, resnets: usize, attends: bool| UnetBlock {
            resnets,
            attention: attends.then(|| levels.attention(level, resnets)),
        };
        let names = |stem: &str| {
            [format!("CrossAttn{stem}Block{}", levels.class), format!("{stem}Block{}", levels.class)]
        };
        let [attending, plain] = names("Down");
        let down = block_types(keys, "down_block_types", [&attending, &plain], count, count - 1)?;
        let [attending, plain] = names("Up");
        let up = block_types(keys, "up_block_types", [&attending, &plain], count, 0)?;
        Ok(Self {
            sample_size: sample_size(keys)?,
            in_channels: keys.channels("in_channels", 4)?,
            out_channels: keys.channels("out_channels", 4)?,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_blocks: down
                .iter()
                .enumerate()
                .map(|(at, &attends)| block(at, resnets[at], attends))
                .collect(),
            up_blocks: up
                .iter()
                .enumerate()
                .map(|(at, &attends)| block(count - 1 - at, resnets[count - 1 - at] + 1, attends))
                .collect(),
            mid_block: MidBlockConfig::Attending(UnetAttention {
                layers: vec![levels.mid_layers],
                ..levels.attention(count - 1, 1)
            }),
            downsample_padding: downsample_padding(keys)?,
            norm_num_groups: keys.channels("norm_num_groups", 32)?,
            norm_eps: keys.epsilon("norm_eps", 1e-5)?,
            cross_attention_dim: keys.channels("cross_attention_dim", levels.cross_attention_dim)?,
            upcast_attention: false,
            time_embed_dim: 4 * block_out_channels[0],
            time_cond_proj_dim: None,
            text_time: None,
            temporal: Some(levels.temporal),
            block_out_channels,
        })
    }
}

impl Levels {
    fn attention(&self, level: usize, resnets: usize) -> UnetAttention {
        UnetAttention {
            layers: vec![self.layers[level]; resnets],
            heads: self.heads[level],
            only_text: false,
        }
    }
}

impl MotionConfig {
    /// Heads divide the channels of their level.
    pub(super) fn check_heads(&self, keys: &Keys, key: &'static str, channels: &[usize]) -> Result<()> {
        for (heads, channels) in self.heads.iter().zip(channels) {
            let expected = format!("divisors of block_out_channels ({channels})");
            keys.check(key, channels.is_multiple_of(*heads), heads, expected)?;
        }
        Ok(())
    }
}

fn block_channels(keys: &Keys) -> Result<Vec<usize>> {
    keys.block_channels(&[320, 640, 1280, 1280], keys.channels("norm_num_groups", 32)?)
}

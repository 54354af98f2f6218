//! Configs of CLIP's towers, `CLIPTextConfig`, `CLIPVisionConfig` and `CLIPConfig` of transformers.

use noisefind_kernels::Activation;

use super::Keys;
use crate::error::Result;
use crate::files::{ModelFiles, in_folder};

/// The text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTextConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// Channels of the residual stream.
    pub hidden_size: usize,
    /// Channels inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Longest token sequence.
    pub max_position_embeddings: usize,
    /// Non-linearity of the feed-forward layers.
    pub hidden_act: Activation,
    /// Under the square root of layer norms.
    pub layer_norm_eps: f32,
    /// The token whose first place is pooled; 2 stands for "the largest id", as in all early files.
    pub eos_token_id: u32,
    /// Width of the projected embedding, where there may be one.
    pub projection_dim: Option<usize>,
}

impl ClipTextConfig {
    /// Reads `<folder>/config.json`.
    ///
    /// # Errors
    /// Where it is absent, damaged or not implemented.
    pub fn read(model: &ModelFiles, folder: &str) -> Result<Self> {
        Self::from_keys(&Keys::read(model, &format!("{folder}/config.json"))?)
    }

    pub(super) fn from_keys(keys: &Keys) -> Result<Self> {
        let tower = Tower::from_keys(keys, 512, 2048, 12, 8)?;
        // A mask over the padding changes what every token sees; no published pipeline asks for it.
        keys.refuse_except(&[("use_attention_mask", &["false", "null"])])?;
        Ok(Self {
            vocab_size: keys.size("vocab_size", 49408, 1 << 24)?,
            hidden_size: tower.hidden_size,
            intermediate_size: tower.intermediate_size,
            num_hidden_layers: tower.layers,
            num_attention_heads: tower.heads,
            max_position_embeddings: keys.channels("max_position_embeddings", 77)?,
            hidden_act: tower.activation,
            layer_norm_eps: tower.epsilon,
            eos_token_id: keys.or("eos_token_id", 49407)?,
            projection_dim: match keys.is_null("projection_dim") {
                true => None,
                false => Some(keys.channels("projection_dim", 512)?),
            },
        })
    }
}

/// The vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVisionConfig {
    /// Channels of the residual stream.
    pub hidden_size: usize,
    /// Channels inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Rows and columns of the images that it takes.
    pub image_size: usize,
    /// Rows and columns of a patch.
    pub patch_size: usize,
    /// Non-linearity of the feed-forward layers.
    pub hidden_act: Activation,
    /// Under the square root of layer norms.
    pub layer_norm_eps: f32,
}

impl ClipVisionConfig {
    pub(super) fn from_keys(keys: &Keys) -> Result<Self> {
        let tower = Tower::from_keys(keys, 768, 3072, 12, 12)?;
        keys.refuse_except(&[("num_channels", &["3"])])?;
        let image_size = keys.channels("image_size", 224)?;
        let patch_size = keys.channels("patch_size", 32)?;
        keys.check(
            "patch_size",
            patch_size <= image_size,
            patch_size,
            format!("at most image_size ({image_size})"),
        )?;
        Ok(Self {
            hidden_size: tower.hidden_size,
            intermediate_size: tower.intermediate_size,
            num_hidden_layers: tower.layers,
            num_attention_heads: tower.heads,
            image_size,
            patch_size,
            hidden_act: tower.activation,
            layer_norm_eps: tower.epsilon,
        })
    }
}

/// Both towers and the width of the space in which they meet.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The text tower.
    pub text: ClipTextConfig,
    /// The vision tower.
    pub vision: ClipVisionConfig,
    /// Width of both projected embeddings.
    pub projection_dim: usize,
}

impl ClipConfig {
    /// Reads `config.json` in `folder` (empty for the model's top).
    ///
    /// # Errors
    /// Where it is absent, damaged or not implemented.
    pub fn read(model: &ModelFiles, folder: &str) -> Result<Self> {
        let keys = Keys::read(model, &in_folder(folder, "config.json"))?;
        keys.refuse_except(&[("model_type", &["clip"])])?;
        let tower = |key| keys.object(key)?.ok_or_else(|| keys.invalid(key, "absent", "the tower's config"));
        Ok(Self {
            text: ClipTextConfig::from_keys(&tower("text_config")?)?,
            vision: ClipVisionConfig::from_keys(&tower("vision_config")?)?,
            projection_dim: keys.channels("projection_dim", 512)?,
        })
    }
}

/// What both towers have.
struct Tower {
    hidden_size: usize,
    intermediate_size: usize,
    layers: usize,
    heads: usize,
    activation: Activation,
    epsilon: f32,
}

impl Tower {
    fn from_keys(
        keys: &Keys,
        hidden: usize,
        intermediate: usize,
        layers: usize,
        heads: usize,
    ) -> Result<Self> {
        // What only training needs; transformers reads it all the same.
        keys.refuse_null(&["initializer_factor", "initializer_range"])?;
        let hidden_size = keys.channels("hidden_size", hidden)?;
        let heads = keys.channels("num_attention_heads", heads)?;
        let divides = hidden_size.is_multiple_of(heads);
        keys.check(
            "num_attention_heads",
            divides,
            heads,
            format!("a divisor of hidden_size ({hidden_size})"),
        )?;
        let act: String = keys.or("hidden_act", "quick_gelu".to_owned())?;
        let activation = match act.as_str() {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::GeluErf,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            _ => {
                let expected = "quick_gelu, gelu, relu or silu; others are not implemented";
                return Err(keys.invalid("hidden_act", act, expected));
            }
        };
        Ok(Self {
            hidden_size,
            intermediate_size: keys.channels("intermediate_size", intermediate)?,
            layers: keys.layers("num_hidden_layers", layers)?,
            heads,
            activation,
            epsilon: keys.epsilon("layer_norm_eps", 1e-5)?,
        })
    }
}

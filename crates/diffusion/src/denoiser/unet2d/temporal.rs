//! What lets the frames of a clip see each other on one level of the U-Net: `UNet3DConditionModel` has a temporal
//! convolution after each residual block and a temporal transformer after each spatial one; AnimateDiff has a motion module
//! after each layer.

use burn_tensor::Tensor;

use super::config::{TemporalConfig, UnetConfig};
use crate::layers::{TemporalConv, TemporalTransformer, TemporalTransformerOptions};
use noisefind_nn::weights::Scope;

/// Heads of the temporal transformer before the first level, fixed in diffusers.
const INPUT_HEADS: usize = 8;

/// The temporal layers of one level; none for still images.
#[derive(Clone, Debug, Default)]
pub(super) struct TemporalLevel {
    convs: Vec<TemporalConv>,
    transformers: Vec<TemporalTransformer>,
}

/// Where a level lies and what stands there.
#[derive(Clone, Copy, Debug)]
pub(super) struct LevelSizes {
    /// Counted from the outermost.
    pub(super) level: usize,
    pub(super) resnets: usize,
    /// Spatial transformers.
    pub(super) attentions: usize,
}

impl TemporalLevel {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig, sizes: LevelSizes) -> Self {
        let channels = config.block_out_channels[sizes.level];
        match &config.temporal {
            None => Self::default(),
            Some(TemporalConfig::Layers { head_dim }) => Self {
                convs: convs(scope, config, channels, sizes.resnets),
                transformers: (0..sizes.attentions)
                    .map(|layer| {
                        transformer(&scope.at("temp_attentions").at(layer), config, channels, *head_dim)
                    })
                    .collect(),
            },
            Some(TemporalConfig::Motion(motion)) => {
                let options = TemporalTransformerOptions {
                    channels,
                    heads: motion.heads[sizes.level],
                    head_dim: channels / motion.heads[sizes.level],
                    layers: motion.layers[sizes.level],
                    groups: config.norm_num_groups,
                    max_frames: Some(motion.max_seq_length),
                };
                let load = |layer| TemporalTransformer::load(&scope.at("motion_modules").at(layer), &options);
                Self { convs: Vec::new(), transformers: (0..sizes.resnets).map(load).collect() }
            }
        }
    }

    /// The innermost level, whose transformers stand between two residual blocks.
    pub(super) fn load_middle(scope: &Scope<'_>, config: &UnetConfig) -> Self {
        let innermost = config.block_out_channels.len() - 1;
        match &config.temporal {
            Some(TemporalConfig::Motion(motion)) => match motion.mid_layers {
                None => Self::default(),
                Some(layers) => {
                    let mut motion = motion.clone();
                    motion.layers[innermost] = layers;
                    let temporal = Some(TemporalConfig::Motion(motion));
                    let config = UnetConfig { temporal, ..config.clone() };
                    Self::load(scope, &config, LevelSizes { level: innermost, resnets: 1, attentions: 1 })
                }
            },
            _ => Self::load(scope, config, LevelSizes { level: innermost, resnets: 2, attentions: 1 }),
        }
    }

    /// What follows residual block `layer`.
    pub(super) fn after_resnet(&self, layer: usize, x: Tensor<4>, frames: usize) -> Tensor<4> {
        match self.convs.get(layer) {
            Some(conv) => conv.forward(x, frames),
            None => x,
        }
    }

    /// What follows spatial transformer `layer`, or the residual block on levels that do not attend.
    pub(super) fn after_attention(&self, layer: usize, x: Tensor<4>, frames: usize) -> Tensor<4> {
        match self.transformers.get(layer) {
            Some(transformer) => transformer.forward(x, frames),
            None => x,
        }
    }
}

/// The temporal transformer between the first convolution and the first level of `UNet3DConditionModel`; `None` for other
/// models, and where it adds nothing to its input.
pub(super) fn load_input(scope: &Scope<'_>, config: &UnetConfig) -> Option<TemporalTransformer> {
    let Some(TemporalConfig::Layers { head_dim }) = &config.temporal else { return None };
    let options = TemporalTransformerOptions {
        channels: config.block_out_channels[0],
        heads: INPUT_HEADS,
        head_dim: *head_dim,
        layers: 1,
        groups: config.norm_num_groups,
        max_frames: None,
    };
    let scope = scope.at("transformer_in");
    let transformer = TemporalTransformer::load(&scope, &options);
    // A model that was made from one of still images may have left it silent.
    let (channels, inner) = (options.channels, options.heads * options.head_dim);
    let out = scope.at("proj_out");
    let parts = [out.tensor("weight", &[channels, inner]), out.tensor("bias", &[channels])];
    let adds = parts.iter().any(|part| part.iter().flatten().any(|&weight| weight != 0.0));
    adds.then_some(transformer)
}

fn convs(scope: &Scope<'_>, config: &UnetConfig, channels: usize, count: usize) -> Vec<TemporalConv> {
    let scope = scope.at("temp_convs");
    (0..count).map(|layer| TemporalConv::load(&scope.at(layer), channels, config.norm_num_groups)).collect()
}

fn transformer(
    scope: &Scope<'_>,
    config: &UnetConfig,
    channels: usize,
    head_dim: usize,
) -> TemporalTransformer {
    let options = TemporalTransformerOptions {
        channels,
        heads: channels / head_dim,
        head_dim,
        layers: 1,
        groups: config.norm_num_groups,
        max_frames: None,
    };
    TemporalTransformer::load(scope, &options)
}

//! CLIP's vision tower, `CLIPVisionModel` of transformers.

use burn_tensor::Tensor;

use super::encoder::{Encoder, EncoderOptions};
use crate::config::ClipVisionConfig;
use crate::ops::{Conv2d, ConvOptions, LayerNorm};
use crate::weights::Scope;

/// The vision tower.
#[derive(Clone, Debug)]
pub struct ClipVisionModel {
    config: ClipVisionConfig,
    patch_embedding: Conv2d,
    class_embedding: Tensor<3>,
    position_embedding: Tensor<3>,
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
}

impl ClipVisionModel {
    pub(crate) fn load(scope: &Scope<'_>, config: ClipVisionConfig) -> Self {
        let hidden = config.hidden_size;
        let per_side = config.image_size / config.patch_size;
        let rows = per_side * per_side + 1;
        let options = EncoderOptions {
            layers: config.num_hidden_layers,
            hidden_size: hidden,
            intermediate_size: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
            causal: false,
        };
        let embedding = |name: &str, shape: &[usize], rows: usize| {
            let values = scope.tensor(name, shape);
            let rows = if values.is_some() { rows } else { 0 };
            scope.placement().tensor(values.unwrap_or_default(), [1, rows, hidden])
        };
        let norm = |name: &str| LayerNorm::load(&scope.at(name), hidden, config.layer_norm_eps);
        Self {
            patch_embedding: Conv2d::load_without_bias(
                &scope.at("embeddings.patch_embedding"),
                3,
                hidden,
                ConvOptions::Patches { patch: config.patch_size },
            ),
            class_embedding: embedding("embeddings.class_embedding", &[hidden], 1),
            position_embedding: embedding("embeddings.position_embedding.weight", &[rows, hidden], rows),
            pre_layrnorm: norm("pre_layrnorm"),
            encoder: Encoder::load(&scope.at("encoder"), &options),
            post_layernorm: norm("post_layernorm"),
            config,
        }
    }

    /// The tower's sizes.
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// The pooled embedding `[batch, hidden]` of normalised images `[batch, image_size, image_size, 3]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let patches = self.patch_embedding.forward(pixels);
        let [batch, rows, columns, hidden] = patches.dims();
        let patches = patches.reshape([batch, rows * columns, hidden]);
        let class = self.class_embedding.clone().repeat_dim(0, batch);
        let x = Tensor::cat(vec![class, patches], 1) + self.position_embedding.clone();
        let hidden_state = self.encoder.forward(self.pre_layrnorm.forward(x));
        self.post_layernorm.forward(hidden_state.narrow(1, 0, 1).reshape([batch, hidden]))
    }
}

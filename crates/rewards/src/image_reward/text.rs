//! The text encoder of BLIP: BERT whose every layer also looks at the image's tokens.
//!
//! Li et al., "BLIP", ICML 2022; Devlin et al., "BERT", NAACL 2019. Layers are normalised after their residual.

use burn_tensor::{Int, Tensor, TensorData};
use noisefind_nn::ops::{Activation, Attention, LayerNorm, Linear, attention, attention_fused};
use noisefind_nn::weights::Scope;
use noisefind_nn::{ModelFiles, Placement};
use serde::Deserialize;

use crate::Error;

/// `med_config.json`, as far as the reward needs it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TextConfig {
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    pub(super) vocab_size: usize,
    layer_norm_eps: f32,
}

impl TextConfig {
    pub(super) fn read(files: &ModelFiles, path: &str) -> Result<Self, Error> {
        let config: Self = files.read_json(path)?;
        let sizes = [
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            config.max_position_embeddings,
            config.vocab_size,
        ];
        let possible = sizes.iter().all(|size| (1..=1 << 20).contains(size))
            && config.num_hidden_layers <= 1000
            && config.hidden_size.is_multiple_of(config.num_attention_heads);
        if !possible {
            return Err(Error::Config {
                file: files.display(path),
                key: "hidden_size",
                found: format!("{config:?}"),
                expected: "sizes above 0, hidden_size a multiple of num_attention_heads",
            });
        }
        Ok(config)
    }
}

/// The encoder.
pub(super) struct TextEncoder {
    words: Tensor<2>,
    positions: Tensor<2>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    placement: Placement,
}

struct Layer {
    qkv: Linear,
    attended: PostNorm,
    image_query: Linear,
    image_kv: Linear,
    image_attended: PostNorm,
    intermediate: Linear,
    output: PostNorm,
    attention: Attention,
}

/// `LayerNorm(dense(x) + residual)`.
struct PostNorm {
    dense: Linear,
    norm: LayerNorm,
}

impl TextEncoder {
    /// Loads the encoder, which looks at image tokens of `image_width` channels.
    pub(super) fn load(scope: &Scope<'_>, config: &TextConfig, image_width: usize) -> Self {
        let hidden = config.hidden_size;
        let embeddings = scope.at("embeddings");
        let table = |name: &str, rows: usize| {
            let values = embeddings.tensor(name, &[rows, hidden]);
            let rows = if values.is_some() { rows } else { 0 };
            scope.placement().tensor(values.unwrap_or_default(), [rows, hidden])
        };
        let layers = (0..config.num_hidden_layers)
            .map(|at| Layer::load(&scope.at("encoder.layer").at(at), config, image_width));
        Self {
            words: table("word_embeddings.weight", config.vocab_size),
            positions: table("position_embeddings.weight", config.max_position_embeddings),
            norm: LayerNorm::load(&embeddings.at("LayerNorm"), hidden, config.layer_norm_eps),
            layers: layers.collect(),
            placement: scope.placement().clone(),
        }
    }

    /// The embedding of a prompt before any layer, `[1, length, hidden]`: all that does not depend on the image.
    ///
    /// Padding is left out: it is masked in every layer, so it changes nothing.
    pub(super) fn embed(&self, ids: &[u32]) -> Tensor<3> {
        let length = ids.len();
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [length]), &self.placement.device);
        let x = self.words.clone().select(0, ids) + self.positions.clone().narrow(0, 0, length);
        self.norm.forward(x.unsqueeze::<3>())
    }

    /// The first token after the last layer, `[batch, hidden]`, of one prompt beside each of `batch` images
    /// `[batch, tokens, image width]`.
    pub(super) fn forward(&self, prompt: Tensor<3>, images: Tensor<3>) -> Tensor<2> {
        let batch = images.dims()[0];
        let x = prompt.repeat_dim(0, batch);
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x, images.clone(), &self.placement));
        let hidden = x.dims()[2];
        x.narrow(1, 0, 1).reshape([batch, hidden])
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, config: &TextConfig, image_width: usize) -> Self {
        let hidden = config.hidden_size;
        let norm = |name: &str, input: usize| PostNorm {
            dense: Linear::load(&scope.at(name).at("dense"), input, hidden),
            norm: LayerNorm::load(&scope.at(name).at("LayerNorm"), hidden, config.layer_norm_eps),
        };
        let (own, cross) = (scope.at("attention.self"), scope.at("crossattention.self"));
        Self {
            qkv: Linear::load_joined(&own, &["query", "key", "value"], hidden, hidden),
            attended: norm("attention.output", hidden),
            image_query: Linear::load(&cross.at("query"), hidden, hidden),
            image_kv: Linear::load_joined(&cross, &["key", "value"], image_width, hidden),
            image_attended: norm("crossattention.output", hidden),
            intermediate: Linear::load(&scope.at("intermediate.dense"), hidden, config.intermediate_size),
            output: norm("output", config.intermediate_size),
            attention: Attention { heads: config.num_attention_heads, causal: false, upcast: false },
        }
    }

    fn forward(&self, x: Tensor<3>, images: Tensor<3>, placement: &Placement) -> Tensor<3> {
        let own = attention_fused(self.qkv.forward(x.clone()), self.attention, placement);
        let x = self.attended.forward(own, x);
        let query = self.image_query.forward(x.clone());
        let seen = attention(query, self.image_kv.forward(images), self.attention, placement);
        let x = self.image_attended.forward(seen, x);
        let inner = self.intermediate.forward_with(x.clone(), None, Activation::GeluErf);
        self.output.forward(inner, x)
    }
}

impl PostNorm {
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.norm.forward(self.dense.forward_with(x, Some(residual), Activation::None))
    }
}

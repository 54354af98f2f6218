//! The transformer that both towers consist of: pre-norm layers of self-attention and a feed-forward network.

use burn_tensor::Tensor;

use crate::device::Placement;
use crate::ops::{Activation, Attention, LayerNorm, Linear, attention_fused};
use crate::weights::Scope;

/// Sizes of a transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderOptions {
    /// Layers.
    pub layers: usize,
    /// Channels of the residual stream.
    pub hidden_size: usize,
    /// Channels inside the feed-forward network.
    pub intermediate_size: usize,
    /// Attention heads.
    pub heads: usize,
    /// Non-linearity of the feed-forward network.
    pub activation: Activation,
    /// Under the square root of layer norms.
    pub epsilon: f32,
    /// Whether a row sees only itself and rows before it.
    pub causal: bool,
}

/// A stack of transformer layers under the names `layers.N`.
#[derive(Clone, Debug)]
pub struct Encoder {
    layers: Vec<EncoderLayer>,
    placement: Placement,
}

#[derive(Clone, Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    qkv: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    attention: Attention,
}

impl Encoder {
    /// Loads all layers.
    pub fn load(scope: &Scope<'_>, options: &EncoderOptions) -> Self {
        let layers =
            (0..options.layers).map(|layer| EncoderLayer::load(&scope.at("layers").at(layer), options));
        Self { layers: layers.collect(), placement: scope.placement().clone() }
    }

    /// The hidden state after the last layer, `[batch, length, channels]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.layers.iter().fold(x, |hidden, layer| layer.forward(hidden, &self.placement))
    }

    /// The hidden states before each layer and after the last, all `[batch, length, channels]`.
    pub fn hidden_states(&self, x: Tensor<3>) -> Vec<Tensor<3>> {
        let mut states = vec![x];
        for layer in &self.layers {
            let next = layer.forward(states[states.len() - 1].clone(), &self.placement);
            states.push(next);
        }
        states
    }
}

impl EncoderLayer {
    fn load(scope: &Scope<'_>, options: &EncoderOptions) -> Self {
        let (hidden, inner) = (options.hidden_size, options.intermediate_size);
        let self_attn = scope.at("self_attn");
        Self {
            layer_norm1: LayerNorm::load(&scope.at("layer_norm1"), hidden, options.epsilon),
            qkv: Linear::load_joined(&self_attn, &["q_proj", "k_proj", "v_proj"], hidden, hidden),
            out_proj: Linear::load(&self_attn.at("out_proj"), hidden, hidden),
            layer_norm2: LayerNorm::load(&scope.at("layer_norm2"), hidden, options.epsilon),
            fc1: Linear::load(&scope.at("mlp.fc1"), hidden, inner),
            fc2: Linear::load(&scope.at("mlp.fc2"), inner, hidden),
            activation: options.activation,
            attention: Attention { heads: options.heads, causal: options.causal, upcast: false },
        }
    }

    fn forward(&self, x: Tensor<3>, placement: &Placement) -> Tensor<3> {
        let qkv = self.qkv.forward(self.layer_norm1.forward(x.clone()));
        let attended = attention_fused(qkv, self.attention, placement);
        let x = self.out_proj.forward_with(attended, Some(x), Activation::None);
        let inner = self.fc1.forward_with(self.layer_norm2.forward(x.clone()), None, self.activation);
        self.fc2.forward_with(inner, Some(x), Activation::None)
    }
}

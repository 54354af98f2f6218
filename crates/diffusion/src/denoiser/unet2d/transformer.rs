//! The spatial transformer between residual blocks, `Transformer2DModel` of diffusers.

use burn::tensor::Tensor;

use super::Conditioning;
use noisefind_nn::ops::{
    Activation, Attention, Geglu, GroupNorm, LayerNorm, Linear, attention, attention_fused,
};
use noisefind_nn::weights::Scope;

/// Pixels attend to each other and to the text.
#[derive(Clone, Debug)]
pub(super) struct Transformer2d {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

/// Sizes of a spatial transformer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerOptions {
    pub(super) channels: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) cross_attention_dim: usize,
    pub(super) groups: usize,
    pub(super) upcast: bool,
}

impl Transformer2d {
    pub(super) fn load(scope: &Scope<'_>, options: &TransformerOptions) -> Self {
        /// Fixed in diffusers, whatever `norm_eps` says.
        const EPSILON: f32 = 1e-6;
        let channels = options.channels;
        let blocks = scope.at("transformer_blocks");
        Self {
            norm: GroupNorm::load(&scope.at("norm"), channels, options.groups, EPSILON),
            proj_in: Linear::load(&scope.at("proj_in"), channels, channels),
            transformer_blocks: (0..options.layers)
                .map(|layer| TransformerBlock::load(&blocks.at(layer), options))
                .collect(),
            proj_out: Linear::load(&scope.at("proj_out"), channels, channels),
        }
    }

    /// Keys and values of the text for each block, `[groups, tokens, 2 channels]`.
    pub(super) fn project_text(&self, hidden_states: &Tensor<3>) -> Vec<Tensor<3>> {
        self.transformer_blocks.iter().map(|block| block.text_kv.forward(hidden_states.clone())).collect()
    }

    pub(super) fn forward(&self, x: Tensor<4>, conditioning: &mut Conditioning<'_>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let pixels = [batch, height * width, channels];
        let mut h = self.proj_in.forward(self.norm.forward(x.clone(), Activation::None).reshape(pixels));
        for block in &self.transformer_blocks {
            h = block.forward(h, conditioning);
        }
        let h = self.proj_out.forward_with(h, Some(x.reshape(pixels)), Activation::None);
        h.reshape([batch, height, width, channels])
    }
}

/// Self-attention, cross-attention and a gated feed-forward network, each before a residual sum.
#[derive(Clone, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    self_qkv: Linear,
    self_out: Linear,
    norm2: LayerNorm,
    text_q: Linear,
    text_kv: Linear,
    text_out: Linear,
    norm3: LayerNorm,
    ff_in: Geglu,
    ff_out: Linear,
    attention: Attention,
}

impl TransformerBlock {
    fn load(scope: &Scope<'_>, options: &TransformerOptions) -> Self {
        const EPSILON: f32 = 1e-5;
        /// Channels of the feed-forward network for each channel of the stream.
        const EXPANSION: usize = 4;
        let channels = options.channels;
        let (attn1, attn2) = (scope.at("attn1"), scope.at("attn2"));
        let norm = |name: &str| LayerNorm::load(&scope.at(name), channels, EPSILON);
        Self {
            norm1: norm("norm1"),
            self_qkv: Linear::load_joined_without_bias(&attn1, &["to_q", "to_k", "to_v"], channels, channels),
            self_out: Linear::load(&attn1.at("to_out.0"), channels, channels),
            norm2: norm("norm2"),
            text_q: Linear::load_without_bias(&attn2.at("to_q"), channels, channels),
            text_kv: Linear::load_joined_without_bias(
                &attn2,
                &["to_k", "to_v"],
                options.cross_attention_dim,
                channels,
            ),
            text_out: Linear::load(&attn2.at("to_out.0"), channels, channels),
            norm3: norm("norm3"),
            ff_in: Geglu::load(&scope.at("ff.net.0.proj"), channels, EXPANSION * channels),
            ff_out: Linear::load(&scope.at("ff.net.2"), EXPANSION * channels, channels),
            attention: Attention { heads: options.heads, causal: false, upcast: options.upcast },
        }
    }

    fn forward(&self, x: Tensor<3>, conditioning: &mut Conditioning<'_>) -> Tensor<3> {
        let placement = conditioning.placement;
        let qkv = self.self_qkv.forward(self.norm1.forward(x.clone()));
        let attended = attention_fused(qkv, self.attention, placement);
        let x = self.self_out.forward_with(attended, Some(x), Activation::None);
        let q = self.text_q.forward(self.norm2.forward(x.clone()));
        let attended = attention(q, conditioning.text(), self.attention, placement);
        let x = self.text_out.forward_with(attended, Some(x), Activation::None);
        let inner = self.ff_in.forward(self.norm3.forward(x.clone()));
        self.ff_out.forward_with(inner, Some(x), Activation::None)
    }
}

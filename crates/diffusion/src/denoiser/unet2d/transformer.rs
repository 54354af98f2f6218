//! The spatial transformer between residual blocks, `Transformer2DModel` of diffusers.

use burn_tensor::Tensor;

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
    pub(super) only_text: bool,
    pub(super) cross_attention_dim: usize,
    pub(super) groups: usize,
    pub(super) upcast: bool,
}

impl Transformer2d {
    pub(super) fn load(scope: &Scope<'_>, options: &TransformerOptions) -> Self {
        /// Fixed in diffusers, whatever `norm_eps` says.
        const EPSILON: f32 = 1e-6;
        let channels = options.channels;
        // Where the heads do not divide the channels, the transformer is narrower.
        let width = channels / options.heads * options.heads;
        let blocks = scope.at("transformer_blocks");
        Self {
            norm: GroupNorm::load(&scope.at("norm"), channels, options.groups, EPSILON),
            proj_in: Linear::load(&scope.at("proj_in"), channels, width),
            transformer_blocks: (0..options.layers)
                .map(|layer| TransformerBlock::load(&blocks.at(layer), options, width))
                .collect(),
            proj_out: Linear::load(&scope.at("proj_out"), width, channels),
        }
    }

    /// Keys and values of the text for each cross-attention, `[groups, tokens, 2 width]`.
    pub(super) fn project_text(&self, hidden_states: &Tensor<3>) -> Vec<Tensor<3>> {
        let projections = self.transformer_blocks.iter().flat_map(TransformerBlock::text_projections);
        projections.map(|projection| projection.forward(hidden_states.clone())).collect()
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

/// Two attentions and a gated feed-forward network, each before a residual sum.
#[derive(Clone, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: AttentionLayer,
    norm2: LayerNorm,
    attn2: AttentionLayer,
    norm3: LayerNorm,
    ff_in: Geglu,
    ff_out: Linear,
}

impl TransformerBlock {
    fn load(scope: &Scope<'_>, options: &TransformerOptions, width: usize) -> Self {
        const EPSILON: f32 = 1e-5;
        /// Channels of the feed-forward network for each channel of the stream.
        const EXPANSION: usize = 4;
        let norm = |name: &str| LayerNorm::load(&scope.at(name), width, EPSILON);
        let to_text = |name: &str| AttentionLayer::load_to_text(&scope.at(name), options, width);
        Self {
            norm1: norm("norm1"),
            attn1: if options.only_text {
                to_text("attn1")
            } else {
                AttentionLayer::load_to_pixels(&scope.at("attn1"), options, width)
            },
            norm2: norm("norm2"),
            attn2: to_text("attn2"),
            norm3: norm("norm3"),
            ff_in: Geglu::load(&scope.at("ff.net.0.proj"), width, EXPANSION * width),
            ff_out: Linear::load(&scope.at("ff.net.2"), EXPANSION * width, width),
        }
    }

    /// What makes keys and values of the text, in the order of the forward pass.
    fn text_projections(&self) -> impl Iterator<Item = &Linear> {
        [&self.attn1, &self.attn2].into_iter().filter_map(|layer| match &layer.input {
            AttentionInput::Pixels { .. } => None,
            AttentionInput::Text { kv, .. } => Some(kv),
        })
    }

    fn forward(&self, x: Tensor<3>, conditioning: &mut Conditioning<'_>) -> Tensor<3> {
        let normalised = self.norm1.forward(x.clone());
        let x = self.attn1.forward(normalised, x, conditioning);
        let normalised = self.norm2.forward(x.clone());
        let x = self.attn2.forward(normalised, x, conditioning);
        let inner = self.ff_in.forward(self.norm3.forward(x.clone()));
        self.ff_out.forward_with(inner, Some(x), Activation::None)
    }
}

/// An attention with its projections.
#[derive(Clone, Debug)]
struct AttentionLayer {
    input: AttentionInput,
    out: Linear,
    attention: Attention,
}

/// What the pixels attend to.
#[derive(Clone, Debug)]
enum AttentionInput {
    /// Each other: queries, keys and values come from one projection.
    Pixels { qkv: Linear },
    /// The text: `kv` is applied once for all samples.
    Text { q: Linear, kv: Linear },
}

impl AttentionLayer {
    fn load_to_pixels(scope: &Scope<'_>, options: &TransformerOptions, width: usize) -> Self {
        let qkv = Linear::load_joined_without_bias(scope, &["to_q", "to_k", "to_v"], width, width);
        Self::with(AttentionInput::Pixels { qkv }, scope, options, width)
    }

    fn load_to_text(scope: &Scope<'_>, options: &TransformerOptions, width: usize) -> Self {
        let q = Linear::load_without_bias(&scope.at("to_q"), width, width);
        let text = options.cross_attention_dim;
        let kv = Linear::load_joined_without_bias(scope, &["to_k", "to_v"], text, width);
        Self::with(AttentionInput::Text { q, kv }, scope, options, width)
    }

    fn with(input: AttentionInput, scope: &Scope<'_>, options: &TransformerOptions, width: usize) -> Self {
        Self {
            input,
            out: Linear::load(&scope.at("to_out.0"), width, width),
            attention: Attention { heads: options.heads, causal: false, upcast: options.upcast },
        }
    }

    /// Attends from `normalised` and adds the result to `x`, both `[batch, pixels, width]`.
    fn forward(&self, normalised: Tensor<3>, x: Tensor<3>, conditioning: &mut Conditioning<'_>) -> Tensor<3> {
        let placement = conditioning.placement;
        let attended = match &self.input {
            AttentionInput::Pixels { qkv } => {
                attention_fused(qkv.forward(normalised), self.attention, placement)
            }
            AttentionInput::Text { q, .. } => {
                attention(q.forward(normalised), conditioning.text(), self.attention, placement)
            }
        };
        self.out.forward_with(attended, Some(x), Activation::None)
    }
}

//! CLIP's two towers under the names of open_clip, sizes taken from the tensors.
//!
//! Reference: `mlfoundations/open_clip`, `src/open_clip/{model,transformer}.py`. Unlike in transformers, queries, keys
//! and values are one matrix, and the projections multiply from the right.

use burn::tensor::{Int, Tensor, TensorData};
use noisefind_nn::Placement;
use noisefind_nn::ops::{Activation, Attention, Conv2d, ConvOptions, LayerNorm, Linear, attention_fused};
use noisefind_nn::weights::Scope;

use crate::Error;

const EPSILON: f32 = 1e-5;

/// The shape of a tensor that must have `D` dimensions.
fn shape<const D: usize>(scope: &Scope<'_>, name: &'static str, file: &str) -> Result<[usize; D], Error> {
    let found = scope.shape(name).unwrap_or_default();
    found.try_into().ok().filter(|shape: &[usize; D]| !shape.contains(&0)).ok_or_else(|| Error::Config {
        file: file.to_owned(),
        key: name,
        found: format!("of shape {found:?}"),
        expected: "the shape of an open_clip model",
    })
}

/// A learnt table; empty, with a note to the weights, where it is absent.
fn table(scope: &Scope<'_>, name: &str, [rows, columns]: [usize; 2]) -> Tensor<2> {
    let values = scope.tensor(name, &[rows, columns]);
    let rows = if values.is_some() { rows } else { 0 };
    scope.placement().tensor(values.unwrap_or_default(), [rows, columns])
}

/// Pre-norm transformer layers, `resblocks.N`.
struct Transformer {
    blocks: Vec<Block>,
    placement: Placement,
}

struct Block {
    ln_1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    attention: Attention,
}

impl Transformer {
    fn load(scope: &Scope<'_>, width: usize, heads: usize, causal: bool) -> Self {
        let depth = (0..).take_while(|at| scope.contains(&format!("resblocks.{at}.ln_1.weight"))).count();
        let block = |at: usize| {
            let scope = scope.at("resblocks").at(at);
            Block {
                ln_1: LayerNorm::load(&scope.at("ln_1"), width, EPSILON),
                in_proj: Linear::load(&scope.at("attn.in_proj"), width, 3 * width),
                out_proj: Linear::load(&scope.at("attn.out_proj"), width, width),
                ln_2: LayerNorm::load(&scope.at("ln_2"), width, EPSILON),
                c_fc: Linear::load(&scope.at("mlp.c_fc"), width, 4 * width),
                c_proj: Linear::load(&scope.at("mlp.c_proj"), 4 * width, width),
                attention: Attention { heads, causal, upcast: false },
            }
        };
        Self { blocks: (0..depth).map(block).collect(), placement: scope.placement().clone() }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.blocks.iter().fold(x, |x, block| {
            let qkv = block.in_proj.forward(block.ln_1.forward(x.clone()));
            let attended = attention_fused(qkv, block.attention, &self.placement);
            let x = block.out_proj.forward_with(attended, Some(x), Activation::None);
            let inner = block.c_fc.forward_with(block.ln_2.forward(x.clone()), None, Activation::GeluErf);
            block.c_proj.forward_with(inner, Some(x), Activation::None)
        })
    }
}

/// The vision tower.
pub(super) struct Vision {
    conv1: Conv2d,
    class_embedding: Tensor<2>,
    positions: Tensor<2>,
    ln_pre: LayerNorm,
    transformer: Transformer,
    ln_post: LayerNorm,
    projection: Tensor<2>,
    placement: Placement,
    /// Rows and columns of the pictures that it takes.
    pub(super) side: usize,
}

impl Vision {
    pub(super) fn load(scope: &Scope<'_>, file: &str) -> Result<Self, Error> {
        let [width, _, patch, _] = shape(scope, "conv1.weight", file)?;
        let [tokens, _] = shape(scope, "positional_embedding", file)?;
        let [_, embedding] = shape(scope, "proj", file)?;
        let per_side = (tokens - 1).isqrt();
        // ViT-H has heads of 80 channels, every other size of 64.
        let head_channels = if width == 1280 { 80 } else { 64 };
        if tokens != per_side * per_side + 1 || !width.is_multiple_of(head_channels) {
            return Err(Error::Config {
                file: file.to_owned(),
                key: "positional_embedding",
                found: format!("{tokens} tokens of {width} channels"),
                expected: "a square of patches and a class token, in whole heads",
            });
        }
        let class = scope.tensor("class_embedding", &[width]);
        let rows = usize::from(class.is_some());
        Ok(Self {
            conv1: Conv2d::load_without_bias(&scope.at("conv1"), 3, width, ConvOptions::Patches { patch }),
            class_embedding: scope.placement().tensor(class.unwrap_or_default(), [rows, width]),
            positions: table(scope, "positional_embedding", [tokens, width]),
            ln_pre: LayerNorm::load(&scope.at("ln_pre"), width, EPSILON),
            transformer: Transformer::load(&scope.at("transformer"), width, width / head_channels, false),
            ln_post: LayerNorm::load(&scope.at("ln_post"), width, EPSILON),
            projection: table(scope, "proj", [width, embedding]),
            placement: scope.placement().clone(),
            side: per_side * patch,
        })
    }

    /// `[batch, side, side, 3]` normalised pixels to `[batch, embedding]`.
    pub(super) fn forward(&self, pixels: Vec<f32>, batch: usize) -> Tensor<2> {
        let pixels = self.placement.tensor(pixels, [batch, self.side, self.side, 3]);
        let patches = self.conv1.forward(pixels);
        let [_, rows, columns, width] = patches.dims();
        let patches = patches.reshape([batch, rows * columns, width]);
        let class = self.class_embedding.clone().unsqueeze::<3>().repeat_dim(0, batch);
        let x = Tensor::cat(vec![class, patches], 1) + self.positions.clone().unsqueeze::<3>();
        let x = self.transformer.forward(self.ln_pre.forward(x));
        let class = x.narrow(1, 0, 1).reshape([batch, width]);
        self.ln_post.forward(class).matmul(self.projection.clone())
    }
}

/// The text tower.
pub(super) struct Text {
    tokens: Tensor<2>,
    positions: Tensor<2>,
    transformer: Transformer,
    ln_final: LayerNorm,
    projection: Tensor<2>,
    placement: Placement,
    /// Tokens that it knows.
    pub(super) vocab_size: usize,
    /// The longest prompt in tokens.
    pub(super) context_length: usize,
}

impl Text {
    pub(super) fn load(scope: &Scope<'_>, file: &str) -> Result<Self, Error> {
        let [vocab_size, width] = shape(scope, "token_embedding.weight", file)?;
        let [context_length, _] = shape(scope, "positional_embedding", file)?;
        let [_, embedding] = shape(scope, "text_projection", file)?;
        Ok(Self {
            tokens: table(scope, "token_embedding.weight", [vocab_size, width]),
            positions: table(scope, "positional_embedding", [context_length, width]),
            transformer: Transformer::load(&scope.at("transformer"), width, width.div_ceil(64), true),
            ln_final: LayerNorm::load(&scope.at("ln_final"), width, EPSILON),
            projection: table(scope, "text_projection", [width, embedding]),
            placement: scope.placement().clone(),
            vocab_size,
            context_length,
        })
    }

    /// The embedding `[1, embedding]` of a prompt without padding, pooled at its last token, the end of text.
    pub(super) fn forward(&self, ids: &[u32]) -> Tensor<2> {
        let length = ids.len();
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [length]), &self.placement.device);
        let x = self.tokens.clone().select(0, ids) + self.positions.clone().narrow(0, 0, length);
        let x = self.transformer.forward(x.unsqueeze::<3>());
        let width = x.dims()[2];
        let end = x.narrow(1, length - 1, 1).reshape([1, width]);
        self.ln_final.forward(end).matmul(self.projection.clone())
    }
}

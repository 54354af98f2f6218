//! CLIP's transformer and text tower under the names of open_clip, sizes taken from the tensors.
//!
//! Reference: `mlfoundations/open_clip`, `src/open_clip/{model,transformer}.py`. Unlike in transformers, queries, keys
//! and values are one matrix, and the projections multiply from the right.

use burn_tensor::{Int, Tensor, TensorData};
use noisefind_nn::Placement;
use noisefind_nn::ops::{Activation, Attention, LayerNorm, Linear, attention_fused};
use noisefind_nn::weights::Scope;

use crate::Error;

pub(crate) const EPSILON: f32 = 1e-5;

/// The shape of a tensor that must have `D` dimensions.
pub(crate) fn shape<const D: usize>(
    scope: &Scope<'_>,
    name: &'static str,
    file: &str,
) -> Result<[usize; D], Error> {
    let found = scope.shape(name).unwrap_or_default();
    found.try_into().ok().filter(|shape: &[usize; D]| !shape.contains(&0)).ok_or_else(|| Error::Config {
        file: file.to_owned(),
        key: name,
        found: format!("of shape {found:?}"),
        expected: "the shape of an open_clip model",
    })
}

/// A learnt table; empty, with a note to the weights, where it is absent.
pub(crate) fn table(scope: &Scope<'_>, name: &str, [rows, columns]: [usize; 2]) -> Tensor<2> {
    let values = scope.tensor(name, &[rows, columns]);
    let rows = if values.is_some() { rows } else { 0 };
    scope.placement().tensor(values.unwrap_or_default(), [rows, columns])
}

/// Heads of a tower of this width: of 64 channels each, and one head where it is narrower.
pub(crate) fn heads(width: usize) -> usize {
    width.div_ceil(64)
}

/// Pre-norm transformer layers, `resblocks.N`.
pub(crate) struct Transformer {
    blocks: Vec<Block>,
    activation: Activation,
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
    /// Loads the layers `resblocks.0`, `resblocks.1` and so on, with `attn.in_proj_` renamed to `attn.in_proj.`.
    pub(crate) fn load(
        scope: &Scope<'_>,
        width: usize,
        heads: usize,
        causal: bool,
        activation: Activation,
    ) -> Self {
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
        Self { blocks: (0..depth).map(block).collect(), activation, placement: scope.placement().clone() }
    }

    /// `[batch, length, width]` after the last layer.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.blocks.iter().fold(x, |x, block| {
            let qkv = block.in_proj.forward(block.ln_1.forward(x.clone()));
            let attended = attention_fused(qkv, block.attention, &self.placement);
            let x = block.out_proj.forward_with(attended, Some(x), Activation::None);
            let inner = block.c_fc.forward_with(block.ln_2.forward(x.clone()), None, self.activation);
            block.c_proj.forward_with(inner, Some(x), Activation::None)
        })
    }
}

/// The text tower.
pub(crate) struct Text {
    tokens: Tensor<2>,
    positions: Tensor<2>,
    transformer: Transformer,
    ln_final: LayerNorm,
    projection: Tensor<2>,
    placement: Placement,
    /// Tokens that it knows.
    pub(crate) vocab_size: usize,
    /// The longest prompt in tokens.
    pub(crate) context_length: usize,
}

impl Text {
    /// Loads the tower that lies in `scope` of `file`.
    ///
    /// # Errors
    /// Where a table is absent or has another number of dimensions, or the width is not made of whole heads.
    pub(crate) fn load(scope: &Scope<'_>, file: &str, activation: Activation) -> Result<Self, Error> {
        let [vocab_size, width] = shape(scope, "token_embedding.weight", file)?;
        let [context_length, _] = shape(scope, "positional_embedding", file)?;
        let [_, embedding] = shape(scope, "text_projection", file)?;
        if !width.is_multiple_of(heads(width)) {
            return Err(Error::Config {
                file: file.to_owned(),
                key: "token_embedding.weight",
                found: format!("{width} channels"),
                expected: "whole heads of 64 channels, or fewer than 64",
            });
        }
        Ok(Self {
            tokens: table(scope, "token_embedding.weight", [vocab_size, width]),
            positions: table(scope, "positional_embedding", [context_length, width]),
            transformer: Transformer::load(&scope.at("transformer"), width, heads(width), true, activation),
            ln_final: LayerNorm::load(&scope.at("ln_final"), width, EPSILON),
            projection: table(scope, "text_projection", [width, embedding]),
            placement: scope.placement().clone(),
            vocab_size,
            context_length,
        })
    }

    /// The embedding `[1, embedding]` of a prompt without padding, pooled at its last token, the end of text.
    pub(crate) fn forward(&self, ids: &[u32]) -> Tensor<2> {
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

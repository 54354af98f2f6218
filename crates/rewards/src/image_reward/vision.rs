//! The vision transformer of BLIP: timm's `VisionTransformer`, all of whose tokens are used.
//!
//! Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021.

use burn_tensor::Tensor;
use noisefind_nn::Placement;
use noisefind_nn::ops::{Activation, Attention, Conv2d, ConvOptions, LayerNorm, Linear, attention_fused};
use noisefind_nn::weights::Scope;

use crate::Error;

/// Channels a head; the same in every published size.
const HEAD_CHANNELS: usize = 64;
const EPSILON: f32 = 1e-6;

/// The tower.
pub(super) struct VisionTower {
    patches: Conv2d,
    class_token: Tensor<3>,
    positions: Tensor<3>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    placement: Placement,
    /// Rows and columns of the images that it takes.
    pub(super) side: usize,
    /// Channels of its tokens.
    pub(super) width: usize,
}

struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    attention: Attention,
}

impl VisionTower {
    /// Loads the tower, whose sizes are those of its tensors.
    pub(super) fn load(scope: &Scope<'_>, file: &str) -> Result<Self, Error> {
        let unknown = |key: &'static str, found: &[usize]| Error::Config {
            file: file.to_owned(),
            key,
            found: format!("of shape {found:?}"),
            expected: "the shape of a square vision transformer with 64 channels a head",
        };
        let shape = |name: &str| scope.shape(name).unwrap_or_default().to_vec();
        let (patch_shape, position_shape) = (shape("patch_embed.proj.weight"), shape("pos_embed"));
        let [width, 3, patch, _] = patch_shape[..] else {
            return Err(unknown("patch_embed.proj.weight", &patch_shape));
        };
        let [1, tokens, _] = position_shape[..] else { return Err(unknown("pos_embed", &position_shape)) };
        let per_side = tokens.saturating_sub(1).isqrt();
        if tokens != per_side * per_side + 1 || width == 0 || !width.is_multiple_of(HEAD_CHANNELS) {
            return Err(unknown("pos_embed", &position_shape));
        }
        let depth = (0..).take_while(|at| scope.contains(&format!("blocks.{at}.norm1.weight"))).count();
        let vector = |name: &str, rows: usize| {
            let values = scope.tensor(name, &[1, rows, width]);
            let rows = if values.is_some() { rows } else { 0 };
            scope.placement().tensor(values.unwrap_or_default(), [1, rows, width])
        };
        Ok(Self {
            patches: Conv2d::load(&scope.at("patch_embed.proj"), 3, width, ConvOptions::Patches { patch }),
            class_token: vector("cls_token", 1),
            positions: vector("pos_embed", tokens),
            blocks: (0..depth).map(|at| Block::load(&scope.at("blocks").at(at), width)).collect(),
            norm: LayerNorm::load(&scope.at("norm"), width, EPSILON),
            placement: scope.placement().clone(),
            side: per_side * patch,
            width,
        })
    }

    /// `[batch, side, side, 3]` normalised pixels to `[batch, tokens, width]`.
    pub(super) fn forward(&self, pixels: Vec<f32>, batch: usize) -> Tensor<3> {
        let pixels = self.placement.tensor(pixels, [batch, self.side, self.side, 3]);
        let patches = self.patches.forward(pixels);
        let [_, rows, columns, width] = patches.dims();
        let patches = patches.reshape([batch, rows * columns, width]);
        let tokens = Tensor::cat(vec![self.class_token.clone().repeat_dim(0, batch), patches], 1);
        let x = tokens + self.positions.clone();
        self.norm.forward(self.blocks.iter().fold(x, |x, block| block.forward(x, &self.placement)))
    }
}

impl Block {
    fn load(scope: &Scope<'_>, width: usize) -> Self {
        Self {
            norm1: LayerNorm::load(&scope.at("norm1"), width, EPSILON),
            qkv: Linear::load(&scope.at("attn.qkv"), width, 3 * width),
            proj: Linear::load(&scope.at("attn.proj"), width, width),
            norm2: LayerNorm::load(&scope.at("norm2"), width, EPSILON),
            fc1: Linear::load(&scope.at("mlp.fc1"), width, 4 * width),
            fc2: Linear::load(&scope.at("mlp.fc2"), 4 * width, width),
            attention: Attention { heads: width / HEAD_CHANNELS, causal: false, upcast: false },
        }
    }

    fn forward(&self, x: Tensor<3>, placement: &Placement) -> Tensor<3> {
        let qkv = self.qkv.forward(self.norm1.forward(x.clone()));
        let attended = attention_fused(qkv, self.attention, placement);
        let x = self.proj.forward_with(attended, Some(x), Activation::None);
        let inner = self.fc1.forward_with(self.norm2.forward(x.clone()), None, Activation::GeluErf);
        self.fc2.forward_with(inner, Some(x), Activation::None)
    }
}

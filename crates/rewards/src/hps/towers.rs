//! The vision tower of HPSv2: open_clip's, sizes taken from the tensors.

use burn_tensor::Tensor;
use noisefind_nn::Placement;
use noisefind_nn::ops::{Activation, Conv2d, ConvOptions, LayerNorm};
use noisefind_nn::weights::Scope;

use crate::Error;
use crate::open_clip::{EPSILON, Transformer, shape, table};

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
    /// Rows and columns of the images that it takes.
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
            transformer: Transformer::load(
                &scope.at("transformer"),
                width,
                width / head_channels,
                false,
                Activation::GeluErf,
            ),
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

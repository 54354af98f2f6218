//! ViCLIP's vision tower: a CLIP tower whose patches of all frames attend to each other.
//!
//! Reference: `OpenGVLab/InternVideo`, `Data/InternVid/viclip/viclip_vision.py`.

use burn_tensor::Tensor;
use noisefind_nn::Placement;
use noisefind_nn::ops::{Activation, Conv2d, ConvOptions, LayerNorm};
use noisefind_nn::weights::Scope;

use crate::Error;
use crate::open_clip::{EPSILON, Transformer, heads, shape, table};

/// The vision tower.
pub(super) struct Vision {
    conv1: Conv2d,
    class_embedding: Tensor<2>,
    positions: Tensor<2>,
    times: Tensor<2>,
    ln_pre: LayerNorm,
    transformer: Transformer,
    ln_post: LayerNorm,
    projection: Tensor<2>,
    placement: Placement,
    /// Rows and columns of the frames that it takes.
    pub(super) side: usize,
    /// Frames of the clips that it takes.
    pub(super) frames: usize,
}

impl Vision {
    /// Loads the tower that lies in `scope` of `file`.
    pub(super) fn load(scope: &Scope<'_>, file: &str) -> Result<Self, Error> {
        let [width, _, _, patch, _] = shape(scope, "conv1.weight", file)?;
        let [tokens, _] = shape(scope, "positional_embedding", file)?;
        let [_, frames, _] = shape(scope, "temporal_positional_embedding", file)?;
        let [_, embedding] = shape(scope, "proj", file)?;
        let per_side = (tokens - 1).isqrt();
        if tokens != per_side * per_side + 1 || !width.is_multiple_of(heads(width)) {
            return Err(Error::Config {
                file: file.to_owned(),
                key: "positional_embedding",
                found: format!("{tokens} tokens of {width} channels"),
                expected: "a square of patches and a class token, in whole heads of 64 channels",
            });
        }
        let class = scope.tensor("class_embedding", &[width]);
        let rows = usize::from(class.is_some());
        let times = scope.tensor("temporal_positional_embedding", &[1, frames, width]);
        let moments = if times.is_some() { frames } else { 0 };
        Ok(Self {
            conv1: Conv2d::load_without_bias(&scope.at("conv1"), 3, width, ConvOptions::Patches { patch }),
            class_embedding: scope.placement().tensor(class.unwrap_or_default(), [rows, width]),
            positions: table(scope, "positional_embedding", [tokens, width]),
            times: scope.placement().tensor(times.unwrap_or_default(), [moments, width]),
            ln_pre: LayerNorm::load(&scope.at("ln_pre"), width, EPSILON),
            transformer: Transformer::load(
                &scope.at("transformer"),
                width,
                heads(width),
                false,
                Activation::QuickGelu,
            ),
            ln_post: LayerNorm::load(&scope.at("ln_post"), width, EPSILON),
            projection: table(scope, "proj", [width, embedding]),
            placement: scope.placement().clone(),
            side: per_side * patch,
            frames,
        })
    }

    /// The tokens of `[frames, side, side, 3]` normalised pixels, `[1, 1 + frames * patches, width]`: the class token
    /// first, then the patches frame by frame. The class token has a position in space and none in time.
    pub(super) fn embed(&self, pixels: Vec<f32>) -> Tensor<3> {
        let pixels = self.placement.tensor(pixels, [self.frames, self.side, self.side, 3]);
        let patches = self.conv1.forward(pixels);
        let [frames, rows, columns, width] = patches.dims();
        let count = rows * columns;
        let positions = self.positions.clone().narrow(0, 1, count).unsqueeze_dim::<3>(0);
        let times = self.times.clone().unsqueeze_dim::<3>(1);
        let patches = patches.reshape([frames, count, width]) + positions + times;
        let class = self.class_embedding.clone() + self.positions.clone().narrow(0, 0, 1);
        Tensor::cat(vec![class.unsqueeze_dim::<3>(0), patches.reshape([1, frames * count, width])], 1)
    }

    /// `[frames, side, side, 3]` normalised pixels of one clip to its embedding, `[1, embedding]`.
    pub(super) fn forward(&self, pixels: Vec<f32>) -> Tensor<2> {
        let x = self.transformer.forward(self.ln_pre.forward(self.embed(pixels)));
        let width = x.dims()[2];
        let class = x.narrow(1, 0, 1).reshape([1, width]);
        self.ln_post.forward(class).matmul(self.projection.clone())
    }
}

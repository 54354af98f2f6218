//! CPU kernels on plain slices for diffusion models, with the instruction set chosen at run time.
//!
//! Activations are row-major `[rows, channels]` (images are `[batch, height, width, channels]`), stored as `f32` or
//! `bf16`; sums and statistics are always `f32`. Weights are packed once into [`PackedMatrix`] or [`PackedConv`].
//! Every function runs on the current rayon pool and gives the same bits at any thread count, because work is split
//! by output element only and never inside a sum.
// Vector and tile instructions, and writes of several threads into disjoint parts of one output, need raw pointers;
// this crate is the one place of the project where they are allowed.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod compiled;
mod conv;
mod dispatch;
mod element;
mod elementwise;
mod epilogue;
mod error;
mod isa;
mod left;
mod matrix;
mod micro;
mod norm;
mod panel;
mod peak;
mod product;
mod scratch;
#[cfg(test)]
mod tests;
mod vector;

pub use activation::Activation;
pub use attention::{AttentionShape, HeadRows, attention};
pub use conv::{ConvGeometry, ImageSize, PackedConv, Resample, conv2d, conv2d_cropped, packed_window_len};
pub use element::{Dtype, Element, Format, WeightStorage};
pub use elementwise::{activate, concat_channels, swap_middle, upsample_nearest};
pub use epilogue::Epilogue;
pub use error::{Error, Result};
pub use isa::Isa;
pub use matrix::{PackedMatrix, gemm};
pub use norm::{GroupNormShape, group_norm, layer_norm};
pub use peak::peak_flops;

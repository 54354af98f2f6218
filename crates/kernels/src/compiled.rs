//! Every heavy operation for either storage type, compiled in this crate.
//!
//! A generic function is compiled again in each crate that calls it, and each of these stands for one body per
//! instruction set; behind a method of a trait without parameters it is compiled here, once.

use half::bf16;

use crate::activation::Activation;
use crate::attention::{AttentionShape, HeadRows};
use crate::conv::{ImageRows, ImageSize, TiledConv};
use crate::epilogue::Epilogue;
use crate::error::Result;
use crate::isa::Isa;
use crate::left::DenseRows;
use crate::matrix::PackedMatrix;
use crate::norm::GroupNormShape;
use crate::{attention, elementwise, matrix, norm};

/// The operations of a storage type, each under an instruction set that this machine has.
pub trait Compiled: Sized {
    /// See [`matrix::multiply`], here for a matrix.
    fn multiply_dense(
        rows: &DenseRows<'_, Self>,
        m: usize,
        weights: &PackedMatrix,
        epilogue: &Epilogue<'_, Self>,
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`matrix::multiply`], here for the windows of a convolution.
    fn multiply_image(
        rows: &ImageRows<'_, Self>,
        m: usize,
        weights: &PackedMatrix,
        epilogue: &Epilogue<'_, Self>,
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`matrix::multiply_tiles`].
    fn multiply_tiles(
        x: &[Self],
        sizes: [ImageSize; 2],
        conv: &TiledConv,
        epilogue: &Epilogue<'_, Self>,
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`crate::attention()`].
    fn attention(
        isa: Isa,
        operands: [HeadRows<'_, Self>; 3],
        shape: &AttentionShape<'_>,
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`crate::group_norm`].
    fn group_norm(
        isa: Isa,
        x: &[Self],
        shape: GroupNormShape,
        epsilon: f32,
        gamma_beta: [&[f32]; 2],
        activation: Activation,
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`crate::layer_norm`].
    fn layer_norm(
        isa: Isa,
        x: &[Self],
        epsilon: f32,
        gamma: &[f32],
        beta: &[f32],
        out: &mut [Self],
    ) -> Result<()>;

    /// See [`crate::activate`].
    fn activate(isa: Isa, x: &[Self], activation: Activation, out: &mut [Self]) -> Result<()>;
}

macro_rules! compiled_here {
    ($($element:ty),*) => {$(
        impl Compiled for $element {
            fn multiply_dense(
                rows: &DenseRows<'_, Self>,
                m: usize,
                weights: &PackedMatrix,
                epilogue: &Epilogue<'_, Self>,
                out: &mut [Self],
            ) -> Result<()> {
                matrix::multiply(rows, m, weights, epilogue, out)
            }

            fn multiply_image(
                rows: &ImageRows<'_, Self>,
                m: usize,
                weights: &PackedMatrix,
                epilogue: &Epilogue<'_, Self>,
                out: &mut [Self],
            ) -> Result<()> {
                matrix::multiply(rows, m, weights, epilogue, out)
            }

            fn multiply_tiles(
                x: &[Self],
                sizes: [ImageSize; 2],
                conv: &TiledConv,
                epilogue: &Epilogue<'_, Self>,
                out: &mut [Self],
            ) -> Result<()> {
                matrix::multiply_tiles(x, sizes, conv, epilogue, out)
            }

            fn attention(
                isa: Isa,
                operands: [HeadRows<'_, Self>; 3],
                shape: &AttentionShape<'_>,
                out: &mut [Self],
            ) -> Result<()> {
                attention::attention_for(isa, operands, shape, out)
            }

            fn group_norm(
                isa: Isa,
                x: &[Self],
                shape: GroupNormShape,
                epsilon: f32,
                gamma_beta: [&[f32]; 2],
                activation: Activation,
                out: &mut [Self],
            ) -> Result<()> {
                norm::group_norm_for(isa, x, shape, epsilon, gamma_beta, activation, out)
            }

            fn layer_norm(
                isa: Isa,
                x: &[Self],
                epsilon: f32,
                gamma: &[f32],
                beta: &[f32],
                out: &mut [Self],
            ) -> Result<()> {
                norm::layer_norm_for(isa, x, epsilon, gamma, beta, out)
            }

            fn activate(isa: Isa, x: &[Self], activation: Activation, out: &mut [Self]) -> Result<()> {
                elementwise::activate_for(isa, x, activation, out)
            }
        }
    )*};
}

compiled_here!(f32, bf16);

//! Vectors of `f32`, as long as the instruction set has them, and loops that are compiled for an instruction set.

mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

pub(crate) use array::Array;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Vector256;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{BitwiseRounding, NativeRounding, Vector512};

use crate::element::Element;

/// A computation written with [`Vector`]s. Mark `run` and all it calls as `#[inline(always)]`: the body is then compiled
/// inside a function that has the instruction set switched on.
pub(crate) trait Loop {
    /// What it gives.
    type Output;

    /// Runs the loops.
    fn run(self) -> Self::Output;
}

/// An instruction set as a type.
pub(crate) trait Vectorised: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// Its vectors.
    type Vector: Vector;

    /// Runs `body` compiled for this instruction set.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn vectorise<L: Loop>(body: L) -> L::Output;
}

/// A few `f32` that are computed with at once. Use vectors only inside a [`Loop`] of their instruction set.
///
/// A vector is filled from, and written to, as many elements of a slice as there are, at most [`Vector::LANES`].
pub(crate) trait Vector: Copy + 'static {
    /// How many numbers.
    const LANES: usize;

    /// The same number in all lanes.
    fn splat(value: f32) -> Self;
    /// The first numbers of a slice, widened; zeros where it is too short.
    fn load<T: Element>(from: &[T]) -> Self;
    /// Rounds to the storage type and writes the first lanes.
    fn store<T: Element>(self, to: &mut [T]);
    /// `self + other`
    fn add(self, other: Self) -> Self;
    /// `self - other`
    fn sub(self, other: Self) -> Self;
    /// `self * other`
    fn mul(self, other: Self) -> Self;
    /// `self * factor + term`, with one or two roundings.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `1 / self` to about one unit in the last place, for normal numbers.
    fn reciprocal(self) -> Self;
    /// The larger one; either where one is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller one; either where one is NaN.
    fn min(self, other: Self) -> Self;
    /// Clears the sign.
    fn abs(self) -> Self;
    /// Takes the sign of another.
    fn with_sign_of(self, other: Self) -> Self;
    /// `e^self` to about two units in the last place, saturating; NaN stays NaN.
    fn exp(self) -> Self;
    /// Sum of all lanes, in a fixed order.
    fn sum(self) -> f32;
    /// The largest lane.
    fn largest(self) -> f32;
}

/// Defines how an instruction set compiles loops.
macro_rules! vectorised {
    ($name:ident, $vector:ty, $features:literal) => {
        impl crate::vector::Vectorised for $name {
            type Vector = $vector;

            #[inline]
            unsafe fn vectorise<L: crate::vector::Loop>(body: L) -> L::Output {
                #[target_feature(enable = $features)]
                fn compiled<L: crate::vector::Loop>(body: L) -> L::Output {
                    body.run()
                }
                // SAFETY: the caller vouches for the instruction set.
                unsafe { compiled(body) }
            }
        }
    };
}
pub(crate) use vectorised;

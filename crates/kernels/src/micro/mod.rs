//! The innermost loops of matrix products, one file for each instruction set.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use half::bf16;

use crate::element::Element;
use crate::scratch::Plain;
use crate::vector::Vectorised;

/// A number as a multiplier takes it, made from an activation or a weight.
pub trait Operand: Plain + Default + std::fmt::Debug + Send + Sync {
    /// Rounds a weight.
    fn from_weight(weight: f32) -> Self;
}

impl Operand for f32 {
    fn from_weight(weight: f32) -> Self {
        weight
    }
}

impl Operand for bf16 {
    fn from_weight(weight: f32) -> Self {
        Self::narrow(weight)
    }
}

/// A storage type that can be multiplied as `O`.
pub trait LoadAs<O>: Copy {
    /// The number as an operand, rounded where the operand is the shorter type.
    fn load(self) -> O;

    /// The same memory as operands, where both types are one.
    fn as_operands(slice: &[Self]) -> Option<&[O]>;
}

impl<O: Operand> LoadAs<O> for O {
    #[inline(always)]
    fn load(self) -> O {
        self
    }

    fn as_operands(slice: &[O]) -> Option<&[O]> {
        Some(slice)
    }
}

impl LoadAs<f32> for bf16 {
    #[inline(always)]
    fn load(self) -> f32 {
        self.widen()
    }

    fn as_operands(_slice: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl LoadAs<bf16> for f32 {
    #[inline(always)]
    fn load(self) -> bf16 {
        bf16::narrow(self)
    }

    fn as_operands(_slice: &[Self]) -> Option<&[bf16]> {
        None
    }
}

/// One call of a micro-kernel: `sums[rows, WIDTH] (+)= a[rows, depth] * b[depth, WIDTH]`.
#[derive(Clone, Copy)]
pub(crate) struct Block<O> {
    /// First element of the first row.
    pub(crate) a: *const O,
    /// Elements from one row of `a` to the next.
    pub(crate) a_stride: usize,
    /// Rows, `1..=ROWS`; `a` is readable up to the next multiple of [`MicroKernel::ROW_ALIGN`].
    pub(crate) rows: usize,
    /// A packed panel, `depth * WIDTH` elements.
    pub(crate) b: *const O,
    /// Length of the sums, a multiple of [`MicroKernel::DEPTH_ALIGN`].
    pub(crate) depth: usize,
    /// `[rows, WIDTH]`, dense, writable up to the next multiple of [`MicroKernel::ROW_ALIGN`].
    pub(crate) sums: *mut f32,
    /// Whether `sums` holds earlier terms that these are added to.
    pub(crate) accumulate: bool,
}

/// The innermost loop for one instruction set and operand type.
///
/// A panel holds `WIDTH` columns; inside it, `DEPTH_ALIGN`-blocks follow each other, and [`MicroKernel::panel_offset`]
/// says where an element lies.
pub(crate) trait MicroKernel: Vectorised {
    /// What is multiplied; sums are `f32`.
    type Operand: Operand;
    /// Most rows of one call.
    const ROWS: usize;
    /// Columns of one call.
    const WIDTH: usize;
    /// Divides the length of every sum; shorter ones are padded with zeros.
    const DEPTH_ALIGN: usize;
    /// Rows are read and sums written in groups of this many.
    const ROW_ALIGN: usize;

    /// Where the weight of (`depth`, `column`) lies in its panel.
    fn panel_offset(depth: usize, column: usize) -> usize;

    /// Prepares this thread for [`MicroKernel::multiply`].
    fn begin() {}

    /// Undoes [`MicroKernel::begin`].
    fn end() {}

    /// Computes one block.
    ///
    /// # Safety
    /// The processor has the instruction set, this thread called [`MicroKernel::begin`], and the pointers of `block` are
    /// valid for the extents that its fields state.
    unsafe fn multiply(block: Block<Self::Operand>);
}

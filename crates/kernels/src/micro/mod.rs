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
use crate::vector::{Vector, Vectorised};

/// A number as a multiplier takes it, made from an activation or a weight.
pub trait Operand: Element + std::fmt::Debug {}

impl Operand for f32 {}

impl Operand for bf16 {}

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

/// One call of a micro-kernel: `sums[rows, WIDTH] (+)= a[rows, depth] * b[depth, WIDTH]`, where a row of `a` is made of
/// `offsets.len()` runs of `run` operands.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a, O> {
    /// Place of the first row; its runs begin at `offsets` from here.
    pub(crate) a: *const O,
    /// Elements from one row of `a` to the next, among the first `ROW_ALIGN` rows and among the rest.
    pub(crate) a_stride: usize,
    /// Elements from the first row to row `ROW_ALIGN`.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only tiles and 512-bit vectors ask for it")
    )]
    pub(crate) second: usize,
    /// Rows, `1..=ROWS`; `a` is readable up to the next multiple of [`MicroKernel::ROW_ALIGN`].
    pub(crate) rows: usize,
    /// Where the runs begin, the same for all rows; not empty.
    pub(crate) offsets: &'a [usize],
    /// Length of a run, a positive multiple of [`MicroKernel::DEPTH_ALIGN`].
    pub(crate) run: usize,
    /// A packed panel, `offsets.len() * run * WIDTH` elements.
    pub(crate) b: *const O,
    /// `[rows, WIDTH]`, dense, writable up to the next multiple of [`MicroKernel::ROW_ALIGN`].
    pub(crate) sums: *mut f32,
    /// Whether only the first half of the columns counts; the sums of the other half may then be left as they are.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only tiles and 512-bit vectors ask for it")
    )]
    pub(crate) narrow: bool,
    /// Whether `sums` holds earlier terms that these are added to.
    pub(crate) accumulate: bool,
}

/// The innermost loop for one instruction set and operand type.
///
/// A panel holds `WIDTH` columns. `GROUP` numbers of a column that follow each other lie side by side, and so do `RUN` columns;
/// [`MicroKernel::panel_offset`] says where a run begins.
pub(crate) trait MicroKernel: Vectorised {
    /// What is multiplied; sums are `f32`.
    type Operand: Operand;
    /// Most rows of one call.
    const ROWS: usize;
    /// Columns of one call: two vectors of `f32`.
    const WIDTH: usize = 2 * Self::Vector::LANES;
    /// Numbers of a column that are multiplied by one instruction in one lane.
    const GROUP: usize;
    /// Columns that lie side by side.
    const RUN: usize;
    /// Divides the length of every sum; shorter ones are padded with zeros. A multiple of `GROUP`.
    const DEPTH_ALIGN: usize;
    /// Most inner elements of one call: a panel then stays in the first-level cache while the rows pass by.
    const MAX_DEPTH: usize;
    /// Rows are read and sums written in groups of this many.
    const ROW_ALIGN: usize;

    /// Where the weight of (`depth`, `column`) lies in its panel, for multiples of `GROUP` and `RUN`.
    fn panel_offset(depth: usize, column: usize) -> usize {
        depth * Self::WIDTH + column * Self::GROUP
    }

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

/// Rows of the left operand; the fields are those of [`Block`].
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, O> {
    /// Starts with the first row, and reaches to the end of the last one that [`MicroKernel::ROW_ALIGN`] makes readable.
    pub(crate) first: &'a [O],
    pub(crate) stride: usize,
    pub(crate) second: usize,
    pub(crate) count: usize,
    pub(crate) offsets: &'a [usize],
}

impl<'a, O> Rows<'a, O> {
    /// Rows of one run each at a fixed distance.
    pub(crate) fn dense<K: MicroKernel>(first: &'a [O], stride: usize, count: usize) -> Self {
        Self { first, stride, second: K::ROW_ALIGN * stride, count, offsets: &[0] }
    }
}

/// `sums[count, WIDTH] (+)= rows[count, depth] * panel[depth, WIDTH]` on a thread that called `K::begin`.
#[inline]
pub(crate) fn multiply<K: MicroKernel>(
    rows: Rows<'_, K::Operand>,
    panel: &[K::Operand],
    run: usize,
    sums: &mut [f32],
    narrow: bool,
    accumulate: bool,
) {
    let readable = rows.count.next_multiple_of(K::ROW_ALIGN);
    let last_row = match K::ROW_ALIGN {
        1 => (readable - 1) * rows.stride,
        align if readable > align => (align - 1) * rows.stride + rows.second,
        align => (align - 1) * rows.stride,
    };
    let last_run = rows.offsets.iter().copied().max();
    let fits = (1..=K::ROWS).contains(&rows.count)
        && run > 0
        && run.is_multiple_of(K::DEPTH_ALIGN)
        && last_run.is_some_and(|last_run| last_row + last_run + run <= rows.first.len())
        && rows.offsets.len() * run * K::WIDTH <= panel.len()
        && readable * K::WIDTH <= sums.len();
    assert!(fits, "a kernel's own sizes do not agree");
    let block = Block {
        a: rows.first.as_ptr(),
        a_stride: rows.stride,
        second: rows.second,
        rows: rows.count,
        offsets: rows.offsets,
        run,
        b: panel.as_ptr(),
        sums: sums.as_mut_ptr(),
        narrow,
        accumulate,
    };
    // SAFETY: a micro-kernel is reached only through `dispatch` or packed weights, both made for an instruction set that the
    // processor has; the assertion gives the pointers their extents.
    unsafe { K::multiply(block) };
}

//! The loops around the micro-kernels: packing of weights, staging of rows, split into tasks, and the epilogue.
//!
//! The loop order is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a block of
//! rows stays in the second-level cache, panels of weights pass through the first. A sum is always taken in the same order
//! (blocks of the inner size one after the other), whatever the split into tasks is.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use crate::element::Element;
use crate::epilogue::{Epilogue, Finish};
use crate::micro::{LoadAs, MicroKernel, Operand, Rows, multiply};
use crate::panel::pack_columns;
use crate::scratch::{AlignedBox, Scratch};

/// Most rows of a task.
const MAX_TASK_ROWS: usize = 256;

/// Weights in the order of one micro-kernel, and the bias, both padded to whole panels with zeros.
#[derive(Clone, Debug)]
pub(crate) struct Panels<K: MicroKernel> {
    weights: AlignedBox<K::Operand>,
    bias: AlignedBox<f32>,
    /// Columns of the output.
    n: usize,
    /// Length of the sums.
    k: usize,
    /// Whether the first half of every panel holds values and the second half their gates (GEGLU).
    gated: bool,
    kernel: PhantomData<K>,
}

impl<K: MicroKernel> Panels<K> {
    /// Packs `weights` `[n, k]`, or `[2 n, k]` where `gated`, and `bias` of as many rows.
    pub(crate) fn pack(weights: &[f32], bias: Option<&[f32]>, n: usize, k: usize, gated: bool) -> Self {
        let per_panel = if gated { K::WIDTH / 2 } else { K::WIDTH };
        let panels = n.div_ceil(per_panel);
        let depth = k.next_multiple_of(K::DEPTH_ALIGN);
        let mut packed = AlignedBox::zeros(panels * depth * K::WIDTH);
        let mut padded_bias = AlignedBox::zeros(panels * K::WIDTH);
        let mut rows = vec![K::Operand::default(); K::WIDTH * depth];
        for (panel, to) in packed.chunks_exact_mut(depth * K::WIDTH).enumerate() {
            rows.fill(K::Operand::default());
            for (lane, to) in rows.chunks_exact_mut(depth).enumerate() {
                let column = panel * per_panel + lane % per_panel;
                if column >= n {
                    continue;
                }
                let row = if lane < per_panel { column } else { n + column };
                for (to, &weight) in to.iter_mut().zip(&weights[row * k..(row + 1) * k]) {
                    *to = K::Operand::narrow(weight);
                }
                padded_bias[panel * K::WIDTH + lane] = bias.map_or(0.0, |bias| bias[row]);
            }
            pack_columns::<K>(&rows, depth, to);
        }
        Self { weights: packed, bias: padded_bias, n, k, gated, kernel: PhantomData }
    }

    fn columns_per_panel(&self) -> usize {
        if self.gated { K::WIDTH / 2 } else { K::WIDTH }
    }

    fn count(&self) -> usize {
        self.n.div_ceil(self.columns_per_panel())
    }

    fn depth(&self) -> usize {
        self.k.next_multiple_of(K::DEPTH_ALIGN)
    }

    /// Inner elements of one block; all blocks but the last have this size.
    fn depth_block(&self) -> usize {
        let blocks = self.depth().div_ceil(K::MAX_DEPTH);
        self.depth().div_ceil(blocks).next_multiple_of(K::DEPTH_ALIGN)
    }
}

/// The left operand: `m` rows of `k` numbers each, which need not exist in memory as such.
pub(crate) trait RowSource<T>: Sync {
    /// Writes elements `depths` of each of `rows` as rows of `stride` operands. `to` is zero where nothing is written.
    fn copy<O: Operand>(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [O], stride: usize)
    where
        T: LoadAs<O>;

    /// The rows themselves and their stride, where they lie in memory.
    fn in_memory(&self) -> Option<(&[T], usize)>;
}

/// A dense matrix `[m, k]`.
pub(crate) struct DenseRows<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) k: usize,
}

impl<T: Element> RowSource<T> for DenseRows<'_, T> {
    fn copy<O: Operand>(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [O], stride: usize)
    where
        T: LoadAs<O>,
    {
        for (row, to) in rows.zip(to.chunks_exact_mut(stride)) {
            for (from, to) in self.x[row * self.k..][depths.clone()].iter().zip(to) {
                *to = from.load();
            }
        }
    }

    fn in_memory(&self) -> Option<(&[T], usize)> {
        Some((self.x, self.k))
    }
}

/// An output that several tasks write, each its own elements.
pub(crate) struct SharedOutput<T> {
    pointer: *mut T,
    length: usize,
}

// SAFETY: the pointer is only used through `row`, whose callers keep to disjoint elements.
unsafe impl<T: Send> Sync for SharedOutput<T> {}

impl<T> SharedOutput<T> {
    pub(crate) fn new(out: &mut [T]) -> Self {
        Self { pointer: out.as_mut_ptr(), length: out.len() }
    }

    /// Elements `start..start + count`.
    ///
    /// # Safety
    /// The slice that this was made of is still mutably borrowed, and no other live slice overlaps these elements.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, count: usize) -> &mut [T] {
        assert!(start <= self.length && count <= self.length - start, "a kernel's own sizes do not agree");
        // SAFETY: in bounds by the line above, unique by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), count) }
    }
}

/// A product of `m` rows with packed weights on its way into `out`.
pub(crate) struct Product<'a, K: MicroKernel, T, R> {
    pub(crate) rows: &'a R,
    pub(crate) m: usize,
    pub(crate) panels: &'a Panels<K>,
    pub(crate) epilogue: Epilogue<'a, T>,
    pub(crate) out: SharedOutput<T>,
}

impl<K: MicroKernel, T: Element + LoadAs<K::Operand>, R: RowSource<T>> Product<'_, K, T, R> {
    /// Computes all of it on the current rayon pool.
    pub(crate) fn run(&self) {
        let threads = rayon::current_num_threads();
        let mut task_rows = MAX_TASK_ROWS;
        while task_rows > 64 && threads > 1 && self.m.div_ceil(task_rows) < 4 * threads {
            task_rows /= 2;
        }
        let row_tasks = self.m.div_ceil(task_rows);
        let panels = self.panels.count();
        let column_tasks = if threads == 1 || row_tasks >= 2 * threads {
            1
        } else {
            panels.min((4 * threads).div_ceil(row_tasks.max(1)))
        };
        (0..row_tasks * column_tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (row_task, column_task) = (task / column_tasks, task % column_tasks);
            let rows = row_task * task_rows..self.m.min((row_task + 1) * task_rows);
            let panels = panels * column_task / column_tasks..panels * (column_task + 1) / column_tasks;
            K::begin();
            self.task(rows, panels);
            K::end();
        });
    }

    /// Computes `rows` by `panels` of the output.
    fn task(&self, rows: Range<usize>, panels: Range<usize>) {
        let depth = self.panels.depth();
        let depth_block = self.panels.depth_block();
        let blocks = depth.div_ceil(depth_block);
        let groups = rows.len().div_ceil(K::ROWS);
        let group_rows = rows.len().div_ceil(groups).next_multiple_of(K::ROW_ALIGN);
        let groups = rows.len().div_ceil(group_rows);
        let padded_rows = rows.len().next_multiple_of(K::ROW_ALIGN);
        let in_memory = self.operands_in_memory(rows.start + padded_rows);
        let mut staged =
            Scratch::<K::Operand>::take(if in_memory.is_some() { 0 } else { padded_rows * depth_block });
        let tile = K::ROWS * K::WIDTH;
        let mut sums = Scratch::<f32>::take(if blocks > 1 { groups * panels.len() * tile } else { 2 * tile });
        let mut pending = None;
        for block in 0..blocks {
            let depths = block * depth_block..depth.min((block + 1) * depth_block);
            let (a, stride) = match in_memory {
                Some((x, stride)) => (&x[rows.start * stride + depths.start..], stride),
                None => {
                    self.stage(rows.clone(), depths.clone(), &mut staged);
                    (&staged[..], depths.len())
                }
            };
            for panel in panels.clone() {
                let b = &self.panels.weights[(panel * depth + depths.start) * K::WIDTH..]
                    [..depths.len() * K::WIDTH];
                for group in 0..groups {
                    let first = group * group_rows;
                    let count = group_rows.min(rows.len() - first);
                    let call_index = (panel - panels.start) * groups + group;
                    let at = if blocks > 1 { call_index } else { call_index % 2 };
                    let tile_sums = &mut sums[at * tile..(at + 1) * tile];
                    let a_rows = Rows { first: &a[first * stride..], stride, count };
                    multiply::<K>(a_rows, b, depths.len(), tile_sums, block > 0);
                    // The epilogue runs one call late, so that the processor need not wait for the last sums of this call.
                    if block + 1 == blocks {
                        let finished = pending.replace((at, rows.start + first, count, panel));
                        self.finish(&sums, finished);
                    }
                }
            }
        }
        self.finish(&sums, pending);
    }

    /// The rows as operands, if they can be read in place up to row `end`.
    fn operands_in_memory(&self, end: usize) -> Option<(&[K::Operand], usize)> {
        let (x, stride) = self.rows.in_memory()?;
        let fits = self.panels.k == self.panels.depth() && end * stride <= x.len();
        if fits { T::as_operands(x).map(|x| (x, stride)) } else { None }
    }

    /// Copies part of the rows into dense rows of `depths.len()` operands, with zeros after the last number.
    fn stage(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [K::Operand]) {
        let stride = depths.len();
        to.fill(K::Operand::default());
        self.rows.copy(rows, depths.start..depths.end.min(self.panels.k), to, stride);
    }

    /// Takes one tile of sums, given as (index, first row, rows, panel), to memory.
    fn finish(&self, sums: &[f32], tile: Option<(usize, usize, usize, usize)>) {
        let Some((at, first_row, rows, panel)) = tile else { return };
        let per_panel = self.panels.columns_per_panel();
        let first_column = panel * per_panel;
        let finish = Finish::<K, T> {
            sums: &sums[at * K::ROWS * K::WIDTH..],
            bias: &self.panels.bias[panel * K::WIDTH..(panel + 1) * K::WIDTH],
            gated: self.panels.gated,
            rows: first_row..first_row + rows,
            columns: first_column..self.panels.n.min(first_column + per_panel),
            m: self.m,
            n: self.panels.n,
            epilogue: self.epilogue,
            out: &self.out,
            kernel: PhantomData,
        };
        // SAFETY: panels of this type exist only where its instruction set does.
        unsafe { K::vectorise(finish) };
    }
}

//! The loops around the micro-kernels: staging of rows, split into tasks, and the epilogue.
//!
//! The loop order is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a block of
//! rows stays in the second-level cache, panels of weights pass through the first. A sum is always taken in the same order
//! (blocks of the inner size one after the other), whatever the split into tasks is.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use crate::element::Element;
use crate::epilogue::{Epilogue, Finish};
use crate::left::{DepthBlock, Layout, RowSource, Windows};
use crate::micro::{LoadAs, MicroKernel, multiply};
use crate::panel::Panels;
use crate::scratch::Scratch;

/// Most rows of a task whose rows are staged.
const MAX_TASK_ROWS: usize = 256;

/// Most sums that wait for their next terms: half a megabyte.
const MAX_WAITING_SUMS: usize = 1 << 17;

/// An output that several tasks write, each its own elements.
pub(crate) struct SharedOutput<T> {
    pointer: *mut T,
    length: usize,
}

// SAFETY: the pointer is only used through `slice`, whose callers keep to disjoint elements.
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

/// Where a finished tile of sums belongs.
#[derive(Clone, Copy)]
struct Tile {
    /// Place among the sums of the task.
    at: usize,
    first_row: usize,
    rows: usize,
    panel: usize,
}

impl<K: MicroKernel, T: Element + LoadAs<K::Operand>, R: RowSource<T>> Product<'_, K, T, R> {
    /// Computes all of it on the current rayon pool.
    pub(crate) fn run(&self) {
        let windows = self.rows.windows::<K>();
        let blocks = match &windows {
            Some(windows) => windows.depth_blocks(K::MAX_DEPTH, K::DEPTH_ALIGN),
            None => DepthBlock::even(self.panels.depth(), K::MAX_DEPTH, K::DEPTH_ALIGN),
        };
        let threads = rayon::current_num_threads();
        let row_tasks = match &windows {
            Some(windows) => windows.tasks(self.m),
            None => even_tasks(self.m, threads),
        };
        let panels = self.panels.count();
        let enough = threads == 1 || row_tasks.len() >= 2 * threads;
        let column_tasks =
            if enough { 1 } else { panels.min((4 * threads).div_ceil(row_tasks.len().max(1))) };
        (0..row_tasks.len() * column_tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (row_task, column_task) = (task / column_tasks, task % column_tasks);
            let panels = panels * column_task / column_tasks..panels * (column_task + 1) / column_tasks;
            K::begin();
            self.task(row_tasks[row_task].clone(), panels, &blocks, windows.as_ref());
            K::end();
        });
    }

    /// Computes `rows` by `panels` of the output.
    fn task(
        &self,
        rows: Range<usize>,
        panels: Range<usize>,
        blocks: &[DepthBlock],
        windows: Option<&Windows>,
    ) {
        let in_memory = self.operands_in_memory(rows.start + rows.len().next_multiple_of(K::ROW_ALIGN));
        let longest = blocks.iter().map(|block| block.depths.len()).max().unwrap_or(0);
        let staged_length = match (windows, in_memory) {
            (Some(windows), _) => windows.staged_length(rows.len()),
            (None, Some(_)) => 0,
            (None, None) => rows.len().next_multiple_of(K::ROW_ALIGN) * longest,
        };
        let mut staged = Scratch::<K::Operand>::take(staged_length);
        if let Some(windows) = windows {
            self.rows.stage_windows(windows, rows.clone(), &mut staged);
        }
        let unit_rows = windows.map_or(rows.len(), |windows| windows.layout.unit_rows.min(rows.len()));
        let groups = groups_of_unit::<K>(unit_rows);
        let units = rows.len() / unit_rows;
        let tiles: Vec<_> =
            (0..units).flat_map(|unit| groups.iter().map(move |group| (unit, group.clone()))).collect();
        // All sums of a chunk wait for their next terms, so a chunk is as large as the cache has room for.
        let tile = K::ROWS * K::WIDTH;
        let chunk = if blocks.len() > 1 {
            (MAX_WAITING_SUMS / (tiles.len() * tile)).clamp(1, panels.len())
        } else {
            panels.len()
        };
        let mut sums = Scratch::<f32>::take(tile * if blocks.len() > 1 { tiles.len() * chunk } else { 2 });
        let mut widened = self.panels.room_to_widen(blocks);
        for first_panel in panels.clone().step_by(chunk) {
            let panels = first_panel..panels.end.min(first_panel + chunk);
            let mut pending = None;
            for (number, block) in blocks.iter().enumerate() {
                let (a, layout) = match (windows, in_memory) {
                    (Some(windows), _) => (&staged[..], windows.layout),
                    (None, Some((x, stride))) => {
                        (&x[rows.start * stride + block.depths.start..], Layout::dense(stride))
                    }
                    (None, None) => {
                        self.stage(rows.clone(), block.depths.clone(), &mut staged);
                        (&staged[..], Layout::dense(block.depths.len()))
                    }
                };
                for panel in panels.clone() {
                    let b = self.panels.weights(panel, &block.depths, &mut widened);
                    let narrow = self.panels.is_narrow(panel);
                    for (index, (unit, group)) in tiles.iter().enumerate() {
                        let call = (panel - panels.start) * tiles.len() + index;
                        let at = if blocks.len() > 1 { call } else { call % 2 };
                        let left = layout.rows::<K>(a, *unit, group, &block.offsets);
                        multiply::<K>(
                            left,
                            b,
                            block.run,
                            &mut sums[at * tile..(at + 1) * tile],
                            narrow,
                            number > 0,
                        );
                        // The epilogue runs one call late, so that the processor need not wait for the last sums of this call.
                        if number + 1 == blocks.len() {
                            let first_row = rows.start + unit * unit_rows + group.start;
                            let finished = pending.replace(Tile { at, first_row, rows: group.len(), panel });
                            self.finish(&sums, finished);
                        }
                    }
                }
            }
            self.finish(&sums, pending);
        }
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

    /// Takes one tile of sums to memory.
    fn finish(&self, sums: &[f32], tile: Option<Tile>) {
        let Some(Tile { at, first_row, rows, panel }) = tile else { return };
        let per_panel = self.panels.columns_per_panel();
        let first_column = panel * per_panel;
        let finish = Finish::<K, T> {
            sums: &sums[at * K::ROWS * K::WIDTH..],
            bias: &self.panels.bias[panel * K::WIDTH..(panel + 1) * K::WIDTH],
            scale: self.panels.scale.as_ref().map(|scale| &scale[panel * K::WIDTH..(panel + 1) * K::WIDTH]),
            gated: self.panels.gated,
            rows: first_row..first_row + rows,
            columns: first_column..self.panels.n.min(first_column + per_panel),
            place: self.rows.place(),
            out_rows: self.rows.place().rows(self.m),
            n: self.panels.n,
            epilogue: self.epilogue,
            out: &self.out,
            kernel: PhantomData,
        };
        // SAFETY: panels of this type exist only where its instruction set does.
        unsafe { K::vectorise(finish) };
    }
}

/// Splits `m` rows so that every thread gets some.
fn even_tasks(m: usize, threads: usize) -> Vec<Range<usize>> {
    let mut rows = MAX_TASK_ROWS;
    while rows > 64 && threads > 1 && m.div_ceil(rows) < 4 * threads {
        rows /= 2;
    }
    (0..m).step_by(rows).map(|start| start..m.min(start + rows)).collect()
}

/// Splits the rows of a unit into groups of one call each, as equal as the micro-kernel allows.
fn groups_of_unit<K: MicroKernel>(rows: usize) -> Vec<Range<usize>> {
    let count = rows.div_ceil(K::ROWS);
    let size = rows.div_ceil(count).next_multiple_of(K::ROW_ALIGN);
    (0..rows).step_by(size).map(|start| start..rows.min(start + size)).collect()
}

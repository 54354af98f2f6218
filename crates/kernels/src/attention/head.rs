//! One head: blocks of queries pass over blocks of keys with a running maximum and total.
//!
//! Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao et al., "FlashAttention" (2022).

use std::ops::Range;

use super::{AttentionShape, HeadRows};
use crate::element::Element;
use crate::micro::{LoadAs, MicroKernel, Rows, multiply};
use crate::panel::{pack_columns, pack_rows};
use crate::product::SharedOutput;
use crate::scratch::Scratch;
use crate::vector::{Loop, Vector};

/// Keys of one block; divisible by the width and depth of every micro-kernel.
const KEY_BLOCK: usize = 256;
/// Stands for the score of a key that must not be seen: no true score comes near, and differences stay finite.
const HIDDEN: f32 = -1e38;
/// Most queries of a task: each panel of keys and values is read once for all of them.
const MAX_QUERIES: usize = 128;

/// Keys and values of one head as panels of a micro-kernel.
pub(super) struct PackedHead<K: MicroKernel> {
    /// Panels of keys as columns.
    keys: Scratch<K::Operand>,
    /// Panels of channels as columns.
    values: Scratch<K::Operand>,
}

/// What threads share of a [`PackedHead`].
#[derive(Clone, Copy)]
pub(super) struct PackedView<'a, O> {
    keys: &'a [O],
    values: &'a [O],
}

impl<K: MicroKernel> PackedHead<K> {
    pub(super) fn pack<T: Element + LoadAs<K::Operand>>(
        [_, k, v]: &[HeadRows<'_, T>; 3],
        shape: &AttentionShape<'_>,
        sample: usize,
        head: usize,
    ) -> Self {
        let depth = shape.head_dim.next_multiple_of(K::DEPTH_ALIGN);
        let columns = shape.keys.next_multiple_of(K::WIDTH);
        let mut rows = Scratch::take(columns * depth);
        copy_rows(
            k,
            shape.keys,
            sample,
            head * shape.head_dim..(head + 1) * shape.head_dim,
            depth,
            &mut rows,
        );
        let mut keys = Scratch::take(columns * depth);
        for (rows, panel) in rows.chunks_exact(K::WIDTH * depth).zip(keys.chunks_exact_mut(K::WIDTH * depth))
        {
            pack_columns::<K>(rows, depth, panel);
        }
        drop(rows);
        let depth = shape.keys.next_multiple_of(K::DEPTH_ALIGN);
        let columns = shape.head_dim.next_multiple_of(K::WIDTH);
        let mut rows = Scratch::take(depth * columns);
        copy_rows(
            v,
            shape.keys,
            sample,
            head * shape.head_dim..(head + 1) * shape.head_dim,
            columns,
            &mut rows,
        );
        let mut values = Scratch::take(depth * columns);
        for (panel, to) in values.chunks_exact_mut(depth * K::WIDTH).enumerate() {
            pack_rows::<K>(&rows[panel * K::WIDTH..], columns, to);
        }
        Self { keys, values }
    }

    pub(super) fn view(&self) -> PackedView<'_, K::Operand> {
        PackedView { keys: &self.keys, values: &self.values }
    }
}

/// Copies one head's rows of a sample into dense rows of `stride` operands; all else of `to` becomes 0.
fn copy_rows<T: LoadAs<O>, O: Copy + Default>(
    from: &HeadRows<'_, T>,
    count: usize,
    sample: usize,
    channels: Range<usize>,
    stride: usize,
    to: &mut [O],
) {
    for (row, to) in to.chunks_exact_mut(stride).enumerate() {
        let (values, padding) = to.split_at_mut(channels.len());
        if row < count {
            let from = &from.data[(sample * count + row) * from.row_stride..][channels.clone()];
            for (to, from) in values.iter_mut().zip(from) {
                *to = from.load();
            }
            padding.fill(O::default());
        } else {
            to.fill(O::default());
        }
    }
}

/// One head of one sample.
pub(super) struct Head<'a, K: MicroKernel, T> {
    pub(super) packed: PackedView<'a, K::Operand>,
    pub(super) q: &'a HeadRows<'a, T>,
    pub(super) shape: &'a AttentionShape<'a>,
    pub(super) sample: usize,
    pub(super) head: usize,
    pub(super) out: &'a SharedOutput<T>,
}

impl<K: MicroKernel, T: Element + LoadAs<K::Operand>> Head<'_, K, T> {
    /// Queries of a task: as many whole groups of rows as there may be.
    pub(super) const TASK_QUERIES: usize = MAX_QUERIES / K::ROWS * K::ROWS;

    /// Computes the output of some queries, at most [`Self::TASK_QUERIES`], on a thread that called `K::begin`.
    pub(super) fn attend(&self, queries: Range<usize>) {
        let shape = self.shape;
        // Later queries see at least the keys of earlier ones.
        let visible = shape.visible_keys(self.sample, queries.end - 1);
        if visible == 0 {
            for query in queries {
                self.out_row(query).fill(T::default());
            }
            return;
        }
        let tile = K::ROWS * K::WIDTH;
        let rows = queries.len();
        let padded_rows = rows.next_multiple_of(K::ROW_ALIGN);
        let depth = shape.head_dim.next_multiple_of(K::DEPTH_ALIGN);
        let mut q_rows = Scratch::<K::Operand>::take(padded_rows * depth);
        let first_row = self.sample * shape.queries + queries.start;
        let q = HeadRows { data: &self.q.data[first_row * self.q.row_stride..], ..*self.q };
        let channels = self.head * shape.head_dim..(self.head + 1) * shape.head_dim;
        copy_rows(&q, rows, 0, channels, depth, &mut q_rows);
        let groups = rows.div_ceil(K::ROWS);
        let mut scores = Scratch::<f32>::take(KEY_BLOCK / K::WIDTH * groups * tile);
        let mut weights = Scratch::<K::Operand>::take(padded_rows * KEY_BLOCK);
        let mut sums = Scratch::<f32>::take(shape.head_dim.div_ceil(K::WIDTH) * groups * tile);
        let mut maxima = [HIDDEN; MAX_QUERIES];
        let mut totals = [0.0; MAX_QUERIES];
        let value_depth = shape.keys.next_multiple_of(K::DEPTH_ALIGN);
        for start in (0..visible).step_by(KEY_BLOCK) {
            let keys = KEY_BLOCK.min(visible - start);
            for (panel, scores) in
                scores.chunks_exact_mut(groups * tile).enumerate().take(keys.div_ceil(K::WIDTH))
            {
                let b = &self.packed.keys[(start + panel * K::WIDTH) * depth..];
                multiply_groups::<K>(&q_rows, depth, rows, b, depth, scores, false);
            }
            let softmax = Softmax::<K> {
                scores: &mut scores,
                keys: start..start + keys,
                queries: queries.clone(),
                sample: self.sample,
                shape,
                weights: &mut weights,
                maxima: &mut maxima,
                totals: &mut totals,
                sums: &mut sums,
            };
            // SAFETY: heads are computed only with instruction sets that the processor has.
            unsafe { K::vectorise(softmax) };
            let depth = keys.next_multiple_of(K::DEPTH_ALIGN);
            for (panel, sums) in sums.chunks_exact_mut(groups * tile).enumerate() {
                let b = &self.packed.values[(panel * value_depth + start) * K::WIDTH..];
                multiply_groups::<K>(&weights, KEY_BLOCK, rows, b, depth, sums, start > 0);
            }
        }
        // SAFETY: as above.
        unsafe { K::vectorise(Divide { head: self, queries, sums: &sums, totals: &totals }) };
    }

    /// The output of one query.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    fn out_row(&self, query: usize) -> &mut [T] {
        let row = self.sample * self.shape.queries + query;
        let start = (row * self.shape.heads + self.head) * self.shape.head_dim;
        // SAFETY: the channels of one head in one row belong to one call of `attend`, which holds one row at a time.
        unsafe { self.out.slice(start, self.shape.head_dim) }
    }
}

/// One panel times all rows, group by group; `sums` is `[rows, WIDTH]` with whole groups.
fn multiply_groups<K: MicroKernel>(
    rows: &[K::Operand],
    stride: usize,
    count: usize,
    panel: &[K::Operand],
    depth: usize,
    sums: &mut [f32],
    accumulate: bool,
) {
    for (group, sums) in sums.chunks_exact_mut(K::ROWS * K::WIDTH).enumerate() {
        let first = group * K::ROWS;
        let rows = Rows::dense::<K>(&rows[first * stride..], stride, K::ROWS.min(count - first));
        multiply::<K>(rows, panel, depth, sums, false, accumulate);
    }
}

/// Turns the scores of a block of keys into weights relative to the running maximum, and rescales what was summed before.
struct Softmax<'a, K: MicroKernel> {
    /// A `[rows, WIDTH]` for each panel, with whole groups of rows.
    scores: &'a mut [f32],
    keys: Range<usize>,
    queries: Range<usize>,
    sample: usize,
    shape: &'a AttentionShape<'a>,
    /// Rows of `KEY_BLOCK`.
    weights: &'a mut [K::Operand],
    maxima: &'a mut [f32; MAX_QUERIES],
    totals: &'a mut [f32; MAX_QUERIES],
    /// As the scores.
    sums: &'a mut [f32],
}

impl<K: MicroKernel> Loop for Softmax<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let tile = self.queries.len().next_multiple_of(K::ROWS) * K::WIDTH;
        let scale = K::Vector::splat(self.shape.scale);
        for (row, query) in self.queries.enumerate() {
            let visible = self.shape.visible_keys(self.sample, query).clamp(self.keys.start, self.keys.end)
                - self.keys.start;
            let tiles = self.keys.len().div_ceil(K::WIDTH);
            let mut largest = K::Vector::splat(HIDDEN);
            for (at, scores) in self.scores.chunks_exact_mut(tile).take(tiles).enumerate() {
                let scores = &mut scores[row * K::WIDTH..(row + 1) * K::WIDTH];
                for scores in scores.chunks_exact_mut(K::Vector::LANES) {
                    let scaled = K::Vector::load(scores).mul(scale);
                    scaled.store(scores);
                }
                if (at + 1) * K::WIDTH > visible {
                    scores[visible.saturating_sub(at * K::WIDTH)..].fill(HIDDEN);
                }
                for scores in scores.chunks_exact(K::Vector::LANES) {
                    largest = largest.max(K::Vector::load(scores));
                }
            }
            let maximum = largest.largest().max(self.maxima[row]);
            let correction = K::Vector::splat(self.maxima[row] - maximum).exp();
            self.maxima[row] = maximum;
            let maximum = K::Vector::splat(maximum);
            let mut total = K::Vector::splat(0.0);
            let weights = &mut self.weights[row * KEY_BLOCK..(row + 1) * KEY_BLOCK];
            for (scores, weights) in
                self.scores.chunks_exact(tile).take(tiles).zip(weights.chunks_exact_mut(K::WIDTH))
            {
                let scores = scores[row * K::WIDTH..(row + 1) * K::WIDTH].chunks_exact(K::Vector::LANES);
                for (scores, weights) in scores.zip(weights.chunks_exact_mut(K::Vector::LANES)) {
                    let weight = K::Vector::load(scores).sub(maximum).exp();
                    total = total.add(weight);
                    weight.store(weights);
                }
            }
            if self.keys.start > 0 {
                for sums in self.sums.chunks_exact_mut(tile) {
                    for sums in sums[row * K::WIDTH..(row + 1) * K::WIDTH].chunks_exact_mut(K::Vector::LANES)
                    {
                        K::Vector::load(sums).mul(correction).store(sums);
                    }
                }
            }
            self.totals[row] = self.totals[row] * correction.largest() + total.sum();
        }
    }
}

/// Divides the sums of each query by its total.
struct Divide<'a, K: MicroKernel, T> {
    head: &'a Head<'a, K, T>,
    queries: Range<usize>,
    /// As the scores.
    sums: &'a [f32],
    totals: &'a [f32; MAX_QUERIES],
}

impl<K: MicroKernel, T: Element + LoadAs<K::Operand>> Loop for Divide<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let tile = self.queries.len().next_multiple_of(K::ROWS) * K::WIDTH;
        for (row, query) in self.queries.enumerate() {
            let factor = K::Vector::splat(1.0 / self.totals[row]);
            let out = self.head.out_row(query).chunks_mut(K::WIDTH);
            for (sums, out) in self.sums.chunks_exact(tile).zip(out) {
                let sums = sums[row * K::WIDTH..(row + 1) * K::WIDTH].chunks_exact(K::Vector::LANES);
                for (sums, out) in sums.zip(out.chunks_mut(K::Vector::LANES)) {
                    K::Vector::load(sums).mul(factor).store(out);
                }
            }
        }
    }
}

//! Puts numbers into the order in which a micro-kernel reads its right operand.

use std::marker::PhantomData;
use std::ops::Range;

use crate::element::Element;
use crate::micro::MicroKernel;
use crate::scratch::AlignedBox;

/// Weights in the order of one micro-kernel, and the bias, both padded to whole panels with zeros.
#[derive(Clone, Debug)]
pub(crate) struct Panels<K: MicroKernel> {
    weights: AlignedBox<K::Operand>,
    pub(crate) bias: AlignedBox<f32>,
    /// Columns of the output.
    pub(crate) n: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Whether the first half of every panel holds values and the second half their gates (GEGLU).
    pub(crate) gated: bool,
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

    /// Columns of the output that one panel gives.
    pub(crate) fn columns_per_panel(&self) -> usize {
        if self.gated { K::WIDTH / 2 } else { K::WIDTH }
    }

    /// How many panels.
    pub(crate) fn count(&self) -> usize {
        self.n.div_ceil(self.columns_per_panel())
    }

    /// Length of the sums with padding.
    pub(crate) fn depth(&self) -> usize {
        self.k.next_multiple_of(K::DEPTH_ALIGN)
    }

    /// Whether the second half of a panel is padding.
    pub(crate) fn is_narrow(&self, panel: usize) -> bool {
        !self.gated && self.n - panel * K::WIDTH <= K::WIDTH / 2
    }

    /// The part of a panel for some elements of the sums.
    pub(crate) fn weights(&self, panel: usize, depths: &Range<usize>) -> &[K::Operand] {
        &self.weights[(panel * self.depth() + depths.start) * K::WIDTH..][..depths.len() * K::WIDTH]
    }
}

/// Fills one panel from `WIDTH` rows of `depth` operands, each of which becomes a column.
///
/// `depth` is a multiple of `DEPTH_ALIGN`, and `to` has `WIDTH * depth` elements.
pub(crate) fn pack_columns<K: MicroKernel>(rows: &[K::Operand], depth: usize, to: &mut [K::Operand]) {
    for first in (0..K::WIDTH).step_by(K::RUN) {
        for at in (0..depth).step_by(K::GROUP) {
            let to = &mut to[K::panel_offset(at, first)..][..K::RUN * K::GROUP];
            for (to, row) in to.chunks_exact_mut(K::GROUP).zip(rows[first * depth..].chunks_exact(depth)) {
                to.copy_from_slice(&row[at..at + K::GROUP]);
            }
        }
    }
}

/// Fills one panel from rows of which `WIDTH` operands count; the first operand of a row is its first column.
///
/// `to.len() / WIDTH` rows of `stride` operands are read.
pub(crate) fn pack_rows<K: MicroKernel>(rows: &[K::Operand], stride: usize, to: &mut [K::Operand]) {
    for at in (0..to.len() / K::WIDTH).step_by(K::GROUP) {
        for first in (0..K::WIDTH).step_by(K::RUN) {
            let to = &mut to[K::panel_offset(at, first)..][..K::RUN * K::GROUP];
            for part in 0..K::GROUP {
                let from = &rows[(at + part) * stride + first..][..K::RUN];
                for (to, from) in to[part..].iter_mut().step_by(K::GROUP).zip(from) {
                    *to = *from;
                }
            }
        }
    }
}

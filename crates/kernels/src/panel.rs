//! Puts numbers into the order in which a micro-kernel reads its right operand.

use std::marker::PhantomData;
use std::ops::Range;

use half::{bf16, f16};

use crate::element::{Dtype, Element, WeightStorage};
use crate::left::DepthBlock;
use crate::micro::{MicroKernel, Operand};
use crate::scratch::{AlignedBox, Plain, Scratch};
use crate::vector::Loop;

/// Largest magnitude of an 8-bit weight; symmetric, so that a scale is all that is kept beside them.
const LARGEST_INTEGER: f32 = 127.0;

/// Weights in the order of one micro-kernel, and what follows their sums, both padded to whole panels with zeros.
#[derive(Clone, Debug)]
pub(crate) struct Panels<K: MicroKernel> {
    weights: Stored<K::Operand>,
    /// What the sums of integer weights are multiplied by.
    pub(crate) scale: Option<AlignedBox<f32>>,
    pub(crate) bias: AlignedBox<f32>,
    /// Columns of the output.
    pub(crate) n: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Whether the first half of every panel holds values and the second half their gates (GEGLU).
    pub(crate) gated: bool,
    kernel: PhantomData<K>,
}

/// How weights become panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// Columns of the output.
    pub(crate) n: usize,
    /// Length of the sums.
    pub(crate) k: usize,
    /// Whether there are as many gates as columns.
    pub(crate) gated: bool,
    /// How they are kept.
    pub(crate) storage: WeightStorage,
}

/// Weights as they multiply, or in fewer bits: then a panel is widened when its turn comes, once for all rows of a task.
#[derive(Clone, Debug)]
enum Stored<O> {
    Operands(AlignedBox<O>),
    Bf16(AlignedBox<bf16>),
    F16(AlignedBox<f16>),
    Int8(AlignedBox<i8>),
}

impl<K: MicroKernel> Panels<K> {
    /// Packs `weights` `[n, k]`, or `[2 n, k]` where `gated`, and `bias` of as many rows.
    pub(crate) fn pack(weights: &[f32], bias: Option<&[f32]>, packing: Packing) -> Self {
        let Packing { n, k, gated, storage } = packing;
        let per_panel = if gated { K::WIDTH / 2 } else { K::WIDTH };
        let panels = n.div_ceil(per_panel);
        let depth = k.next_multiple_of(K::DEPTH_ALIGN);
        let mut packed = AlignedBox::zeros(panels * depth * K::WIDTH);
        let mut padded_bias = AlignedBox::zeros(panels * K::WIDTH);
        let mut scale = (storage == WeightStorage::Int8).then(|| AlignedBox::<f32>::zeros(panels * K::WIDTH));
        let mut rows = vec![K::Operand::default(); K::WIDTH * depth];
        for (panel, to) in packed.chunks_exact_mut(depth * K::WIDTH).enumerate() {
            rows.fill(K::Operand::default());
            for (lane, to) in rows.chunks_exact_mut(depth).enumerate() {
                let column = panel * per_panel + lane % per_panel;
                if column >= n {
                    continue;
                }
                let row = if lane < per_panel { column } else { n + column };
                let weights = &weights[row * k..(row + 1) * k];
                let mut factor = 1.0;
                if let Some(scale) = &mut scale {
                    let largest = largest_magnitude(weights);
                    scale[panel * K::WIDTH + lane] = largest / LARGEST_INTEGER;
                    factor = if largest > 0.0 { LARGEST_INTEGER / largest } else { 0.0 };
                }
                for (to, &weight) in to.iter_mut().zip(weights) {
                    *to =
                        K::Operand::narrow(if scale.is_some() { (weight * factor).round() } else { weight });
                }
                padded_bias[panel * K::WIDTH + lane] = bias.map_or(0.0, |bias| bias[row]);
            }
            pack_columns::<K>(&rows, depth, to);
        }
        let weights = Stored::new(packed, storage);
        Self { weights, scale, bias: padded_bias, n, k, gated, kernel: PhantomData }
    }

    /// Bytes of the weights.
    #[cfg(test)]
    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.weights {
            Stored::Operands(weights) => size_of_val(&**weights),
            Stored::Bf16(weights) => size_of_val(&**weights),
            Stored::F16(weights) => size_of_val(&**weights),
            Stored::Int8(weights) => size_of_val(&**weights),
        }
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

    /// What [`Panels::weights`] needs for the blocks of a product.
    pub(crate) fn room_to_widen(&self, blocks: &[DepthBlock]) -> Scratch<K::Operand> {
        let longest = blocks.iter().map(|block| block.depths.len()).max().unwrap_or(0);
        let is_short = !matches!(self.weights, Stored::Operands(_));
        Scratch::take(if is_short { longest * K::WIDTH } else { 0 })
    }

    /// The part of a panel for some elements of the sums.
    #[inline]
    pub(crate) fn weights<'a>(
        &'a self,
        panel: usize,
        depths: &Range<usize>,
        widened: &'a mut [K::Operand],
    ) -> &'a [K::Operand] {
        let first = (panel * self.depth() + depths.start) * K::WIDTH;
        let part = first..first + depths.len() * K::WIDTH;
        // SAFETY: panels of this type exist only where its instruction set does.
        unsafe {
            match &self.weights {
                Stored::Operands(weights) => &weights[part],
                Stored::Bf16(weights) => K::vectorise(Widen { from: &weights[part], to: widened }),
                Stored::F16(weights) => K::vectorise(Widen { from: &weights[part], to: widened }),
                Stored::Int8(weights) => K::vectorise(Widen { from: &weights[part], to: widened }),
            }
        }
    }
}

/// NaN where a weight is not finite: no integer says so, and the scale makes NaN of the whole column.
fn largest_magnitude(weights: &[f32]) -> f32 {
    let largest = |largest: f32, weight: &f32| largest.max(weight.abs());
    if weights.iter().all(|weight| weight.is_finite()) { weights.iter().fold(0.0, largest) } else { f32::NAN }
}

impl<O: Operand> Stored<O> {
    /// Weights in the fewest bits that their storage allows; integers are integers already.
    fn new(weights: AlignedBox<O>, storage: WeightStorage) -> Self {
        if storage == WeightStorage::Int8 {
            return Self::Int8(converted(&weights));
        }
        if O::DTYPE == Dtype::Bf16 {
            return Self::Operands(weights);
        }
        if holds_all::<O, bf16>(&weights) {
            return Self::Bf16(converted(&weights));
        }
        if holds_all::<O, f16>(&weights) {
            return Self::F16(converted(&weights));
        }
        Self::Operands(weights)
    }
}

/// A storage type of weights that is shorter than what multiplies.
trait Short: Plain {
    fn narrow(value: f32) -> Self;
    fn widen(self) -> f32;
}

impl Short for bf16 {
    fn narrow(value: f32) -> Self {
        Element::narrow(value)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        Element::widen(self)
    }
}

impl Short for f16 {
    fn narrow(value: f32) -> Self {
        Self::from_f32(value)
    }

    /// Moves the bits of the fraction to their place and multiplies by the difference of the exponents' biases, which
    /// makes subnormal numbers right as well and, unlike a branch, vector code. Infinity and NaN are not stored.
    #[inline(always)]
    fn widen(self) -> f32 {
        let bits = u32::from(self.to_bits());
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
    }
}

impl Short for i8 {
    fn narrow(value: f32) -> Self {
        value as Self
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

fn converted<O: Operand, S: Short>(weights: &[O]) -> AlignedBox<S> {
    let mut short = AlignedBox::zeros(weights.len());
    short.iter_mut().zip(weights).for_each(|(to, weight)| *to = S::narrow(weight.widen()));
    short
}

fn holds_all<O: Operand, S: Short>(weights: &[O]) -> bool {
    weights.iter().all(|weight| {
        let value = weight.widen();
        value.is_finite() && S::narrow(value).widen().to_bits() == value.to_bits()
    })
}

/// Widens as many numbers as there are and gives them.
struct Widen<'a, S, O> {
    from: &'a [S],
    to: &'a mut [O],
}

impl<'a, S: Short, O: Operand> Loop for Widen<'a, S, O> {
    type Output = &'a [O];

    #[inline(always)]
    fn run(self) -> &'a [O] {
        let to = &mut self.to[..self.from.len()];
        to.iter_mut().zip(self.from).for_each(|(to, from)| *to = O::narrow(from.widen()));
        to
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_f16_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits);
            if value.is_finite() {
                assert_eq!(Short::widen(value).to_bits(), value.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }
}

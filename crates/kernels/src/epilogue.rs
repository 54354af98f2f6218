//! What happens to a sum of products on its way to memory.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activation::{Activation, Map, gelu_erf, maps};
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};
use crate::micro::MicroKernel;
use crate::product::SharedOutput;
use crate::vector::Loop;

/// `out = activation(sum + bias + sample_bias + residual)`; the bias travels with the packed weights.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// A row for each sample (a time embedding), `[samples, n]`; the samples share the output's rows equally.
    pub sample_bias: Option<&'a [T]>,
    /// Added element by element, `[m, n]`.
    pub residual: Option<&'a [T]>,
    /// Applied last.
    pub activation: Activation,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { sample_bias: None, residual: None, activation: Activation::None }
    }
}

impl<T: Element> Epilogue<'_, T> {
    /// Checks the operands against an output of `[m, n]`.
    pub(crate) fn check(&self, m: usize, n: usize) -> Result<()> {
        if let Some(residual) = self.residual {
            check_length("residual", m * n, residual.len())?;
        }
        if let Some(sample_bias) = self.sample_bias {
            let samples = sample_bias.len() / n;
            let holds = samples > 0 && sample_bias.len().is_multiple_of(n) && m.is_multiple_of(samples);
            check_shape(
                "sample bias",
                "a row for each of a divisor of the output's rows",
                sample_bias.len(),
                holds,
            )?;
        }
        Ok(())
    }
}

/// Takes one block of sums to memory.
pub(crate) struct Finish<'a, K, T> {
    /// `[rows, WIDTH]`
    pub(crate) sums: &'a [f32],
    /// `[WIDTH]`
    pub(crate) bias: &'a [f32],
    /// Whether the second half of the columns gates the first.
    pub(crate) gated: bool,
    /// Rows of the output.
    pub(crate) rows: Range<usize>,
    /// Columns of the output.
    pub(crate) columns: Range<usize>,
    /// All rows of the output.
    pub(crate) m: usize,
    /// All columns of the output.
    pub(crate) n: usize,
    pub(crate) epilogue: Epilogue<'a, T>,
    pub(crate) out: &'a SharedOutput<T>,
    pub(crate) kernel: PhantomData<K>,
}

/// The widest micro-kernel.
const MAX_WIDTH: usize = 32;

impl<K: MicroKernel, T: Element> Loop for Finish<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Each activation gets a loop of its own, because a choice inside the loop would keep it from becoming vector code.
        match self.epilogue.activation {
            Activation::None => self.all_rows(maps::None),
            Activation::Silu => self.all_rows(maps::Silu),
            Activation::QuickGelu => self.all_rows(maps::QuickGelu),
            Activation::GeluErf => self.all_rows(maps::GeluErf),
            Activation::Relu => self.all_rows(maps::Relu),
        }
    }
}

impl<K: MicroKernel, T: Element> Finish<'_, K, T> {
    #[inline(always)]
    fn all_rows<M: Map>(&self, map: M) {
        let samples = self.epilogue.sample_bias.map_or(1, |bias| bias.len() / self.n);
        let rows_per_sample = (self.m / samples).max(1);
        let width = if self.gated { K::WIDTH / 2 } else { K::WIDTH };
        for (row, sums) in self.rows.clone().zip(self.sums.chunks_exact(K::WIDTH)) {
            // A whole panel is the usual case; written apart, its loops have a fixed length.
            if self.columns.len() == K::WIDTH {
                self.row(row, row / rows_per_sample, sums, K::WIDTH, K::WIDTH, map);
            } else {
                self.row(row, row / rows_per_sample, sums, width, self.columns.len(), map);
            }
        }
    }

    #[inline(always)]
    fn row<M: Map>(&self, row: usize, sample: usize, sums: &[f32], width: usize, count: usize, map: M) {
        let mut buffer = [0.0; MAX_WIDTH];
        let values = &mut buffer[..count];
        for (value, (sum, bias)) in values.iter_mut().zip(sums.iter().zip(self.bias)) {
            *value = sum + bias;
        }
        if self.gated {
            for (value, (sum, bias)) in values.iter_mut().zip(sums[width..].iter().zip(&self.bias[width..])) {
                *value *= gelu_erf(sum + bias);
            }
        }
        if let Some(bias) = self.epilogue.sample_bias {
            for (value, bias) in values.iter_mut().zip(&bias[sample * self.n + self.columns.start..][..count])
            {
                *value += bias.widen();
            }
        }
        let start = row * self.n + self.columns.start;
        if let Some(residual) = self.epilogue.residual {
            for (value, residual) in values.iter_mut().zip(&residual[start..start + count]) {
                *value += residual.widen();
            }
        }
        // SAFETY: each element of the output belongs to one row and one panel, and so to one call of one task.
        let out = unsafe { self.out.slice(start, count) };
        for (out, value) in out.iter_mut().zip(values) {
            *out = T::narrow(map.apply(*value));
        }
    }
}

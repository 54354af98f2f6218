//! What happens to a sum of products on its way to memory.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activation::{Activation, Map, maps, with_map};
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};
use crate::left::Place;
use crate::micro::MicroKernel;
use crate::product::SharedOutput;
use crate::vector::{Loop, Vector};

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
    /// `[WIDTH]`, what the sums of integer weights are multiplied by.
    pub(crate) scale: Option<&'a [f32]>,
    /// Whether the second half of the columns gates the first.
    pub(crate) gated: bool,
    /// Rows of the product.
    pub(crate) rows: Range<usize>,
    /// Where they go in the output.
    pub(crate) place: Place,
    /// Columns of the output.
    pub(crate) columns: Range<usize>,
    /// All rows of the output.
    pub(crate) out_rows: usize,
    /// All columns of the output.
    pub(crate) n: usize,
    pub(crate) epilogue: Epilogue<'a, T>,
    pub(crate) out: &'a SharedOutput<T>,
    pub(crate) kernel: PhantomData<K>,
}

impl<K: MicroKernel, T: Element> Loop for Finish<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_map!(self.epilogue.activation, M => self.all_rows::<M>());
    }
}

impl<K: MicroKernel, T: Element> Finish<'_, K, T> {
    #[inline(always)]
    fn all_rows<M: Map>(&self) {
        let lanes = K::Vector::LANES;
        let samples = self.epilogue.sample_bias.map_or(1, |bias| bias.len() / self.n);
        let rows_per_sample = (self.out_rows / samples).max(1);
        let bias = [K::Vector::load(self.bias), K::Vector::load(&self.bias[lanes..])];
        let scale = self.scale.map(|scale| [K::Vector::load(scale), K::Vector::load(&scale[lanes..])]);
        let (first, count) = (self.columns.start, self.columns.len());
        for (row, sums) in self.rows.clone().zip(self.sums.chunks_exact(2 * lanes)) {
            let mut values = [K::Vector::load(sums), K::Vector::load(&sums[lanes..])];
            if let Some(scale) = scale {
                values = [values[0].mul(scale[0]), values[1].mul(scale[1])];
            }
            let values = [values[0].add(bias[0]), values[1].add(bias[1])];
            let row = self.place.of(row);
            let start = row * self.n + first;
            let sample_bias = self
                .epilogue
                .sample_bias
                .map(|bias| &bias[row / rows_per_sample * self.n + first..][..count]);
            let residual = self.epilogue.residual.map(|residual| &residual[start..start + count]);
            // SAFETY: each element of the output belongs to one row and one panel, and so to one call of one task.
            let out = unsafe { self.out.slice(start, count) };
            if self.gated {
                let product = values[0].mul(maps::GeluErf::apply(values[1]));
                finish_vector::<M, _, _>(product, sample_bias, residual, out);
            } else if count > lanes {
                let (low, high) = out.split_at_mut(lanes);
                finish_vector::<M, _, _>(values[0], sample_bias, residual, low);
                let (sample_bias, residual) =
                    (sample_bias.map(|bias| &bias[lanes..]), residual.map(|rest| &rest[lanes..]));
                finish_vector::<M, _, _>(values[1], sample_bias, residual, high);
            } else {
                finish_vector::<M, _, _>(values[0], sample_bias, residual, out);
            }
        }
    }
}

/// The last steps for one vector; the slices hold at least as many elements as `out`.
#[inline(always)]
pub(crate) fn finish_vector<M: Map, V: Vector, T: Element>(
    sums: V,
    sample_bias: Option<&[T]>,
    residual: Option<&[T]>,
    out: &mut [T],
) {
    let mut values = sums;
    if let Some(bias) = sample_bias {
        values = values.add(V::load(bias));
    }
    if let Some(residual) = residual {
        values = values.add(V::load(residual));
    }
    M::apply(values).store(out);
}

//! What happens to a sum of products on its way to memory.

use crate::activation::Activation;
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};

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

//! Operations that only move or map elements.

use std::marker::PhantomData;

use rayon::prelude::*;

use crate::activation::{Activation, Map, maps, with_map};
use crate::conv::ImageSize;
use crate::dispatch::{Task, dispatch};
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};
use crate::isa::Isa;
use crate::micro::{MicroKernel, Operand};
use crate::vector::{Loop, Vector, Vectorised};

/// Elements of a task.
const TASK_ELEMENTS: usize = 16_384;

/// `out = activation(x)`, element by element.
///
/// # Errors
/// Lengths that differ.
pub fn activate<T: Element>(x: &[T], activation: Activation, out: &mut [T]) -> Result<()> {
    T::activate(Isa::current(), x, activation, out)
}

/// Maps with an instruction set that this machine has.
pub(crate) fn activate_for<T: Element>(
    isa: Isa,
    x: &[T],
    activation: Activation,
    out: &mut [T],
) -> Result<()> {
    check_length("output", x.len(), out.len())?;
    dispatch(isa, T::DTYPE, Activate { x, activation, out });
    Ok(())
}

struct Activate<'a, T> {
    x: &'a [T],
    activation: Activation,
    out: &'a mut [T],
}

impl<T: Element, O: Operand> Task<O> for Activate<'_, T> {
    type Output = ();

    fn run<K: MicroKernel<Operand = O>>(self) {
        self.x.par_chunks(TASK_ELEMENTS).zip(self.out.par_chunks_mut(TASK_ELEMENTS)).for_each(|(x, out)| {
            let body = ActivateBlock::<K, T> { x, activation: self.activation, out, kernel: PhantomData };
            // SAFETY: tasks run only with instruction sets that the processor has.
            unsafe { K::vectorise(body) };
        });
    }
}

struct ActivateBlock<'a, K, T> {
    x: &'a [T],
    activation: Activation,
    out: &'a mut [T],
    kernel: PhantomData<K>,
}

impl<K: Vectorised, T: Element> Loop for ActivateBlock<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_map!(self.activation, M => {
            for (x, out) in self.x.chunks(K::Vector::LANES).zip(self.out.chunks_mut(K::Vector::LANES)) {
                M::apply(K::Vector::load(x)).store(out);
            }
        });
    }
}

/// Every pixel becomes two by two: `x` `[batch, height, width, channels]` to `out` `[batch, 2 height, 2 width, channels]`.
///
/// # Errors
/// A length that does not fit.
pub fn upsample_nearest<T: Element>(x: &[T], size: ImageSize, channels: usize, out: &mut [T]) -> Result<()> {
    check_shape("channels", "at least 1", channels, channels > 0)?;
    check_length("input", size.pixels() * channels, x.len())?;
    check_length("output", 4 * x.len(), out.len())?;
    let line = size.width * channels;
    x.par_chunks(line.max(1)).zip(out.par_chunks_mut(4 * line.max(1))).for_each(|(x, out)| {
        let (first, second) = out.split_at_mut(2 * line);
        for (pixel, pair) in x.chunks_exact(channels).zip(first.chunks_exact_mut(2 * channels)) {
            pair[..channels].copy_from_slice(pixel);
            pair[channels..].copy_from_slice(pixel);
        }
        second.copy_from_slice(first);
    });
    Ok(())
}

/// Joins two matrices side by side: `[rows, a_channels]` and `[rows, b_channels]` to `[rows, a_channels + b_channels]`.
///
/// # Errors
/// A length that does not fit.
pub fn concat_channels<T: Element>(
    a: &[T],
    a_channels: usize,
    b: &[T],
    b_channels: usize,
    out: &mut [T],
) -> Result<()> {
    check_shape("channels", "at least 1 each", a_channels.min(b_channels), a_channels > 0 && b_channels > 0)?;
    let rows = a.len() / a_channels;
    check_length("first input", rows * a_channels, a.len())?;
    check_length("second input", rows * b_channels, b.len())?;
    check_length("output", a.len() + b.len(), out.len())?;
    let rows = a.par_chunks(a_channels).zip(b.par_chunks(b_channels));
    rows.zip(out.par_chunks_mut(a_channels + b_channels)).with_min_len(64).for_each(|((a, b), out)| {
        out[..a_channels].copy_from_slice(a);
        out[a_channels..].copy_from_slice(b);
    });
    Ok(())
}

/// Exchanges the two middle axes: `x` `[batch, first, second, channels]` to `out` `[batch, second, first, channels]`.
///
/// # Errors
/// A length that does not fit.
pub fn swap_middle<T: Element>(
    x: &[T],
    [batch, first, second, channels]: [usize; 4],
    out: &mut [T],
) -> Result<()> {
    check_length("input", batch * first * second * channels, x.len())?;
    check_length("output", x.len(), out.len())?;
    if x.is_empty() {
        return Ok(());
    }
    out.par_chunks_mut(first * channels).enumerate().for_each(|(at, rows)| {
        let (sample, column) = (at / second, at % second);
        for (row, to) in rows.chunks_exact_mut(channels).enumerate() {
            let from = ((sample * first + row) * second + column) * channels;
            to.copy_from_slice(&x[from..from + channels]);
        }
    });
    Ok(())
}

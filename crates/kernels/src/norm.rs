//! Group and layer normalisation with `f32` statistics.

use std::marker::PhantomData;

use rayon::prelude::*;

use crate::activation::{Activation, Map, maps, with_map};
use crate::dispatch::{Task, dispatch};
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};
use crate::isa::Isa;
use crate::micro::{MicroKernel, Operand};
use crate::scratch::Scratch;
use crate::vector::{Loop, Vector, Vectorised};

/// Sizes of a group normalisation over `[batch, pixels, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupNormShape {
    /// Images.
    pub batch: usize,
    /// Pixels of one image.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// Groups of neighbouring channels; divides `channels`.
    pub groups: usize,
}

/// Pixels that are summed in `f32`; sums of longer samples are continued in `f64`.
const BLOCK_PIXELS: usize = 1024;
/// Rows of a layer normalisation in one task.
const TASK_ROWS: usize = 32;

/// `out = activation((x - mean) / sqrt(variance + epsilon) * gamma + beta)` with mean and variance over the pixels and
/// channels of a group; `x` and `out` are `[batch, pixels, channels]`, `gamma` and `beta` `[channels]`.
///
/// # Errors
/// A length that does not fit, or groups that do not divide the channels.
pub fn group_norm<T: Element>(
    x: &[T],
    shape: GroupNormShape,
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    activation: Activation,
    out: &mut [T],
) -> Result<()> {
    T::group_norm(Isa::current(), x, shape, epsilon, [gamma, beta], activation, out)
}

/// Normalises with an instruction set that this machine has.
pub(crate) fn group_norm_for<T: Element>(
    isa: Isa,
    x: &[T],
    shape: GroupNormShape,
    epsilon: f32,
    [gamma, beta]: [&[f32]; 2],
    activation: Activation,
    out: &mut [T],
) -> Result<()> {
    let GroupNormShape { batch, pixels, channels, groups } = shape;
    let divides = groups > 0 && channels > 0 && channels.is_multiple_of(groups);
    check_shape("groups", "a divisor of the channels", groups, divides)?;
    check_length("input", batch * pixels * channels, x.len())?;
    check_length("output", x.len(), out.len())?;
    check_length("gamma", channels, gamma.len())?;
    check_length("beta", channels, beta.len())?;
    if !x.is_empty() {
        dispatch(isa, T::DTYPE, GroupNorm { x, shape, epsilon, gamma, beta, activation, out });
    }
    Ok(())
}

struct GroupNorm<'a, T> {
    x: &'a [T],
    shape: GroupNormShape,
    epsilon: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
    activation: Activation,
    out: &'a mut [T],
}

impl<T: Element, O: Operand> Task<O> for GroupNorm<'_, T> {
    type Output = ();

    fn run<K: MicroKernel<Operand = O>>(self) {
        let GroupNormShape { pixels, channels, .. } = self.shape;
        let sample = pixels * channels;
        let block = pixels.min(BLOCK_PIXELS) * channels;
        let Self { x, out, .. } = self;
        x.par_chunks(sample).zip(out.par_chunks_mut(sample)).for_each(|(x, out)| {
            let mut moments = Scratch::<f32>::take(sample.div_ceil(block) * 2 * channels);
            moments.par_chunks_mut(2 * channels).zip(x.par_chunks(block)).for_each(|(moments, block)| {
                let body = Moments::<K, T> { x: block, pivots: &x[..channels], moments, kernel: PhantomData };
                // SAFETY: tasks run only with instruction sets that the processor has.
                unsafe { K::vectorise(body) };
            });
            let mut factors = Scratch::<f32>::take(2 * channels);
            fold_moments(&x[..channels], &moments, self.shape, &mut factors);
            let (scale, shift) = factors.split_at_mut(channels);
            for (channel, (scale, shift)) in scale.iter_mut().zip(&mut *shift).enumerate() {
                let (mean, variance) = (*scale, *shift);
                *scale = self.gamma[channel] / (variance + self.epsilon).sqrt();
                *shift = self.beta[channel] - mean * *scale;
            }
            let (scale, shift, activation) = (&*scale, &*shift, self.activation);
            out.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(out, x)| {
                let body = Scale::<K, T> { x, scale, shift, activation, out, kernel: PhantomData };
                // SAFETY: tasks run only with instruction sets that the processor has.
                unsafe { K::vectorise(body) };
            });
        });
    }
}

/// Sums of `x - pivot` and of its square over the pixels of a block, for each channel. The pivot, a pixel of the same sample,
/// keeps the squares small where the mean is far from 0.
struct Moments<'a, K, T> {
    /// `[pixels, channels]`
    x: &'a [T],
    /// `[channels]`
    pivots: &'a [T],
    /// `[2, channels]`
    moments: &'a mut [f32],
    kernel: PhantomData<K>,
}

impl<K: Vectorised, T: Element> Loop for Moments<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let channels = self.pivots.len();
        let (sums, squares) = self.moments.split_at_mut(channels);
        // Four vectors at a time hide the latency of the additions and use whole cache lines of bf16.
        let lanes = K::Vector::LANES;
        let mut first = 0;
        while first < channels {
            if first + 4 * lanes <= channels {
                columns::<K::Vector, T, 4>(self.x, self.pivots, first, sums, squares);
                first += 4 * lanes;
            } else {
                columns::<K::Vector, T, 1>(self.x, self.pivots, first, sums, squares);
                first += lanes;
            }
        }
    }
}

/// The sums for `N` vectors of channels.
#[inline(always)]
fn columns<V: Vector, T: Element, const N: usize>(
    x: &[T],
    pivots: &[T],
    first: usize,
    sums: &mut [f32],
    squares: &mut [f32],
) {
    let channels = pivots.len();
    let end = channels.min(first + N * V::LANES);
    let mut pivot = [V::splat(0.0); N];
    for (part, pivot) in pivot.iter_mut().enumerate() {
        *pivot = V::load(&pivots[first + part * V::LANES..end]);
    }
    let (mut sum, mut square) = ([V::splat(0.0); N], [V::splat(0.0); N]);
    for pixel in x.chunks_exact(channels) {
        let pixel = &pixel[first..end];
        for part in 0..N {
            let difference = V::load(&pixel[part * V::LANES..]).sub(pivot[part]);
            sum[part] = sum[part].add(difference);
            square[part] = difference.mul_add(difference, square[part]);
        }
    }
    for part in 0..N {
        sum[part].store(&mut sums[first + part * V::LANES..end]);
        square[part].store(&mut squares[first + part * V::LANES..end]);
    }
}

/// From the moments of all blocks `[blocks, 2, channels]` to the group's mean and variance of each channel `[2, channels]`.
fn fold_moments<T: Element>(pivots: &[T], moments: &[f32], shape: GroupNormShape, statistics: &mut [f32]) {
    let GroupNormShape { pixels, channels, groups, .. } = shape;
    let width = channels / groups;
    let pixels = pixels as f64;
    let (means, variances) = statistics.split_at_mut(channels);
    let total = |at: usize| moments.chunks_exact(2 * channels).map(|block| f64::from(block[at])).sum::<f64>();
    for group in 0..groups {
        let range = group * width..(group + 1) * width;
        // The channels' means are summed as distances from the first one, so that their squares stay small, too.
        let mut first_mean = None;
        let (mut distances, mut squares) = (0.0, 0.0);
        for at in range.clone() {
            let (sum, square) = (total(at), total(channels + at));
            let mean = f64::from(pivots[at].widen()) + sum / pixels;
            let distance = mean - *first_mean.get_or_insert(mean);
            distances += distance;
            squares += square - sum * sum / pixels + pixels * distance * distance;
        }
        let mean_distance = distances / width as f64;
        let variance = squares / (pixels * width as f64) - mean_distance * mean_distance;
        means[range.clone()].fill((first_mean.unwrap_or_default() + mean_distance) as f32);
        variances[range].fill(variance.max(0.0) as f32);
    }
}

/// `out = activation(x * scale + shift)`, scale and shift for each channel.
struct Scale<'a, K, T> {
    x: &'a [T],
    scale: &'a [f32],
    shift: &'a [f32],
    activation: Activation,
    out: &'a mut [T],
    kernel: PhantomData<K>,
}

impl<K: Vectorised, T: Element> Loop for Scale<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_map!(self.activation, M => self.pixels::<M>());
    }
}

impl<K: Vectorised, T: Element> Scale<'_, K, T> {
    #[inline(always)]
    fn pixels<M: Map>(self) {
        let channels = self.scale.len();
        for (x, out) in self.x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            let factors = self.scale.chunks(K::Vector::LANES).zip(self.shift.chunks(K::Vector::LANES));
            let vectors = x.chunks(K::Vector::LANES).zip(out.chunks_mut(K::Vector::LANES));
            for ((x, out), (scale, shift)) in vectors.zip(factors) {
                let normal = K::Vector::load(x).mul_add(K::Vector::load(scale), K::Vector::load(shift));
                M::apply(normal).store(out);
            }
        }
    }
}

/// `out = (x - mean) / sqrt(variance + epsilon) * gamma + beta` over the last axis; `x` and `out` are `[rows, channels]`.
///
/// # Errors
/// A length that does not fit.
pub fn layer_norm<T: Element>(
    x: &[T],
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    out: &mut [T],
) -> Result<()> {
    T::layer_norm(Isa::current(), x, epsilon, gamma, beta, out)
}

/// Normalises with an instruction set that this machine has.
pub(crate) fn layer_norm_for<T: Element>(
    isa: Isa,
    x: &[T],
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    out: &mut [T],
) -> Result<()> {
    let channels = gamma.len();
    check_shape("channels", "at least 1", channels, channels > 0)?;
    check_shape("input length", "a multiple of the channels", x.len(), x.len().is_multiple_of(channels))?;
    check_length("beta", channels, beta.len())?;
    check_length("output", x.len(), out.len())?;
    dispatch(isa, T::DTYPE, LayerNorm { x, epsilon, gamma, beta, out });
    Ok(())
}

struct LayerNorm<'a, T> {
    x: &'a [T],
    epsilon: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
    out: &'a mut [T],
}

impl<T: Element, O: Operand> Task<O> for LayerNorm<'_, T> {
    type Output = ();

    fn run<K: MicroKernel<Operand = O>>(self) {
        let block = TASK_ROWS * self.gamma.len();
        let Self { epsilon, gamma, beta, .. } = self;
        self.x.par_chunks(block).zip(self.out.par_chunks_mut(block)).for_each(|(x, out)| {
            // SAFETY: tasks run only with instruction sets that the processor has.
            unsafe { K::vectorise(NormRows::<K, T> { x, epsilon, gamma, beta, out, kernel: PhantomData }) };
        });
    }
}

struct NormRows<'a, K, T> {
    x: &'a [T],
    epsilon: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
    out: &'a mut [T],
    kernel: PhantomData<K>,
}

impl<K: Vectorised, T: Element> Loop for NormRows<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (channels, lanes) = (self.gamma.len(), K::Vector::LANES);
        let count = channels as f32;
        for (x, out) in self.x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            let mut sum = K::Vector::splat(0.0);
            for x in x.chunks(lanes) {
                sum = sum.add(K::Vector::load(x));
            }
            let mean = K::Vector::splat(sum.sum() / count);
            // Whole vectors first: the empty lanes of a shorter one would count as numbers far from the mean.
            let whole = x.chunks_exact(lanes);
            let rest = whole.remainder();
            let mut square = K::Vector::splat(0.0);
            for x in whole {
                let difference = K::Vector::load(x).sub(mean);
                square = difference.mul_add(difference, square);
            }
            let mean_value = sum.sum() / count;
            let rest = rest.iter().map(|x| (x.widen() - mean_value).powi(2)).sum::<f32>();
            let variance = (square.sum() + rest) / count;
            let scale = K::Vector::splat(1.0 / (variance + self.epsilon).sqrt());
            let factors = self.gamma.chunks(lanes).zip(self.beta.chunks(lanes));
            for ((x, out), (gamma, beta)) in x.chunks(lanes).zip(out.chunks_mut(lanes)).zip(factors) {
                let normal = K::Vector::load(x).sub(mean).mul(scale);
                normal.mul_add(K::Vector::load(gamma), K::Vector::load(beta)).store(out);
            }
        }
    }
}

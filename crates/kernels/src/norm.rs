//! Group and layer normalisation with `f32` statistics.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};

/// Sizes of a group normalisation over `[batch, pixels, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupNormShape {
    /// Pictures.
    pub batch: usize,
    /// Pixels of one picture.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// Groups of neighbouring channels; divides `channels`.
    pub groups: usize,
}

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
    let GroupNormShape { batch, pixels, channels, groups } = shape;
    let divides = groups > 0 && channels > 0 && channels.is_multiple_of(groups);
    check_shape("groups", "a divisor of the channels", groups, divides)?;
    check_length("input", batch * pixels * channels, x.len())?;
    check_length("output", x.len(), out.len())?;
    check_length("gamma", channels, gamma.len())?;
    check_length("beta", channels, beta.len())?;
    let width = channels / groups;
    let sample = (pixels * channels).max(1);
    x.par_chunks(sample).zip(out.par_chunks_mut(sample)).for_each(|(x, out)| {
        for group in 0..groups {
            let first = group * width;
            let values = || x.chunks_exact(channels).flat_map(|row| &row[first..first + width]);
            let count = (pixels * width) as f64;
            let mean = values().map(|x| f64::from(x.widen())).sum::<f64>() / count;
            let variance = values().map(|x| (f64::from(x.widen()) - mean).powi(2)).sum::<f64>() / count;
            let scale = 1.0 / (variance as f32 + epsilon).sqrt();
            for (x, out) in x.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
                for channel in first..first + width {
                    let normal = (x[channel].widen() - mean as f32) * scale;
                    out[channel] = T::narrow(activation.apply(normal * gamma[channel] + beta[channel]));
                }
            }
        }
    });
    Ok(())
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
    let channels = gamma.len();
    check_shape("channels", "at least 1", channels, channels > 0)?;
    check_shape("input length", "a multiple of the channels", x.len(), x.len().is_multiple_of(channels))?;
    check_length("beta", channels, beta.len())?;
    check_length("output", x.len(), out.len())?;
    x.par_chunks(channels).zip(out.par_chunks_mut(channels)).for_each(|(x, out)| {
        let mean = x.iter().map(|x| x.widen()).sum::<f32>() / channels as f32;
        let variance = x.iter().map(|x| (x.widen() - mean).powi(2)).sum::<f32>() / channels as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for (channel, (x, out)) in x.iter().zip(out).enumerate() {
            *out = T::narrow((x.widen() - mean) * scale * gamma[channel] + beta[channel]);
        }
    });
    Ok(())
}

//! Operations that only move or map elements.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::conv::ImageSize;
use crate::element::Element;
use crate::error::{Result, check_length, check_shape};

/// `out = activation(x)`, element by element.
///
/// # Errors
/// Lengths that differ.
pub fn activate<T: Element>(x: &[T], activation: Activation, out: &mut [T]) -> Result<()> {
    check_length("output", x.len(), out.len())?;
    const CHUNK: usize = 4096;
    x.par_chunks(CHUNK).zip(out.par_chunks_mut(CHUNK)).for_each(|(x, out)| {
        for (x, out) in x.iter().zip(out) {
            *out = T::narrow(activation.apply(x.widen()));
        }
    });
    Ok(())
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

//! Colours that were stored smaller than the image, brought to its size.
//!
//! Halved sides are interpolated with the weights 3/4 and 1/4 of the nearer and the further sample, others are repeated;
//! the rounding is libjpeg's.

use super::damaged;
use crate::error::{Error, Format, Result};

/// Samples of one colour in rows of `stride`, of which `width` belong to the image.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) stride: usize,
    pub(super) samples: Vec<u8>,
}

impl Plane {
    /// A row; outside of the image the nearest one.
    fn row(&self, at: isize) -> &[u8] {
        let at = at.clamp(0, self.height as isize - 1) as usize;
        &self.samples[at * self.stride..][..self.width]
    }
}

/// The plane at `size` (columns, rows), where its factors were `factors` of `largest` (horizontal, vertical).
pub(super) fn enlarge(
    plane: Plane,
    factors: [usize; 2],
    largest: [usize; 2],
    size: [usize; 2],
) -> Result<Vec<u8>> {
    let [width, height] = size;
    if plane.width == 0 || plane.height == 0 {
        return Err(damaged("a component has no samples"));
    }
    if !largest[0].is_multiple_of(factors[0]) || !largest[1].is_multiple_of(factors[1]) {
        let feature = format!("sampling factors {factors:?} beside {largest:?}");
        return Err(Error::Unsupported { format: Format::Jpeg, feature });
    }
    let [wide, high] = [largest[0] / factors[0], largest[1] / factors[1]];
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        let near = plane.row((y / high) as isize);
        // The further row: above for the upper half of a doubled row, below for the lower.
        let further = plane.row((y / high) as isize + if y.is_multiple_of(2) { -1 } else { 1 });
        let row: Vec<u8> = match (wide, high) {
            (1, 1) => near.to_vec(),
            (2, 1) if plane.width > 2 => doubled(near),
            (1, 2) => {
                let half = if y.is_multiple_of(2) { 1 } else { 2 };
                let mix = |(&near, &further): (&u8, &u8)| (3 * sum(near) + sum(further) + half) >> 2;
                near.iter().zip(further).map(|pair| mix(pair) as u8).collect()
            }
            (2, 2) if plane.width > 2 => doubled_of_two(near, further),
            _ => near.iter().flat_map(|&sample| std::iter::repeat_n(sample, wide)).collect(),
        };
        out.extend_from_slice(row.get(..width).ok_or_else(|| damaged("a component is too small"))?);
    }
    Ok(out)
}

fn sum(sample: u8) -> u32 {
    u32::from(sample)
}

/// Twice as many columns.
fn doubled(row: &[u8]) -> Vec<u8> {
    let last = row.len() - 1;
    let mut out = Vec::with_capacity(2 * row.len());
    for (at, &sample) in row.iter().enumerate() {
        let here = 3 * sum(sample);
        out.push(if at == 0 { sample } else { ((here + sum(row[at - 1]) + 1) >> 2) as u8 });
        out.push(if at == last { sample } else { ((here + sum(row[at + 1]) + 2) >> 2) as u8 });
    }
    out
}

/// Twice as many columns of a row between two, unrounded before the last step.
fn doubled_of_two(near: &[u8], further: &[u8]) -> Vec<u8> {
    let mixed: Vec<u32> = near.iter().zip(further).map(|(&near, &far)| 3 * sum(near) + sum(far)).collect();
    let last = mixed.len() - 1;
    let mut out = Vec::with_capacity(2 * mixed.len());
    for (at, &here) in mixed.iter().enumerate() {
        let left = mixed[at.saturating_sub(1)];
        let right = mixed[(at + 1).min(last)];
        out.push(((3 * here + left + 8) >> 4) as u8);
        out.push(((3 * here + right + 7) >> 4) as u8);
    }
    out
}

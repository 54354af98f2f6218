//! A 3x3 window over an image whose pixels were doubled, as four 2x2 windows over the image itself.
//!
//! Under such a window lie only two by two different pixels, so weights that meet the same pixel can be added once and for
//! all: 4 multiplications in place of 9. Output pixels of the same parity have the same sums. This is the sub-pixel
//! convolution of Shi et al., "Is the deconvolution layer the same as a convolutional layer?" (2016), read backwards.

use super::{ConvGeometry, ImageRows, ImageSize, Resample};
use crate::element::{Element, Format};
use crate::error::Result;
use crate::isa::Isa;
use crate::left::Place;
use crate::matrix::{Gating, PackedMatrix};

/// What gives the output pixels of one parity.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) matrix: PackedMatrix,
    geometry: ConvGeometry,
    /// Odd or even line, odd or even column.
    parity: [usize; 2],
}

/// Splits a convolution with `weights` `[out_channels, 3, 3, channels]`; gives no parts for any but a 3x3 window over doubled
/// pixels that keeps their number.
pub(super) fn split(
    isa: Isa,
    weights: &[f32],
    bias: Option<&[f32]>,
    geometry: ConvGeometry,
    format: Format,
) -> Result<Option<[Part; 4]>> {
    let ConvGeometry { kernel, stride, padding, resample, .. } = geometry;
    if resample != Resample::NearestDouble || (kernel, stride, padding) != ([3, 3], 1, [1, 1]) {
        return Ok(None);
    }
    let channels = geometry.in_channels[0] + geometry.in_channels[1];
    let part = |parity: [usize; 2]| {
        let mut sums = vec![0.0; geometry.out_channels * 4 * channels];
        for (from, to) in weights.chunks_exact(9 * channels).zip(sums.chunks_exact_mut(4 * channels)) {
            for (tap, from) in from.chunks_exact(channels).enumerate() {
                let [row, column] =
                    [(0, tap / 3), (1, tap % 3)].map(|(axis, at)| (at + 1 - parity[axis]) / 2);
                let to = &mut to[(2 * row + column) * channels..][..channels];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
        let shape = [geometry.out_channels, 4 * channels];
        let matrix = PackedMatrix::pack_for(isa, &sums, bias, shape, Gating::None, format)?;
        let geometry = ConvGeometry { kernel: [2, 2], resample: Resample::None, ..geometry };
        Ok(Part { matrix, geometry, parity })
    };
    Ok(Some([part([0, 0])?, part([0, 1])?, part([1, 0])?, part([1, 1])?]))
}

impl Part {
    /// The windows over images of this size, and where their sums go.
    pub(super) fn rows<'a, T: Element>(&self, inputs: [&'a [T]; 2], size: ImageSize) -> ImageRows<'a, T> {
        ImageRows {
            inputs,
            geometry: self.geometry,
            // Even pixels see the one before them, odd pixels the one behind.
            before: self.parity.map(|parity| 1 - parity),
            size,
            seen: size,
            output: size,
            place: Place::Doubled { width: size.width, parity: self.parity },
        }
    }
}

/// Windows over a padded copy, which only matrix tiles read, hold what is gathered elsewhere; this needs no such machine.
#[cfg(all(test, target_arch = "x86_64"))]
#[test]
fn windows_hold_what_is_gathered() {
    use half::bf16;

    use crate::left::RowSource;
    use crate::micro::amx::Amx;
    use crate::tests::numbers;

    const CHANNELS: usize = 32;
    let geometry =
        ConvGeometry { resample: Resample::NearestDouble, ..ConvGeometry::square(CHANNELS, 1, 3, 1, 1) };
    let parts = split(Isa::Portable, &vec![1.0; 9 * CHANNELS], None, geometry, bf16::DTYPE.into());
    let parts = parts.expect("sizes agree").expect("this is what parts are for");
    for [batch, height, width] in [[2, 8, 16], [3, 4, 4], [1, 9, 17], [1, 40, 16], [2, 35, 17]] {
        let size = ImageSize { batch, height, width };
        let x: Vec<_> = numbers(size.pixels() * CHANNELS, 1).into_iter().map(bf16::narrow).collect();
        for part in &parts {
            let source = part.rows([&x, &[]], size);
            let windows = source.windows::<Amx>().expect("these sizes pay");
            for rows in windows.tasks(size.pixels()) {
                let mut staged = vec![bf16::ZERO; windows.staged_length(rows.len())];
                source.stage_windows(&windows, rows.clone(), &mut staged);
                let mut gathered = vec![bf16::ZERO; rows.len() * 4 * CHANNELS];
                source.copy(rows.clone(), 0..4 * CHANNELS, &mut gathered, 4 * CHANNELS);
                for (row, gathered) in gathered.chunks_exact(4 * CHANNELS).enumerate() {
                    let (unit, row) = (row / windows.layout.unit_rows, row % windows.layout.unit_rows);
                    let found =
                        windows.layout.rows::<Amx>(&staged, unit, &(row..row + 1), &windows.offsets).first;
                    for (offset, gathered) in windows.offsets.iter().zip(gathered.chunks_exact(CHANNELS)) {
                        assert_eq!(
                            &found[*offset..offset + CHANNELS],
                            gathered,
                            "{size:?} {rows:?} row {row}"
                        );
                    }
                }
            }
        }
    }
}

//! Convolutions.

use half::bf16;

use super::matrix::activation;
use super::{Guarded, assert_close, numbers, rounded, stored, sum_tolerance};
use crate::activation::Activation;
use crate::conv::{ConvGeometry, ImageSize, PackedConv, Resample, conv2d, conv2d_cropped};
use crate::element::{Dtype, Element};
use crate::epilogue::Epilogue;
use crate::isa::Isa;

fn check<T: Element>(isa: Isa, geometry: ConvGeometry, size: ImageSize, crop: [usize; 2], kind: Activation) {
    let [c0, c1] = geometry.in_channels;
    let (channels, n) = (c0 + c1, geometry.out_channels);
    let [kernel_rows, kernel_columns] = geometry.kernel;
    let mut weights = numbers(n * channels * kernel_rows * kernel_columns, 11);
    let bias = numbers(n, 12);
    let mut first = numbers(size.pixels() * c0, 13);
    // Weights and pixels may be added before they are rounded to bf16; such numbers can be added without rounding. What
    // rounding does to any numbers is the matter of `tiles_round_no_more_than_bf16_does`.
    if T::DTYPE == Dtype::Bf16 && kernel_rows == 3 && geometry.stride == 1 {
        coarse(&mut weights, 4.0);
        coarse(&mut first, 16.0);
    }
    let second = numbers(size.pixels() * c1, 14);
    let output = geometry.cropped_output_size(size, crop).expect("sizes agree");
    let residual = stored::<T>(&numbers(output.pixels() * n, 15));
    let sample_bias = stored::<T>(&numbers(size.batch * n, 16));
    let factor = if geometry.resample == Resample::NearestDouble { 2 } else { 1 };
    let pixel = |sample: usize, y: usize, x: usize, channel: usize| {
        let [above, left] = geometry.kernel.map(|size| if size > 1 { geometry.padding[0] } else { 0 });
        let (Some(y), Some(x)) = (y.checked_sub(above), x.checked_sub(left)) else {
            return 0.0;
        };
        if y >= size.height * factor - crop[0] || x >= size.width * factor - crop[1] {
            return 0.0;
        }
        let at = (sample * size.height + y / factor) * size.width + x / factor;
        rounded::<T>(if channel < c0 { first[at * c0 + channel] } else { second[at * c1 + channel - c0] })
    };
    let mut expected = Vec::new();
    for sample in 0..size.batch {
        for y in 0..output.height {
            for x in 0..output.width {
                for out in 0..n {
                    let mut sum = f64::from(bias[out]) + f64::from(sample_bias[sample * n + out].widen());
                    sum += f64::from(residual[expected.len()].widen());
                    for channel in 0..channels {
                        for row in 0..kernel_rows {
                            for column in 0..kernel_columns {
                                let at = ((out * channels + channel) * kernel_rows + row) * kernel_columns
                                    + column;
                                let (y, x) = (y * geometry.stride + row, x * geometry.stride + column);
                                sum += rounded::<T>(weights[at]) * pixel(sample, y, x, channel);
                            }
                        }
                    }
                    expected.push(activation(kind, sum));
                }
            }
        }
    }
    let packed =
        PackedConv::pack_for(isa, &weights, Some(&bias), geometry, T::DTYPE.into()).expect("sizes agree");
    let (first, second) = (Guarded::new(&stored::<T>(&first)), Guarded::new(&stored::<T>(&second)));
    let (sample_bias, residual) = (Guarded::new(&sample_bias), Guarded::new(&residual));
    let mut out = Guarded::<T>::output(expected.len());
    let epilogue =
        Epilogue { sample_bias: Some(sample_bias.get()), residual: Some(residual.get()), activation: kind };
    let second = (c1 > 0).then(|| second.get());
    conv2d_cropped(first.get(), second, size, crop, &packed, &epilogue, out.get_mut()).expect("sizes agree");
    let tolerance = sum_tolerance(channels * kernel_rows * kernel_columns);
    let what = format!("{isa:?} {:?} {geometry:?} {size:?} {crop:?}", T::DTYPE);
    assert_close(&out, &expected, tolerance, &what);
}

/// Rounds to a multiple of `1 / steps`.
fn coarse(values: &mut [f32], steps: f32) {
    values.iter_mut().for_each(|value| *value = (*value * steps).round() / steps);
}

fn check_everywhere(geometry: ConvGeometry, sizes: &[[usize; 3]]) {
    check_cropped(geometry, sizes, [0, 0]);
}

fn check_cropped(geometry: ConvGeometry, sizes: &[[usize; 3]], crop: [usize; 2]) {
    for isa in Isa::available() {
        for &[batch, height, width] in sizes {
            let size = ImageSize { batch, height, width };
            check::<f32>(isa, geometry, size, crop, Activation::Silu);
            check::<bf16>(isa, geometry, size, crop, Activation::None);
        }
    }
}

const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [1, 2, 3], [2, 5, 4], [3, 4, 4], [1, 9, 17], [2, 8, 16]];

#[test]
fn three_by_three() {
    for (inputs, outputs) in [(3, 4), (4, 24), (24, 33), (33, 3), (64, 64), (96, 40)] {
        check_everywhere(ConvGeometry::square(inputs, outputs, 3, 1, 1), &SIZES);
    }
}

#[test]
fn long_sums() {
    check_everywhere(ConvGeometry::square(160, 24, 3, 1, 1), &[[1, 3, 5]]);
    check_everywhere(ConvGeometry::square(131, 24, 3, 1, 1), &[[1, 3, 5]]);
}

/// Images that are split into several tasks, and more channels than one block of a sum.
#[test]
fn large_images() {
    check_everywhere(ConvGeometry::square(32, 5, 3, 1, 1), &[[1, 45, 16], [2, 35, 17]]);
    check_everywhere(ConvGeometry::square(352, 5, 3, 1, 1), &[[2, 8, 8]]);
    let doubled = ConvGeometry {
        in_channels: [32, 64],
        resample: Resample::NearestDouble,
        ..ConvGeometry::square(1, 5, 3, 1, 1)
    };
    check_everywhere(doubled, &[[1, 20, 16], [1, 9, 31]]);
}

#[test]
fn steps_of_two() {
    for (inputs, outputs) in [(3, 4), (24, 33), (64, 64)] {
        check_everywhere(ConvGeometry::square(inputs, outputs, 3, 2, 1), &SIZES);
        let at_the_end_only =
            ConvGeometry { padding: [0, 1], ..ConvGeometry::square(inputs, outputs, 3, 2, 0) };
        check_everywhere(at_the_end_only, &SIZES[2..]);
    }
}

#[test]
fn single_pixel_windows() {
    for (inputs, outputs) in [(3, 4), (33, 24), (64, 64)] {
        check_everywhere(ConvGeometry::square(inputs, outputs, 1, 1, 0), &SIZES);
    }
}

#[test]
fn patches() {
    check_everywhere(ConvGeometry::square(3, 40, 4, 4, 0), &[[1, 4, 4], [2, 8, 12]]);
}

#[test]
fn doubled_input() {
    for (inputs, outputs) in [(3, 4), (24, 33), (64, 64)] {
        let geometry = ConvGeometry {
            resample: Resample::NearestDouble,
            ..ConvGeometry::square(inputs, outputs, 3, 1, 1)
        };
        check_everywhere(geometry, &SIZES);
    }
}

/// What was halved from an odd size is doubled back to it, with the padding where the odd image ends.
#[test]
fn doubled_input_of_odd_size() {
    for (inputs, outputs) in [(3, 4), (24, 33), (64, 64)] {
        let geometry = ConvGeometry {
            resample: Resample::NearestDouble,
            ..ConvGeometry::square(inputs, outputs, 3, 1, 1)
        };
        for crop in [[1, 0], [0, 1], [1, 1]] {
            check_cropped(geometry, &[[1, 1, 1], [2, 5, 4], [1, 9, 17], [2, 8, 16], [1, 20, 16]], crop);
        }
    }
}

/// Sums of any numbers over transformed tiles and over doubled pixels, in bf16: their errors are of the size that rounding the
/// operands to bf16 makes, 2^-9 of each, whatever was added before.
#[test]
fn tiles_round_no_more_than_bf16_does() {
    const CHANNELS: usize = 64;
    let size = ImageSize { batch: 1, height: 8, width: 8 };
    for resample in [Resample::None, Resample::NearestDouble] {
        let geometry = ConvGeometry { resample, ..ConvGeometry::square(CHANNELS, CHANNELS, 3, 1, 1) };
        let weights = stored::<bf16>(&numbers(9 * CHANNELS * CHANNELS, 21));
        let weights: Vec<f32> = weights.into_iter().map(bf16::widen).collect();
        let x = stored::<bf16>(&numbers(size.pixels() * CHANNELS, 22));
        let wide: Vec<f32> = x.iter().map(|&value| bf16::widen(value)).collect();
        let output = geometry.output_size(size).expect("sizes agree").pixels() * CHANNELS;
        let mut exact = vec![0.0; output];
        let packed = PackedConv::pack_for(Isa::Portable, &weights, None, geometry, Dtype::F32.into());
        let packed = packed.expect("sizes agree");
        conv2d(&wide, None, size, &packed, &Epilogue::default(), &mut exact).expect("sizes agree");
        for isa in Isa::available() {
            let packed =
                PackedConv::pack_for(isa, &weights, None, geometry, Dtype::Bf16.into()).expect("sizes agree");
            let mut out = vec![bf16::ZERO; output];
            conv2d(&x, None, size, &packed, &Epilogue::default(), &mut out).expect("sizes agree");
            let square = |value: f64| value * value;
            let error: f64 =
                out.iter().zip(&exact).map(|(a, &b)| square(f64::from(a.widen()) - f64::from(b))).sum();
            let whole: f64 = exact.iter().map(|&value| square(f64::from(value))).sum();
            let relative = (error / whole).sqrt();
            println!("{isa:?} {resample:?}: {relative:.5}");
            assert!(relative < 2f64.powi(-7), "{isa:?} {resample:?}: {relative}");
        }
    }
}

/// What is left out of an image is not seen, whatever lies there.
#[test]
fn cropped_input() {
    check_cropped(ConvGeometry::square(24, 33, 3, 1, 1), &[[2, 5, 4], [1, 9, 17]], [1, 2]);
    check_cropped(ConvGeometry::square(3, 4, 3, 1, 1), &[[2, 5, 4]], [2, 1]);
}

/// Windows over time see neighbouring rows only.
#[test]
fn windows_of_one_column() {
    for channels in [3, 24, 64] {
        let square = ConvGeometry::square(channels, 33, 3, 1, 1);
        check_everywhere(ConvGeometry { kernel: [3, 1], ..square }, &SIZES);
    }
}

#[test]
fn second_input() {
    for (in_channels, kernel) in [([3, 4], 3), ([32, 64], 3), ([24, 33], 1), ([64, 32], 1)] {
        let square = ConvGeometry::square(1, 33, kernel, 1, kernel / 2);
        check_everywhere(ConvGeometry { in_channels, ..square }, &SIZES);
    }
}

#[test]
fn wrong_operands_are_named() {
    let geometry = ConvGeometry::square(2, 1, 3, 1, 0);
    let packed = PackedConv::pack(&[1.0; 18], None, geometry, bf16::DTYPE).expect("sizes agree");
    let size = ImageSize { batch: 1, height: 2, width: 5 };
    let mut out = [bf16::ZERO; 4];
    let error = conv2d(&[bf16::ZERO; 20], None, size, &packed, &Epilogue::default(), &mut out);
    let message = error.expect_err("must be refused").to_string();
    assert_eq!(message, "padded input: expected at least the window, found 2");
    let error = geometry.cropped_output_size(size, [0, 5]).expect_err("nothing is left");
    assert_eq!(error.to_string(), "crop: expected less than the enlarged input, found 5");
}

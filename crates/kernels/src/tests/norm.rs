//! Normalisations and pointwise functions.

use half::bf16;

use super::matrix::activation;
use super::{Guarded, assert_close, numbers, rounded, stored};
use crate::activation::Activation;
use crate::element::Element;
use crate::elementwise::activate_for;
use crate::isa::Isa;
use crate::norm::{GroupNormShape, group_norm_for, layer_norm_for};

const EPSILON: f32 = 1e-5;

/// `(x - mean) / sqrt(variance + epsilon)` of some numbers.
fn normalised(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    values.iter().map(|x| (x - mean) / (variance + f64::from(EPSILON)).sqrt()).collect()
}

fn check_group_norm<T: Element>(isa: Isa, shape: GroupNormShape, kind: Activation, offset: f32) {
    let GroupNormShape { batch, pixels, channels, groups } = shape;
    let x: Vec<f32> = numbers(batch * pixels * channels, 21).iter().map(|x| x + offset).collect();
    let (gamma, beta) = (numbers(channels, 22), numbers(channels, 23));
    let mut expected = vec![0.0; x.len()];
    let width = channels / groups;
    for sample in 0..batch {
        for group in 0..groups {
            let places: Vec<usize> = (0..pixels * width)
                .map(|at| (sample * pixels + at / width) * channels + group * width + at % width)
                .collect();
            let values: Vec<f64> = places.iter().map(|&at| rounded::<T>(x[at])).collect();
            for (at, normal) in places.into_iter().zip(normalised(&values)) {
                let channel = at % channels;
                expected[at] =
                    activation(kind, normal * f64::from(gamma[channel]) + f64::from(beta[channel]));
            }
        }
    }
    let x = Guarded::new(&stored::<T>(&x));
    let mut out = Guarded::<T>::output(expected.len());
    let (gamma, beta) = (Guarded::new(&gamma), Guarded::new(&beta));
    group_norm_for(isa, x.get(), shape, EPSILON, [gamma.get(), beta.get()], kind, out.get_mut())
        .expect("sizes agree");
    let tolerance = 1e-6 * f64::from(1.0 + offset.abs());
    assert_close(&out, &expected, tolerance, &format!("{isa:?} {:?} {shape:?} {kind:?}", T::DTYPE));
}

#[test]
fn group_norm() {
    let shape = |batch, pixels, channels, groups| GroupNormShape { batch, pixels, channels, groups };
    let shapes = [
        shape(1, 1, 4, 2),
        shape(2, 9, 24, 8),
        shape(1, 5, 33, 3),
        shape(3, 64, 64, 32),
        shape(1, 2500, 40, 4),
        shape(2, 77, 96, 1),
    ];
    for isa in Isa::available() {
        for shape in shapes {
            for kind in [Activation::None, Activation::Silu] {
                check_group_norm::<f32>(isa, shape, kind, 0.0);
                check_group_norm::<bf16>(isa, shape, kind, 0.0);
            }
        }
    }
}

/// A mean far from 0 must not drown the variance.
#[test]
fn group_norm_far_from_zero() {
    let shape = GroupNormShape { batch: 1, pixels: 1500, channels: 32, groups: 4 };
    for isa in Isa::available() {
        check_group_norm::<f32>(isa, shape, Activation::None, 100.0);
    }
}

fn check_layer_norm<T: Element>(isa: Isa, rows: usize, channels: usize) {
    let (x, gamma, beta) = (numbers(rows * channels, 24), numbers(channels, 25), numbers(channels, 26));
    let mut expected = Vec::new();
    for row in x.chunks_exact(channels) {
        let values: Vec<f64> = row.iter().map(|&x| rounded::<T>(x)).collect();
        let factors = gamma.iter().zip(&beta);
        let normal = normalised(&values).into_iter().zip(factors);
        expected.extend(normal.map(|(x, (gamma, beta))| x * f64::from(*gamma) + f64::from(*beta)));
    }
    let x = Guarded::new(&stored::<T>(&x));
    let mut out = Guarded::<T>::output(expected.len());
    let (gamma, beta) = (Guarded::new(&gamma), Guarded::new(&beta));
    layer_norm_for(isa, x.get(), EPSILON, gamma.get(), beta.get(), out.get_mut()).expect("sizes agree");
    assert_close(&out, &expected, 2e-6, &format!("{isa:?} {:?} {rows}x{channels}", T::DTYPE));
}

#[test]
fn layer_norm() {
    for isa in Isa::available() {
        for (rows, channels) in [(1, 1), (1, 3), (77, 33), (40, 64), (5, 192), (3, 1280)] {
            check_layer_norm::<f32>(isa, rows, channels);
            check_layer_norm::<bf16>(isa, rows, channels);
        }
    }
}

fn check_activation<T: Element>(isa: Isa, kind: Activation, values: &[f32]) {
    let expected: Vec<f64> = values.iter().map(|&x| activation(kind, rounded::<T>(x))).collect();
    let x = Guarded::new(&stored::<T>(values));
    let mut out = Guarded::<T>::output(values.len());
    activate_for(isa, x.get(), kind, out.get_mut()).expect("sizes agree");
    out.check();
    for ((found, expected), x) in out.get().iter().zip(&expected).zip(values) {
        let unit = if T::DTYPE == bf16::DTYPE { 1.0 / 256.0 } else { 1e-6 };
        let error = (f64::from(found.widen()) - expected).abs();
        assert!(
            error <= 4e-7 * (1.0 + f64::from(x.abs())) + 1.01 * unit * expected.abs(),
            "{isa:?} {kind:?}({x}): {}",
            found.widen()
        );
    }
}

const EVERY: [Activation; 5] =
    [Activation::None, Activation::Silu, Activation::QuickGelu, Activation::GeluErf, Activation::Relu];

#[test]
fn activations() {
    let mut values: Vec<f32> = (-400..=400).map(|step| step as f32 * 0.05).collect();
    values.extend([-1e30, -100.0, -88.5, 88.5, 100.0, 1e30]);
    for isa in Isa::available() {
        for kind in EVERY {
            check_activation::<f32>(isa, kind, &values);
            check_activation::<bf16>(isa, kind, &values);
        }
    }
}

/// A broken number must stay visible.
#[test]
fn nan_passes_through() {
    for isa in Isa::available() {
        for kind in [Activation::None, Activation::Silu, Activation::QuickGelu, Activation::GeluErf] {
            let mut out = [0.0; 5];
            activate_for(isa, &[f32::NAN; 5], kind, &mut out).expect("sizes agree");
            assert!(out.iter().all(|x| x.is_nan()), "{isa:?} {kind:?}");
            let mut out = [bf16::ZERO; 5];
            activate_for(isa, &[bf16::NAN; 5], kind, &mut out).expect("sizes agree");
            assert!(out.iter().all(|x| x.is_nan()), "{isa:?} {kind:?}");
        }
    }
}

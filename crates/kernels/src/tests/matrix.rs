//! Matrix products and their epilogues.

use half::{bf16, f16};

use super::{Guarded, assert_close, numbers, rounded, stored, sum_tolerance};
use crate::activation::Activation;
use crate::element::{Dtype, Element, Format, WeightStorage};
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::matrix::{Gating, PackedMatrix, gemm};

/// The exact functions that the fast ones approximate.
pub(super) fn activation(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::None => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::Relu => x.max(0.0),
    }
}

/// The error function by the series `2 / sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (1 3 5 .. (2n+1))`, whose terms do not cancel.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    gating: Gating,
    activation: Activation,
    /// Samples of the sample bias, 0 for none.
    samples: usize,
    residual: bool,
}

fn check<T: Element>(isa: Isa, case: &Case) {
    let &Case { m, n, k, gating, .. } = case;
    let rows = if gating == Gating::Geglu { 2 * n } else { n };
    let (x, weights, bias) = (numbers(m * k, 1), numbers(rows * k, 2), numbers(rows, 3));
    let (sample_bias, residual) =
        (stored::<T>(&numbers(case.samples * n, 4)), stored::<T>(&numbers(m * n, 5)));
    let packed = PackedMatrix::pack_for(isa, &weights, Some(&bias), [n, k], gating, T::DTYPE.into())
        .expect("sizes agree");
    let dot = |row: usize, column: usize| {
        let terms = (0..k).map(|at| rounded::<T>(x[row * k + at]) * rounded::<T>(weights[column * k + at]));
        terms.sum::<f64>() + f64::from(bias[column])
    };
    let mut expected = vec![0.0; m * n];
    for (at, expected) in expected.iter_mut().enumerate() {
        let (row, column) = (at / n, at % n);
        let mut value = dot(row, column);
        if gating == Gating::Geglu {
            value *= activation(Activation::GeluErf, dot(row, n + column));
        }
        if let Some(rows_per_sample) = m.checked_div(case.samples) {
            value += f64::from(sample_bias[row / rows_per_sample * n + column].widen());
        }
        if case.residual {
            value += f64::from(residual[at].widen());
        }
        *expected = activation(case.activation, value);
    }
    let (x, residual) = (Guarded::new(&stored::<T>(&x)), Guarded::new(&residual));
    let sample_bias = Guarded::new(&sample_bias);
    let mut out = Guarded::<T>::output(m * n);
    let epilogue = Epilogue {
        sample_bias: (case.samples > 0).then(|| sample_bias.get()),
        residual: case.residual.then(|| residual.get()),
        activation: case.activation,
    };
    gemm(x.get(), &packed, &epilogue, out.get_mut()).expect("sizes agree");
    let what = format!("{isa:?} {:?} {m}x{n}x{k} {gating:?} {:?}", T::DTYPE, case.activation);
    assert_close(&out, &expected, sum_tolerance(k), &what);
}

fn check_everywhere(case: &Case) {
    for isa in Isa::available() {
        check::<f32>(isa, case);
        check::<bf16>(isa, case);
    }
}

#[test]
fn odd_sizes() {
    let sizes = [
        (1, 1, 1),
        (1, 4, 3),
        (2, 33, 24),
        (7, 16, 32),
        (15, 31, 33),
        (16, 32, 64),
        (17, 48, 31),
        (31, 24, 77),
        (33, 64, 96),
        (77, 100, 128),
        (300, 40, 64),
        (65, 70, 1100),
        (40, 33, 2304),
    ];
    for (m, n, k) in sizes {
        let plain =
            Case { m, n, k, gating: Gating::None, activation: Activation::None, samples: 0, residual: false };
        check_everywhere(&plain);
        check_everywhere(&Case { samples: m, residual: true, activation: Activation::Silu, ..plain });
        check_everywhere(&Case { gating: Gating::Geglu, ..plain });
        check_everywhere(&Case { gating: Gating::Geglu, residual: true, ..plain });
    }
}

#[test]
fn every_activation() {
    for activation in
        [Activation::None, Activation::Silu, Activation::QuickGelu, Activation::GeluErf, Activation::Relu]
    {
        check_everywhere(&Case {
            m: 36,
            n: 72,
            k: 40,
            gating: Gating::None,
            activation,
            samples: 3,
            residual: true,
        });
    }
}

/// The bits must not depend on how many threads share the work.
#[test]
fn threads_do_not_change_the_bits() {
    let (m, n, k) = (150, 200, 1300);
    let (x, weights) = (stored::<bf16>(&numbers(m * k, 1)), numbers(n * k, 2));
    for isa in Isa::available() {
        let packed = PackedMatrix::pack_for(isa, &weights, None, [n, k], Gating::None, bf16::DTYPE.into())
            .expect("sizes agree");
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
            let mut out = vec![bf16::ZERO; m * n];
            pool.install(|| gemm(&x, &packed, &Epilogue::default(), &mut out)).expect("sizes agree");
            out
        };
        let one = with_threads(1);
        assert!(with_threads(2) == one && with_threads(5) == one, "{isa:?}");
    }
}

#[test]
fn wrong_operands_are_named() {
    let packed = PackedMatrix::pack(&[1.0; 6], None, 2, 3, f32::DTYPE).expect("sizes agree");
    let mut out = [0.0; 4];
    let message = |result: crate::Result<()>| result.expect_err("must be refused").to_string();
    let epilogue = Epilogue::default();
    assert_eq!(
        message(gemm(&[0.0; 7], &packed, &epilogue, &mut out)),
        "input length: expected a multiple of the inner size, found 7"
    );
    assert_eq!(
        message(gemm(&[0.0; 9], &packed, &epilogue, &mut out)),
        "output: expected 6 elements, found 4"
    );
    let x = [bf16::ZERO; 6];
    let mut out = [bf16::ZERO; 4];
    assert_eq!(
        message(gemm(&x, &packed, &Epilogue::default(), &mut out)),
        "packed weights: expected f32 activations, found bf16"
    );
}

/// Weights that 16 bits hold give the bits that they give as they multiply.
#[test]
fn short_weights_change_no_bit() {
    let (m, n, k) = (37, 70, 1100);
    let (x, weights, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
    let product = |isa, weights: &[f32]| {
        let packed =
            PackedMatrix::pack_for(isa, weights, Some(&bias), [n, k], Gating::None, Dtype::F32.into())
                .expect("sizes agree");
        let mut out = vec![0.0; m * n];
        gemm(&x, &packed, &Epilogue::default(), &mut out).expect("sizes agree");
        (packed.weight_bytes(), out)
    };
    let halves: [fn(f32) -> f32; 2] = [|x| f16::from_f32(x).to_f32(), |x| bf16::from_f32(x).to_f32()];
    for isa in Isa::available() {
        for half in halves {
            let short: Vec<f32> = weights.iter().map(|&weight| half(weight)).collect();
            let (bytes, found) = product(isa, &short);
            // A column more, whose weights no 16 bits hold, keeps all of them as they multiply.
            let long = [&short[..(n - 1) * k], &[0.1][..], &short[(n - 1) * k + 1..]].concat();
            let (long_bytes, expected) = product(isa, &long);
            assert_eq!(2 * bytes, long_bytes, "{isa:?}");
            for row in 0..m {
                let columns = row * n..row * n + n - 1;
                assert_eq!(found[columns.clone()], expected[columns], "{isa:?} row {row}");
            }
        }
    }
}

/// Integers differ from the weights by half a step at most, so a product differs by half a step for each of its terms.
#[test]
fn integer_weights_are_within_half_a_step() {
    let format = Format { activations: Dtype::F32, weights: WeightStorage::Int8 };
    let (m, n, k) = (19, 41, 333);
    let (x, bias) = (numbers(m * k, 1), numbers(2 * n, 3));
    let mut weights = numbers(2 * n * k, 2);
    weights[5 * k..6 * k].fill(0.0);
    let dot = |row: usize, column: usize| {
        let terms = (0..k).map(|at| f64::from(x[row * k + at]) * f64::from(weights[column * k + at]));
        let sum = terms.sum::<f64>() + f64::from(bias[column]);
        let largest = weights[column * k..][..k].iter().fold(0.0_f64, |a, &b| a.max(f64::from(b).abs()));
        let size: f64 = x[row * k..][..k].iter().map(|x| f64::from(x.abs())).sum();
        (sum, 0.5 * largest / 127.0 * size * 1.001 + 1e-4)
    };
    for isa in Isa::available() {
        let mut out = vec![0.0; m * n];
        let packed =
            PackedMatrix::pack_for(isa, &weights[..n * k], Some(&bias[..n]), [n, k], Gating::None, format)
                .expect("sizes agree");
        gemm(&x, &packed, &Epilogue::default(), &mut out).expect("sizes agree");
        let mut errors = 0.0_f64;
        for (at, &found) in out.iter().enumerate() {
            let (expected, allowed) = dot(at / n, at % n);
            let error = (f64::from(found) - expected).abs();
            assert!(error <= allowed, "{isa:?} element {at}: {found} instead of {expected}");
            errors = errors.max(error);
        }
        assert!(errors > 1e-3, "{isa:?}: nothing was rounded");
        let packed = PackedMatrix::pack_for(isa, &weights, Some(&bias), [n, k], Gating::Geglu, format)
            .expect("sizes agree");
        gemm(&x, &packed, &Epilogue::default(), &mut out).expect("sizes agree");
        for (at, &found) in out.iter().enumerate() {
            let ((value, value_error), (gate, gate_error)) = (dot(at / n, at % n), dot(at / n, n + at % n));
            let expected = value * activation(Activation::GeluErf, gate);
            let allowed = value_error * (gate.abs() + gate_error + 1.0) + 1.2 * gate_error * value.abs();
            assert!((f64::from(found) - expected).abs() <= allowed, "{isa:?} gated element {at}");
        }
    }
}

/// An integer cannot say it, so the column does.
#[test]
fn what_is_no_number_among_integer_weights_shows_in_its_column_alone() {
    let format = Format { activations: Dtype::F32, weights: WeightStorage::Int8 };
    let (m, n, k) = (3, 41, 70);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut weights = numbers(n * k, 2);
        weights[7 * k + 5] = bad;
        for isa in Isa::available() {
            let mut out = vec![0.0; m * n];
            let packed = PackedMatrix::pack_for(isa, &weights, None, [n, k], Gating::None, format)
                .expect("sizes agree");
            gemm(&numbers(m * k, 1), &packed, &Epilogue::default(), &mut out).expect("sizes agree");
            for (at, found) in out.iter().enumerate() {
                assert_eq!(found.is_nan(), at % n == 7, "{isa:?} {bad} element {at}: {found}");
            }
        }
    }
}

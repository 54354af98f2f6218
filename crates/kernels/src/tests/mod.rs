//! Every operation under every instruction set of this machine, against plain `f64` loops, at odd sizes and with every
//! operand between a poisoned border and a page that nobody may touch. Packed weights and biases end at such a page, too.

mod attention;
mod conv;
mod guarded;
mod matrix;
mod norm;

use half::bf16;

use guarded::Guarded;
#[cfg(unix)]
pub(crate) use guarded::GuardedBytes;

use crate::element::Element;

/// Numbers that are neither round nor regular, in about -1..1 (a linear congruential generator, Knuth's MMIX constants).
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The same numbers in the storage type under test.
pub(super) fn stored<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&value| T::narrow(value)).collect()
}

/// What the storage type makes of a number.
pub(super) fn rounded<T: Element>(value: f32) -> f64 {
    f64::from(T::narrow(value).widen())
}

/// What rounding does to a sum of `k` products in `f32`: it grows like a random walk, and the activation adds a little.
pub(super) fn sum_tolerance(k: usize) -> f64 {
    1e-6 + (k as f64).sqrt() * f64::from(f32::EPSILON)
}

/// Compares with the reference: the error may be `tolerance` of the largest magnitude, and half a unit of the storage type.
pub(super) fn assert_close<T: Element>(found: &Guarded<T>, expected: &[f64], tolerance: f64, what: &str) {
    found.check();
    assert_eq!(found.get().len(), expected.len(), "{what}");
    let unit = if T::DTYPE == bf16::DTYPE { 1.0 / 256.0 } else { 1.0 / f64::from(1 << 24) };
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.get().iter().zip(expected).enumerate() {
        let error = (f64::from(found.widen()) - expected).abs();
        let allowed = tolerance * largest + 1.01 * unit * expected.abs() + 1e-12;
        assert!(error <= allowed, "{what}: element {at} is {} instead of {expected}", found.widen());
    }
}

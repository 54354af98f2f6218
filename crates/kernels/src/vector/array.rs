//! Vectors as arrays, which compilers turn into the vectors of the instruction set that is switched on.

use super::Vector;
use crate::element::Element;

/// `L` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Array<const L: usize>([f32; L]);

impl<const L: usize> Array<L> {
    #[inline(always)]
    fn map(mut self, function: impl Fn(f32) -> f32) -> Self {
        for lane in &mut self.0 {
            *lane = function(*lane);
        }
        self
    }

    #[inline(always)]
    fn zip(mut self, other: Self, function: impl Fn(f32, f32) -> f32) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = function(*lane, other);
        }
        self
    }
}

impl<const L: usize> Vector for Array<L> {
    const LANES: usize = L;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; L])
    }

    #[inline(always)]
    fn load<T: Element>(from: &[T]) -> Self {
        let mut lanes = [0.0; L];
        if let Some(from) = from.first_chunk::<L>() {
            for (lane, from) in lanes.iter_mut().zip(from) {
                *lane = from.widen();
            }
        } else {
            for (lane, from) in lanes.iter_mut().zip(from) {
                *lane = from.widen();
            }
        }
        Self(lanes)
    }

    #[inline(always)]
    fn store<T: Element>(self, to: &mut [T]) {
        if let Some(to) = to.first_chunk_mut::<L>() {
            for (to, lane) in to.iter_mut().zip(self.0) {
                *to = T::narrow(lane);
            }
        } else {
            for (to, lane) in to.iter_mut().zip(self.0) {
                *to = T::narrow(lane);
            }
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        // Not `f32::mul_add`: without the instruction it is a slow library call.
        self.zip(factor, |a, b| a * b).zip(term, |a, b| a + b)
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        self.map(|a| 1.0 / a)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(f32::abs)
    }

    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        self.zip(other, f32::copysign)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        // Adding and subtracting 1.5 * 2^23 rounds to an integer in every instruction set.
        const ROUND: f32 = 12_582_912.0;
        self.map(|x| {
            let x = x.clamp(-87.0, 88.0);
            let shifted = x * std::f32::consts::LOG2_E + ROUND;
            let n = shifted - ROUND;
            let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
            let sum = EXP_TERMS.iter().fold(0.0, |sum, term| sum * r + term);
            // The low bits of `shifted` hold n in two's complement; they become the exponent of 2^n.
            sum * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
        })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        self.0.iter().sum()
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        self.0.iter().fold(f32::NEG_INFINITY, |largest, &lane| if lane > largest { lane } else { largest })
    }
}

/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`: the first digits of ln 2, exact after multiplication with n.
pub(super) const LN_2_HIGH: f32 = 0.693_359_4;
/// The rest of ln 2.
pub(super) const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Taylor terms of `e^r`, highest power first.
pub(super) const EXP_TERMS: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

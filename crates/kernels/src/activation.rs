//! Pointwise functions, written without branches or library calls so that loops over them become vector code.

/// A pointwise function at the end of another operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x / (1 + exp(-1.702 x))`, the approximation that OpenAI's CLIP was trained with.
    QuickGelu,
    /// `x (1 + erf(x / sqrt 2)) / 2`
    GeluErf,
    /// `max(x, 0)`
    Relu,
}

impl Activation {
    /// The function's value at `x`.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Silu => silu(x),
            Self::QuickGelu => x / (1.0 + exp(-1.702 * x)),
            Self::GeluErf => gelu_erf(x),
            Self::Relu => x.max(0.0),
        }
    }
}

/// A pointwise function as a type, so that a loop over it is compiled for it alone.
pub(crate) trait Map: Copy {
    /// The function's value at `x`.
    fn apply(self, x: f32) -> f32;
}

/// One type for each [`Activation`].
pub(crate) mod maps {
    use super::{Activation, Map};

    macro_rules! map {
        ($($name:ident),*) => {$(
            #[derive(Clone, Copy)]
            pub(crate) struct $name;

            impl Map for $name {
                #[inline(always)]
                fn apply(self, x: f32) -> f32 {
                    Activation::$name.apply(x)
                }
            }
        )*};
    }
    map!(None, Silu, QuickGelu, GeluErf, Relu);
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x (1 + erf(x / sqrt 2)) / 2`
#[inline(always)]
pub(crate) fn gelu_erf(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `e^x` to about two units in the last place, saturating at the ends of the range of normal numbers.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` is its Taylor polynomial of degree 7, `2^n` is put into the exponent bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to an integer in every instruction set.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = 1.0 / 5040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    // The low bits of `shifted` hold n in two's complement.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    sum * scale
}

/// The error function to an absolute error of 2e-7 (Abramowitz and Stegun, formula 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let mut sum = 1.061_405_4;
    sum = sum * t - 1.453_152_1;
    sum = sum * t + 1.421_413_8;
    sum = sum * t - 0.284_496_74;
    sum = sum * t + 0.254_829_6;
    (1.0 - sum * t * exp(-magnitude * magnitude)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_the_library() {
        for step in -8600..8800 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7, "exp({x})");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn erf_meets_published_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in
            [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (1.5, 0.966_105_1), (2.0, 0.995_322_3)]
        {
            assert!((erf(x) - expected).abs() < 4e-7, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + expected).abs() < 4e-7, "erf(-{x}) = {}", erf(-x));
        }
    }

    #[test]
    fn nan_passes_through() {
        for activation in [Activation::None, Activation::Silu, Activation::QuickGelu, Activation::GeluErf] {
            assert!(activation.apply(f32::NAN).is_nan(), "{activation:?}");
        }
    }
}

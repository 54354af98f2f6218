//! Pointwise functions on vectors.

use crate::vector::Vector;

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

/// A pointwise function as a type, so that a loop over it is compiled for it alone.
pub(crate) trait Map: Copy {
    /// The function's values.
    fn apply<V: Vector>(x: V) -> V;
}

/// One type for each [`Activation`].
pub(crate) mod maps {
    /// [`super::Activation::None`]
    #[derive(Clone, Copy)]
    pub(crate) struct None;
    /// [`super::Activation::Silu`]
    #[derive(Clone, Copy)]
    pub(crate) struct Silu;
    /// [`super::Activation::QuickGelu`]
    #[derive(Clone, Copy)]
    pub(crate) struct QuickGelu;
    /// [`super::Activation::GeluErf`]
    #[derive(Clone, Copy)]
    pub(crate) struct GeluErf;
    /// [`super::Activation::Relu`]
    #[derive(Clone, Copy)]
    pub(crate) struct Relu;
}

/// Runs `$body` with `$map` standing for the type of an [`Activation`]: a choice inside a loop would keep it from becoming
/// good vector code.
macro_rules! with_map {
    ($activation:expr, $map:ident => $body:expr) => {
        match $activation {
            Activation::None => {
                type $map = maps::None;
                $body
            }
            Activation::Silu => {
                type $map = maps::Silu;
                $body
            }
            Activation::QuickGelu => {
                type $map = maps::QuickGelu;
                $body
            }
            Activation::GeluErf => {
                type $map = maps::GeluErf;
                $body
            }
            Activation::Relu => {
                type $map = maps::Relu;
                $body
            }
        }
    };
}
pub(crate) use with_map;

impl Map for maps::None {
    #[inline(always)]
    fn apply<V: Vector>(x: V) -> V {
        x
    }
}

impl Map for maps::Silu {
    #[inline(always)]
    fn apply<V: Vector>(x: V) -> V {
        x.mul(logistic(x))
    }
}

impl Map for maps::QuickGelu {
    #[inline(always)]
    fn apply<V: Vector>(x: V) -> V {
        x.mul(logistic(x.mul(V::splat(1.702))))
    }
}

impl Map for maps::GeluErf {
    #[inline(always)]
    fn apply<V: Vector>(x: V) -> V {
        let half = x.mul(V::splat(0.5));
        erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))).mul_add(half, half)
    }
}

impl Map for maps::Relu {
    #[inline(always)]
    fn apply<V: Vector>(x: V) -> V {
        x.max(V::splat(0.0))
    }
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
fn logistic<V: Vector>(x: V) -> V {
    V::splat(0.0).sub(x).exp().add(V::splat(1.0)).reciprocal()
}

/// The error function to an absolute error of 2e-7 (Abramowitz and Stegun, formula 7.1.26).
#[inline(always)]
fn erf<V: Vector>(x: V) -> V {
    const TERMS: [f32; 5] = [1.061_405_4, -1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6];
    // Beyond 4 it is 1 to all digits; the exponential of a larger number would have slow, subnormal products.
    let magnitude = x.abs().min(V::splat(4.0));
    let t = magnitude.mul_add(V::splat(0.327_591_1), V::splat(1.0)).reciprocal();
    let mut sum = V::splat(TERMS[0]);
    for term in &TERMS[1..] {
        sum = sum.mul_add(t, V::splat(*term));
    }
    let tail = sum.mul(t).mul(V::splat(0.0).sub(magnitude.mul(magnitude)).exp());
    V::splat(1.0).sub(tail).with_sign_of(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Array;

    fn apply(function: impl Fn(Array<1>) -> Array<1>, x: f32) -> f32 {
        function(Array::splat(x)).sum()
    }

    #[test]
    fn exp_follows_the_library() {
        for step in -8600..8800 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!((f64::from(apply(Array::exp, x)) / expected - 1.0).abs() < 3e-7, "exp({x})");
        }
        assert!(apply(Array::exp, f32::NAN).is_nan());
        assert!(apply(Array::exp, f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn erf_meets_published_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in
            [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (1.5, 0.966_105_1), (2.0, 0.995_322_3)]
        {
            assert!((apply(erf, x) - expected).abs() < 4e-7, "erf({x})");
            assert!((apply(erf, -x) + expected).abs() < 4e-7, "erf(-{x})");
        }
    }
}

//! 512-bit vectors.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use half::bf16;

use super::Vector;
use super::array::{EXP_TERMS, LN_2_HIGH, LN_2_LOW};
use crate::element::{Dtype, Element};

/// How `f32` becomes `bf16`.
pub(crate) trait Rounding: Copy + 'static {
    /// Rounds sixteen numbers to nearest, ties to even.
    fn narrow(values: __m512) -> __m256i;
}

/// With AVX-512F instructions only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitwiseRounding;

/// With the instruction of AVX-512-BF16, which takes subnormal numbers for 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NativeRounding;

impl Rounding for BitwiseRounding {
    #[inline(always)]
    fn narrow(values: __m512) -> __m256i {
        // SAFETY: vectors of this type are used only in loops compiled for AVX-512.
        unsafe {
            let bits = _mm512_castps_si512(values);
            let last = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff));
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let rounded = _mm512_mask_mov_epi32(_mm512_add_epi32(bits, half), is_nan, quiet);
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
        }
    }
}

impl Rounding for NativeRounding {
    #[inline(always)]
    fn narrow(values: __m512) -> __m256i {
        // SAFETY: vectors of this type are used only in loops compiled for AVX-512-BF16; both types are 256 bits, and every
        // pattern of them is a value.
        unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) }
    }
}

/// Sixteen numbers.
#[derive(Clone, Copy)]
pub(crate) struct Vector512<R>(__m512, PhantomData<R>);

impl<R: Rounding> Vector512<R> {
    #[inline(always)]
    fn new(lanes: __m512) -> Self {
        Self(lanes, PhantomData)
    }
}

/// A mask of the first `count` lanes.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    ((1_u32 << count.min(16)) - 1) as __mmask16
}

// SAFETY of all blocks: vectors of this type are used only in loops compiled for AVX-512 with F, BW, DQ and VL; loads and
// stores touch at most as many elements as the slice has.
impl<R: Rounding> Vector for Vector512<R> {
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load<T: Element>(from: &[T]) -> Self {
        // SAFETY: as above; `T` is the type that its `DTYPE` names.
        Self::new(unsafe {
            match T::DTYPE {
                Dtype::F32 if from.len() >= 16 => _mm512_loadu_ps(from.as_ptr().cast()),
                Dtype::F32 => _mm512_maskz_loadu_ps(first_lanes(from.len()), from.as_ptr().cast()),
                Dtype::Bf16 => {
                    let halves = if from.len() >= 16 {
                        _mm256_loadu_si256(from.as_ptr().cast())
                    } else {
                        _mm256_maskz_loadu_epi16(first_lanes(from.len()), from.as_ptr().cast())
                    };
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
                }
            }
        })
    }

    #[inline(always)]
    fn store<T: Element>(self, to: &mut [T]) {
        // SAFETY: as above; `T` is the type that its `DTYPE` names.
        unsafe {
            match T::DTYPE {
                Dtype::F32 if to.len() >= 16 => _mm512_storeu_ps(to.as_mut_ptr().cast(), self.0),
                Dtype::F32 => _mm512_mask_storeu_ps(to.as_mut_ptr().cast(), first_lanes(to.len()), self.0),
                Dtype::Bf16 if to.len() >= 16 => {
                    _mm256_storeu_si256(to.as_mut_ptr().cast(), R::narrow(self.0))
                }
                Dtype::Bf16 => {
                    _mm256_mask_storeu_epi16(
                        to.as_mut_ptr().cast(),
                        first_lanes(to.len()),
                        R::narrow(self.0),
                    );
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: as above. One Newton step doubles the 14 bits of the estimate.
        Self::new(unsafe {
            let estimate = _mm512_rcp14_ps(self.0);
            let error = _mm512_fnmadd_ps(self.0, estimate, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(estimate, error, estimate)
        })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        // SAFETY: as above.
        Self::new(unsafe {
            let sign = _mm512_and_ps(other.0, _mm512_set1_ps(-0.0));
            _mm512_or_ps(_mm512_abs_ps(self.0), sign)
        })
    }

    #[inline(always)]
    fn exp(self) -> Self {
        // SAFETY: as above. The order of the operands of `max` and `min` lets NaN through.
        Self::new(unsafe {
            let x = _mm512_max_ps(_mm512_set1_ps(-87.0), _mm512_min_ps(_mm512_set1_ps(88.0), self.0));
            let n = _mm512_roundscale_ps::<0>(_mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E)));
            let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_HIGH), x);
            let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_LOW), r);
            let mut sum = _mm512_set1_ps(EXP_TERMS[0]);
            for term in &EXP_TERMS[1..] {
                sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(*term));
            }
            _mm512_scalef_ps(sum, n)
        })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
}

const _: () = assert!(size_of::<bf16>() == 2, "a bf16 is read as 16 bits");

//! 256-bit vectors with fused multiply-add.

use std::arch::x86_64::*;

use super::Vector;
use super::array::{EXP_TERMS, LN_2_HIGH, LN_2_LOW};
use crate::element::{Dtype, Element};

/// Eight numbers.
#[derive(Clone, Copy)]
pub(crate) struct Vector256(__m256);

/// Rows of this, read from `8 - count` on, are masks of the first `count` lanes.
const FIRST_LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// A mask of the first `count` lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    // SAFETY: eight numbers from a place that is at most 8 are inside the table.
    unsafe { _mm256_loadu_si256(FIRST_LANES.as_ptr().add(8 - count.min(8)).cast()) }
}

/// The upper halves of eight numbers, rounded to nearest, ties to even; NaN stays NaN.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn narrow(values: __m256) -> __m128i {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let bits = _mm256_castps_si256(values);
        let last = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let half = _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
        let rounded = _mm256_blendv_epi8(_mm256_add_epi32(bits, half), quiet, is_nan);
        let halves = _mm256_srli_epi32::<16>(rounded);
        // Packing works within each 128 bits; the two that count are brought together.
        let packed = _mm256_packus_epi32(halves, halves);
        _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed))
    }
}

// SAFETY of all blocks: vectors of this type are used only in loops compiled for AVX2 with FMA; loads and stores touch at
// most as many elements as the slice has.
impl Vector for Vector256 {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn load<T: Element>(from: &[T]) -> Self {
        // SAFETY: as above; `T` is the type that its `DTYPE` names.
        Self(unsafe {
            match T::DTYPE {
                Dtype::F32 if from.len() >= 8 => _mm256_loadu_ps(from.as_ptr().cast()),
                Dtype::F32 => _mm256_maskload_ps(from.as_ptr().cast(), first_lanes(from.len())),
                Dtype::Bf16 => {
                    let halves = if from.len() >= 8 {
                        _mm_loadu_si128(from.as_ptr().cast())
                    } else {
                        let mut few = [0_u16; 8];
                        std::ptr::copy_nonoverlapping(from.as_ptr().cast(), few.as_mut_ptr(), from.len());
                        _mm_loadu_si128(few.as_ptr().cast())
                    };
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
                }
            }
        })
    }

    #[inline(always)]
    fn store<T: Element>(self, to: &mut [T]) {
        // SAFETY: as above; `T` is the type that its `DTYPE` names.
        unsafe {
            match T::DTYPE {
                Dtype::F32 if to.len() >= 8 => _mm256_storeu_ps(to.as_mut_ptr().cast(), self.0),
                Dtype::F32 => _mm256_maskstore_ps(to.as_mut_ptr().cast(), first_lanes(to.len()), self.0),
                Dtype::Bf16 if to.len() >= 8 => _mm_storeu_si128(to.as_mut_ptr().cast(), narrow(self.0)),
                Dtype::Bf16 => {
                    let mut all = [0_u16; 8];
                    _mm_storeu_si128(all.as_mut_ptr().cast(), narrow(self.0));
                    std::ptr::copy_nonoverlapping(all.as_ptr(), to.as_mut_ptr().cast(), to.len());
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: as above. A division: two Newton steps from the estimate of 12 bits take as long.
        Self(unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), self.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_or_ps(self.abs().0, _mm256_and_ps(other.0, _mm256_set1_ps(-0.0))) })
    }

    #[inline(always)]
    fn exp(self) -> Self {
        // SAFETY: as above. The order of the operands of `max` and `min` lets NaN through.
        Self(unsafe {
            let x = _mm256_max_ps(_mm256_set1_ps(-87.0), _mm256_min_ps(_mm256_set1_ps(88.0), self.0));
            let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
                x,
                _mm256_set1_ps(std::f32::consts::LOG2_E),
            ));
            let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_HIGH), x);
            let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_LOW), r);
            let mut sum = _mm256_set1_ps(EXP_TERMS[0]);
            for term in &EXP_TERMS[1..] {
                sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(*term));
            }
            // n becomes the exponent of 2^n.
            let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            let power = _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f80_0000)));
            _mm256_mul_ps(sum, power)
        })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let halves = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
        }
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let halves = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let pairs = _mm_max_ps(halves, _mm_movehl_ps(halves, halves));
            _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)))
        }
    }
}

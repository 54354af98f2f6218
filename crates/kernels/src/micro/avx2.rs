//! 256-bit vectors with fused multiply-add: six rows by two vectors of sums fill 12 of the 16 registers.

use std::arch::x86_64::*;

use super::{Block, MicroKernel};
use crate::vector::{Vector256, vectorised};

/// AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2Fma;
vectorised!(Avx2Fma, Vector256, "avx2,fma");

impl MicroKernel for Avx2Fma {
    type Operand = f32;
    const ROWS: usize = 6;
    const GROUP: usize = 1;
    const RUN: usize = 16;
    const DEPTH_ALIGN: usize = 1;
    const MAX_DEPTH: usize = 512;
    const ROW_ALIGN: usize = 1;

    unsafe fn multiply(block: Block<'_, f32>) {
        // SAFETY: the caller vouches for the instruction set and the extents of `block`.
        unsafe {
            match block.rows {
                1 => rows::<1>(block),
                2 => rows::<2>(block),
                3 => rows::<3>(block),
                4 => rows::<4>(block),
                5 => rows::<5>(block),
                _ => rows::<6>(block),
            }
        }
    }
}

/// # Safety
/// As [`MicroKernel::multiply`] with `R` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize>(block: Block<'_, f32>) {
    // SAFETY: the loads and stores stay inside the extents that the caller vouches for: 16 weights for each
    // element of all runs, `R` rows of these runs, and `R` rows of 16 sums.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        if block.accumulate {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = [
                    _mm256_loadu_ps(block.sums.add(row * 16)),
                    _mm256_loadu_ps(block.sums.add(row * 16 + 8)),
                ];
            }
        }
        let mut b = block.b;
        for offset in block.offsets {
            let a = block.a.add(*offset);
            for depth in 0..block.run {
                let low = _mm256_loadu_ps(b);
                let high = _mm256_loadu_ps(b.add(8));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = _mm256_broadcast_ss(&*a.add(row * block.a_stride + depth));
                    sums[0] = _mm256_fmadd_ps(a, low, sums[0]);
                    sums[1] = _mm256_fmadd_ps(a, high, sums[1]);
                }
                b = b.add(16);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            _mm256_storeu_ps(block.sums.add(row * 16), sums[0]);
            _mm256_storeu_ps(block.sums.add(row * 16 + 8), sums[1]);
        }
    }
}

/// Multiplies registers that are never loaded, for some milliseconds; gives the number of operations.
///
/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn busy_loop() -> f64 {
    const STEPS: usize = 100_000;
    const SUMS: usize = 12;
    let factor = std::hint::black_box(_mm256_set1_ps(0.5));
    let mut sums = [_mm256_setzero_ps(); SUMS];
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    std::hint::black_box(sums);
    (STEPS * SUMS * 2 * 8) as f64
}

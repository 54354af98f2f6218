//! 512-bit vectors: fused multiply-add of `f32`, and dot products of `bf16` pairs.
//!
//! Fourteen rows by two vectors of sums fill 28 of the 32 registers; each step loads two vectors of weights and
//! broadcasts one number, or one pair, of each row.

use std::arch::x86_64::*;

use half::bf16;

use super::{Block, MicroKernel};
use crate::vector::{BitwiseRounding, NativeRounding, Vector512, vectorised};

/// AVX-512 with F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512;
vectorised!(Avx512, Vector512<BitwiseRounding>, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// AVX-512 with BF16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16;
vectorised!(Avx512Bf16, Vector512<NativeRounding>, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma");

/// Calls `$function::<rows, vectors>`, which keeps all sums in registers.
macro_rules! with_rows {
    ($function:ident, $block:ident, $vectors:literal) => {
        match $block.rows {
            1 => $function::<1, $vectors>($block),
            2 => $function::<2, $vectors>($block),
            3 => $function::<3, $vectors>($block),
            4 => $function::<4, $vectors>($block),
            5 => $function::<5, $vectors>($block),
            6 => $function::<6, $vectors>($block),
            7 => $function::<7, $vectors>($block),
            8 => $function::<8, $vectors>($block),
            9 => $function::<9, $vectors>($block),
            10 => $function::<10, $vectors>($block),
            11 => $function::<11, $vectors>($block),
            12 => $function::<12, $vectors>($block),
            13 => $function::<13, $vectors>($block),
            _ => $function::<14, $vectors>($block),
        }
    };
}

impl MicroKernel for Avx512 {
    type Operand = f32;
    const ROWS: usize = 14;
    const GROUP: usize = 1;
    const RUN: usize = 32;
    const DEPTH_ALIGN: usize = 1;
    const MAX_DEPTH: usize = 192;
    const ROW_ALIGN: usize = 1;

    unsafe fn multiply(block: Block<'_, f32>) {
        // SAFETY: the caller vouches for the instruction set and the extents of `block`.
        unsafe { if block.narrow { with_rows!(single, block, 1) } else { with_rows!(single, block, 2) } }
    }
}

impl MicroKernel for Avx512Bf16 {
    type Operand = bf16;
    const ROWS: usize = 14;
    const GROUP: usize = 2;
    const RUN: usize = 32;
    const DEPTH_ALIGN: usize = 2;
    const MAX_DEPTH: usize = 384;
    const ROW_ALIGN: usize = 1;

    unsafe fn multiply(block: Block<'_, bf16>) {
        // SAFETY: the caller vouches for the instruction set and the extents of `block`.
        unsafe { if block.narrow { with_rows!(pairs, block, 1) } else { with_rows!(pairs, block, 2) } }
    }
}

/// # Safety
/// As [`MicroKernel::multiply`] with `R` rows and `V` vectors of columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
unsafe fn single<const R: usize, const V: usize>(block: Block<'_, f32>) {
    // SAFETY: the loads and stores stay inside the extents that the caller vouches for: 32 weights for each
    // element of all runs, `R` rows of these runs, and `R` rows of 32 sums.
    unsafe {
        let mut sums = load_sums::<R, V>(&block);
        let mut b = block.b;
        for offset in block.offsets {
            let rows: [_; R] = std::array::from_fn(|row| block.a.add(offset + row * block.a_stride));
            for depth in 0..block.run {
                let weights: [_; V] = std::array::from_fn(|part| _mm512_loadu_ps(b.add(16 * part)));
                for row in 0..R {
                    let a = _mm512_set1_ps(*rows[row].add(depth));
                    for part in 0..V {
                        sums[row][part] = _mm512_fmadd_ps(a, weights[part], sums[row][part]);
                    }
                }
                b = b.add(32);
            }
        }
        store_sums(&block, &sums);
    }
}

/// # Safety
/// As [`MicroKernel::multiply`] with `R` rows and `V` vectors of columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")]
unsafe fn pairs<const R: usize, const V: usize>(block: Block<'_, bf16>) {
    // SAFETY: as in `single`, with pairs of 16-bit numbers in the place of `f32`; a pair of a row is read as one 32-bit
    // number without alignment.
    unsafe {
        let mut sums = load_sums::<R, V>(&block);
        let mut b = block.b;
        for offset in block.offsets {
            let rows: [_; R] = std::array::from_fn(|row| block.a.add(offset + row * block.a_stride));
            for pair in 0..block.run / 2 {
                let weights: [_; V] =
                    std::array::from_fn(|part| as_bf16(_mm512_loadu_si512(b.add(32 * part).cast())));
                for row in 0..R {
                    let a =
                        as_bf16(_mm512_set1_epi32(rows[row].add(2 * pair).cast::<i32>().read_unaligned()));
                    for part in 0..V {
                        sums[row][part] = _mm512_dpbf16_ps(sums[row][part], a, weights[part]);
                    }
                }
                b = b.add(64);
            }
        }
        store_sums(&block, &sums);
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn as_bf16(bits: __m512i) -> __m512bh {
    // SAFETY: both types are 512 bits, and every pattern of them is a value.
    unsafe { std::mem::transmute(bits) }
}

/// # Safety
/// `block.sums` is readable for `R` rows of 32 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_sums<const R: usize, const V: usize>(block: &Block<'_, impl Sized>) -> [[__m512; V]; R] {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    if block.accumulate {
        for (row, sums) in sums.iter_mut().enumerate() {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller vouches for `R` rows.
                *sum = unsafe { _mm512_loadu_ps(block.sums.add(row * 32 + part * 16)) };
            }
        }
    }
    sums
}

/// # Safety
/// `block.sums` is writable for `R` rows of 32 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_sums<const R: usize, const V: usize>(block: &Block<'_, impl Sized>, sums: &[[__m512; V]; R]) {
    for (row, sums) in sums.iter().enumerate() {
        for (part, sum) in sums.iter().enumerate() {
            // SAFETY: the caller vouches for `R` rows.
            unsafe { _mm512_storeu_ps(block.sums.add(row * 32 + part * 16), *sum) };
        }
    }
}

/// Steps of a busy loop, which take less than a millisecond.
const BUSY_STEPS: usize = 100_000;
/// Sums of a busy loop: enough to hide the latency of one multiplication.
const BUSY_SUMS: usize = 16;

/// Multiplies `f32` registers that are never loaded; gives the number of operations.
///
/// # Safety
/// The processor has AVX-512F.
#[target_feature(enable = "avx512f,fma")]
pub(crate) unsafe fn busy_loop() -> f64 {
    let factor = std::hint::black_box(_mm512_set1_ps(0.5));
    let mut sums = [_mm512_setzero_ps(); BUSY_SUMS];
    for _ in 0..BUSY_STEPS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, factor);
        }
    }
    std::hint::black_box(sums);
    (BUSY_STEPS * BUSY_SUMS * 2 * 16) as f64
}

/// The same with pairs of `bf16`.
///
/// # Safety
/// The processor has AVX-512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) unsafe fn busy_pair_loop() -> f64 {
    let factor = as_bf16(std::hint::black_box(_mm512_setzero_si512()));
    let mut sums = [_mm512_setzero_ps(); BUSY_SUMS];
    for _ in 0..BUSY_STEPS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, factor, factor);
        }
    }
    std::hint::black_box(sums);
    (BUSY_STEPS * BUSY_SUMS * 4 * 16) as f64
}

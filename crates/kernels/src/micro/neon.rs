//! 128-bit vectors of 64-bit Arm: six rows by four vectors of sums fill 24 of the 32 registers.

use std::arch::aarch64::*;

use super::{Block, MicroKernel};
use crate::vector::{Array, vectorised};

/// NEON, which every 64-bit Arm processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon;
vectorised!(Neon, Array<8>, "neon");

impl MicroKernel for Neon {
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
#[target_feature(enable = "neon")]
unsafe fn rows<const R: usize>(block: Block<'_, f32>) {
    // SAFETY: the loads and stores stay inside the extents that the caller vouches for: 16 weights for each
    // element of all runs, `R` rows of these runs, and `R` rows of 16 sums.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 4]; R];
        if block.accumulate {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (part, sum) in sums.iter_mut().enumerate() {
                    *sum = vld1q_f32(block.sums.add(row * 16 + part * 4));
                }
            }
        }
        let mut b = block.b;
        for offset in block.offsets {
            let a = block.a.add(*offset);
            for depth in 0..block.run {
                let weights = [vld1q_f32(b), vld1q_f32(b.add(4)), vld1q_f32(b.add(8)), vld1q_f32(b.add(12))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = *a.add(row * block.a_stride + depth);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = vfmaq_n_f32(*sum, weight, a);
                    }
                }
                b = b.add(16);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (part, sum) in sums.iter().enumerate() {
                vst1q_f32(block.sums.add(row * 16 + part * 4), *sum);
            }
        }
    }
}

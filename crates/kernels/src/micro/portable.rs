//! Plain loops of fixed length that compilers turn into whatever vectors the target has.

use super::{Block, MicroKernel};
use crate::vector::{Array, Loop, Vectorised};

/// Any processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Vectorised for Portable {
    type Vector = Array<4>;

    unsafe fn vectorise<L: Loop>(body: L) -> L::Output {
        body.run()
    }
}

impl MicroKernel for Portable {
    type Operand = f32;
    const ROWS: usize = 4;
    const GROUP: usize = 1;
    const RUN: usize = 8;
    const DEPTH_ALIGN: usize = 1;
    const MAX_DEPTH: usize = 1024;
    const ROW_ALIGN: usize = 1;

    unsafe fn multiply(block: Block<'_, f32>) {
        // SAFETY: the caller vouches for the extents of `block`, which has `rows` rows.
        unsafe {
            match block.rows {
                1 => rows::<1>(block),
                2 => rows::<2>(block),
                3 => rows::<3>(block),
                _ => rows::<4>(block),
            }
        }
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with `R` rows.
unsafe fn rows<const R: usize>(block: Block<'_, f32>) {
    const WIDTH: usize = <Portable as MicroKernel>::WIDTH;
    // SAFETY: `sums` is `[R, WIDTH]`, dense and writable, and nothing else refers to it during the call.
    let out = unsafe { std::slice::from_raw_parts_mut(block.sums.cast::<[f32; WIDTH]>(), R) };
    let mut sums = [[0.0; WIDTH]; R];
    if block.accumulate {
        sums.copy_from_slice(out);
    }
    let depth = block.offsets.len() * block.run;
    // SAFETY: a panel has `WIDTH` elements for each element of all runs.
    let panel = unsafe { std::slice::from_raw_parts(block.b.cast::<[f32; WIDTH]>(), depth) };
    for (offset, panel) in block.offsets.iter().zip(panel.chunks_exact(block.run)) {
        for (depth, weights) in panel.iter().enumerate() {
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row < rows and depth < run of the block.
                let a = unsafe { *block.a.add(offset + row * block.a_stride + depth) };
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += a * weight;
                }
            }
        }
    }
    out.copy_from_slice(&sums);
}

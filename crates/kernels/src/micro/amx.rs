//! Matrix tiles of `bf16` (Intel AMX): 32 x 32 sums in four tiles, each step multiplies two tiles of rows with two of weights.
//!
//! The compiler has no stable intrinsics for tiles, so the loop is written in assembly. Instruction set reference:
//! Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;

use half::bf16;

use super::{Block, MicroKernel};
use crate::vector::{NativeRounding, Vector512, vectorised};

/// AMX-BF16, with AVX-512-BF16 for everything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx;
vectorised!(Amx, Vector512<NativeRounding>, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma");

/// Rows of a tile, and `f32` columns of a tile of sums.
const TILE: usize = 16;
/// Bytes of a tile's row.
const ROW_BYTES: usize = 64;

/// The operand of `ldtilecfg`: palette 1, and all eight tiles with 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl MicroKernel for Amx {
    type Operand = bf16;
    const ROWS: usize = 2 * TILE;
    const GROUP: usize = 2;
    const RUN: usize = TILE;
    const DEPTH_ALIGN: usize = 32;
    const MAX_DEPTH: usize = 320;
    const ROW_ALIGN: usize = TILE;

    /// Each 32-deep block is two tiles, one for each half of the columns, of 16 rows of 16 pairs.
    fn panel_offset(depth: usize, column: usize) -> usize {
        (depth / 32 * 2 + column / TILE) * TILE * 32 + depth % 32 / 2 * 32
    }

    fn begin() {
        // SAFETY: this type is only used where the processor has tiles and the kernel permits them; the operand is a valid
        // configuration of 64 bytes. Tile registers are used by this file alone.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) }
    }

    fn end() {
        // SAFETY: as for `begin`; gives the tile state back so that the kernel need not save it.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }

    unsafe fn multiply(block: Block<'_, bf16>) {
        // SAFETY: the caller vouches for `rows`, rounded up to whole tiles, readable rows of all runs, for a panel of 32 weights
        // for each of their elements, for as many writable rows of 32 sums, and for the configured tiles; there is at least one
        // run, and its length is a positive multiple of 32, so that each loop runs at least once.
        unsafe {
            match (block.rows > TILE, block.narrow) {
                (true, false) => two_by_two(block),
                (true, true) => two_by_one(block),
                (false, _) => one_by_two(block),
            }
        }
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with 32 rows and 32 columns.
unsafe fn two_by_two(block: Block<'_, bf16>) {
    // SAFETY: the caller vouches for all extents; the tiles are changed by this file alone.
    unsafe {
        if block.accumulate {
            asm!(
                "tileloadd tmm0, [{sums} + {row}*2]",
                "tileloadd tmm1, [{sums} + {row}*2 + 64]",
                "tileloadd tmm2, [{sums} + {row}*2 + 2048]",
                "tileloadd tmm3, [{sums} + {row}*2 + 2112]",
                sums = in(reg) block.sums,
                row = in(reg) ROW_BYTES,
                options(nostack, readonly),
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        asm!(
            "3:",
            "mov {a}, [{offset}]",
            "lea {a}, [{upper} + {a}*2]",
            "mov {step:e}, {steps:e}",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, {second}",
            "tileloadd tmm5, [{a} + {a_stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "sub {a}, {second}",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {step:e}",
            "jnz 2b",
            "add {offset}, 8",
            "dec {runs}",
            "jnz 3b",
            "tilestored [{sums} + {row}*2], tmm0",
            "tilestored [{sums} + {row}*2 + 64], tmm1",
            "tilestored [{sums} + {row}*2 + 2048], tmm2",
            "tilestored [{sums} + {row}*2 + 2112], tmm3",
            upper = in(reg) block.a,
            second = in(reg) block.second * size_of::<bf16>(),
            a = out(reg) _,
            a_stride = in(reg) block.a_stride * size_of::<bf16>(),
            offset = inout(reg) block.offsets.as_ptr() => _,
            runs = inout(reg) block.offsets.len() => _,
            steps = in(reg) block.run / 32,
            step = out(reg) _,
            b = inout(reg) block.b => _,
            row = in(reg) ROW_BYTES,
            sums = in(reg) block.sums,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with 32 rows and 16 columns.
unsafe fn two_by_one(block: Block<'_, bf16>) {
    // SAFETY: as in `two_by_two`.
    unsafe {
        if block.accumulate {
            asm!(
                "tileloadd tmm0, [{sums} + {row}*2]",
                "tileloadd tmm2, [{sums} + {row}*2 + 2048]",
                sums = in(reg) block.sums,
                row = in(reg) ROW_BYTES,
                options(nostack, readonly),
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm2", options(nostack, nomem));
        }
        asm!(
            "3:",
            "mov {a}, [{offset}]",
            "lea {a}, [{upper} + {a}*2]",
            "mov {step:e}, {steps:e}",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "add {a}, {second}",
            "tileloadd tmm5, [{a} + {a_stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "sub {a}, {second}",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {step:e}",
            "jnz 2b",
            "add {offset}, 8",
            "dec {runs}",
            "jnz 3b",
            "tilestored [{sums} + {row}*2], tmm0",
            "tilestored [{sums} + {row}*2 + 2048], tmm2",
            upper = in(reg) block.a,
            second = in(reg) block.second * size_of::<bf16>(),
            a = out(reg) _,
            a_stride = in(reg) block.a_stride * size_of::<bf16>(),
            offset = inout(reg) block.offsets.as_ptr() => _,
            runs = inout(reg) block.offsets.len() => _,
            steps = in(reg) block.run / 32,
            step = out(reg) _,
            b = inout(reg) block.b => _,
            row = in(reg) ROW_BYTES,
            sums = in(reg) block.sums,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with 16 rows and 32 columns.
unsafe fn one_by_two(block: Block<'_, bf16>) {
    // SAFETY: as in `two_by_two`.
    unsafe {
        if block.accumulate {
            asm!(
                "tileloadd tmm0, [{sums} + {row}*2]",
                "tileloadd tmm1, [{sums} + {row}*2 + 64]",
                sums = in(reg) block.sums,
                row = in(reg) ROW_BYTES,
                options(nostack, readonly),
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
        }
        asm!(
            "3:",
            "mov {a}, [{offset}]",
            "lea {a}, [{upper} + {a}*2]",
            "mov {step:e}, {steps:e}",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {step:e}",
            "jnz 2b",
            "add {offset}, 8",
            "dec {runs}",
            "jnz 3b",
            "tilestored [{sums} + {row}*2], tmm0",
            "tilestored [{sums} + {row}*2 + 64], tmm1",
            upper = in(reg) block.a,
            a = out(reg) _,
            a_stride = in(reg) block.a_stride * size_of::<bf16>(),
            offset = inout(reg) block.offsets.as_ptr() => _,
            runs = inout(reg) block.offsets.len() => _,
            steps = in(reg) block.run / 32,
            step = out(reg) _,
            b = inout(reg) block.b => _,
            row = in(reg) ROW_BYTES,
            sums = in(reg) block.sums,
            options(nostack),
        );
    }
}

/// Multiplies tiles that are never loaded, for some milliseconds; gives the number of operations.
pub(crate) fn busy_loop() -> f64 {
    const STEPS: u64 = 10_000;
    Amx::begin();
    // SAFETY: only reached where tiles are permitted; touches tile registers alone.
    unsafe {
        asm!(
            "tilezero tmm4",
            "tilezero tmm5",
            "tilezero tmm6",
            "tilezero tmm7",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {steps}",
            "jnz 2b",
            steps = inout(reg) STEPS => _,
            options(nostack, nomem),
        );
    }
    Amx::end();
    STEPS as f64 * (4 * 2 * TILE * TILE * 32) as f64
}

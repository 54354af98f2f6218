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

    unsafe fn multiply(block: Block<bf16>) {
        // SAFETY: the caller vouches for `rows`, rounded up to whole tiles, readable rows of `depth` numbers, for a panel of
        // `depth` by 32 weights, for as many writable rows of 32 sums, and for the configured tiles; depth is a positive
        // multiple of 32, so that each loop runs at least once.
        unsafe { if block.rows > TILE { two_tiles(block) } else { one_tile(block) } }
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with 32 rows.
unsafe fn two_tiles(block: Block<bf16>) {
    // SAFETY: the caller vouches for all extents; the tiles are changed by this file alone.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {steps:e}, {steps:e}",
            "jns 3f",
            "and {steps:e}, 0x7fffffff",
            "tileloadd tmm0, [{sums} + {sum_stride}]",
            "tileloadd tmm1, [{sums} + {sum_stride} + 64]",
            "tileloadd tmm2, [{sums} + {sum_stride} + 2048]",
            "tileloadd tmm3, [{sums} + {sum_stride} + 2112]",
            "3:",
            "2:",
            "tileloadd tmm4, [{upper} + {a_stride}]",
            "tileloadd tmm6, [{b} + {b_stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_stride} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {a_stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {b}, 2048",
            "dec {steps:e}",
            "jnz 2b",
            "tilestored [{sums} + {sum_stride}], tmm0",
            "tilestored [{sums} + {sum_stride} + 64], tmm1",
            "tilestored [{sums} + {sum_stride} + 2048], tmm2",
            "tilestored [{sums} + {sum_stride} + 2112], tmm3",
            upper = inout(reg) block.a => _,
            lower = inout(reg) block.a.add(TILE * block.a_stride) => _,
            a_stride = in(reg) block.a_stride * size_of::<bf16>(),
            b = inout(reg) block.b => _,
            b_stride = in(reg) ROW_BYTES,
            steps = inout(reg) steps(&block) => _,
            sums = in(reg) block.sums,
            sum_stride = in(reg) 2 * ROW_BYTES,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`MicroKernel::multiply`], with 16 rows.
unsafe fn one_tile(block: Block<bf16>) {
    // SAFETY: as in `two_tiles`.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "test {steps:e}, {steps:e}",
            "jns 3f",
            "and {steps:e}, 0x7fffffff",
            "tileloadd tmm0, [{sums} + {sum_stride}]",
            "tileloadd tmm1, [{sums} + {sum_stride} + 64]",
            "3:",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}]",
            "tileloadd tmm6, [{b} + {b_stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_stride} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {steps:e}",
            "jnz 2b",
            "tilestored [{sums} + {sum_stride}], tmm0",
            "tilestored [{sums} + {sum_stride} + 64], tmm1",
            a = inout(reg) block.a => _,
            a_stride = in(reg) block.a_stride * size_of::<bf16>(),
            b = inout(reg) block.b => _,
            b_stride = in(reg) ROW_BYTES,
            steps = inout(reg) steps(&block) => _,
            sums = in(reg) block.sums,
            sum_stride = in(reg) 2 * ROW_BYTES,
            options(nostack),
        );
    }
}

/// How often the loop runs; the sign bit says that the sums go on from earlier ones.
fn steps(block: &Block<bf16>) -> u32 {
    (block.depth / 32) as u32 | u32::from(block.accumulate) << 31
}

/// Multiplies tiles that are never loaded, for some milliseconds; gives the number of operations.
pub(crate) fn busy_loop() -> f64 {
    const STEPS: u64 = 100_000;
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

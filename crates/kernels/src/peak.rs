//! The machine's own limit: how fast it multiplies when nothing has to be loaded.

use std::time::Instant;

use crate::element::Dtype;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::micro::{amx, avx2, avx512};

/// Multiplications and additions in a second that one thread of this machine reaches with operands in registers, with the
/// current instruction set; 0 where there is no such loop for it. Takes about 50 ms.
pub fn peak_flops(dtype: Dtype) -> f64 {
    // Short rounds, of which some pass undisturbed even where the core is shared.
    const ROUNDS: usize = 70;
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let flops = busy_loop(Isa::current(), dtype);
        best = best.max(flops / start.elapsed().as_secs_f64());
    }
    best
}

/// Runs for less than a millisecond and says how many operations that was.
#[cfg(target_arch = "x86_64")]
fn busy_loop(isa: Isa, dtype: Dtype) -> f64 {
    // SAFETY: each loop is run only for an instruction set that was detected, or one that includes it.
    unsafe {
        match (isa, dtype) {
            (Isa::AmxBf16, Dtype::Bf16) => amx::busy_loop(),
            (Isa::Avx512Bf16, Dtype::Bf16) => avx512::busy_pair_loop(),
            (Isa::AmxBf16 | Isa::Avx512Bf16 | Isa::Avx512, _) => avx512::busy_loop(),
            (Isa::Avx2Fma, _) => avx2::busy_loop(),
            (Isa::Neon | Isa::Portable, _) => 0.0,
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn busy_loop(_isa: Isa, _dtype: Dtype) -> f64 {
    0.0
}

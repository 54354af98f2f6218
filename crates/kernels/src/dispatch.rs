//! From an instruction set and a storage type as values to a micro-kernel as a type.

use half::bf16;

use crate::element::Dtype;
use crate::isa::Isa;
use crate::micro::{MicroKernel, Operand, portable::Portable};
#[cfg(target_arch = "x86_64")]
use crate::micro::{
    amx::Amx,
    avx2::Avx2Fma,
    avx512::{Avx512, Avx512Bf16},
};

/// Something to do with a micro-kernel, and with its vectors, for operands `O`.
pub(crate) trait Task<O: Operand> {
    /// What it gives.
    type Output;

    /// Does it. The processor has the instruction set of `K`.
    fn run<K: MicroKernel<Operand = O>>(self) -> Self::Output;
}

/// Runs a task with the micro-kernel for `isa`, which this machine has, and `dtype`.
pub(crate) fn dispatch<R, F: Task<f32, Output = R> + Task<bf16, Output = R>>(
    isa: Isa,
    dtype: Dtype,
    task: F,
) -> R {
    match (isa, dtype) {
        #[cfg(target_arch = "aarch64")]
        (Isa::Neon, _) => Task::<f32>::run::<crate::micro::neon::Neon>(task),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2Fma, _) => Task::<f32>::run::<Avx2Fma>(task),
        #[cfg(target_arch = "x86_64")]
        (Isa::AmxBf16, Dtype::Bf16) => Task::<bf16>::run::<Amx>(task),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Bf16, Dtype::Bf16) => Task::<bf16>::run::<Avx512Bf16>(task),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512 | Isa::Avx512Bf16 | Isa::AmxBf16, _) => Task::<f32>::run::<Avx512>(task),
        _ => Task::<f32>::run::<Portable>(task),
    }
}

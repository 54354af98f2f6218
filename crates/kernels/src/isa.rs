//! Which instruction set the kernels use: the best that the processor has, or a lower one on request.

use std::sync::OnceLock;

/// An instruction set that the kernels have code for, from the most general to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, on any processor.
    Portable,
    /// 128-bit vectors of 64-bit Arm.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2Fma,
    /// 512-bit vectors.
    Avx512,
    /// 512-bit vectors with dot products of `bf16` pairs.
    Avx512Bf16,
    /// Matrix tiles of `bf16`.
    AmxBf16,
}

impl Isa {
    /// Every instruction set, from the most general to the fastest.
    pub const ALL: [Self; 6] =
        [Self::Portable, Self::Neon, Self::Avx2Fma, Self::Avx512, Self::Avx512Bf16, Self::AmxBf16];

    /// The name that `NOISEFIND_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2Fma => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::AmxBf16 => "amx-bf16",
        }
    }

    /// The instruction set that packing uses from now on: the best of this processor, or the one that the environment
    /// variable `NOISEFIND_ISA` names. Detected once.
    ///
    /// A name that is unknown or not available here falls back to the best one; `doctor` shows what is in use.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let available = Self::available();
            let wanted = std::env::var("NOISEFIND_ISA").ok();
            let forced = wanted.and_then(|name| available.iter().copied().find(|isa| isa.name() == name));
            forced.or(available.last().copied()).unwrap_or(Self::Portable)
        })
    }

    /// What this processor and operating system can run, from the most general to the fastest.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether products of `bf16` have instructions of their own, which makes `bf16` the faster storage type.
    pub const fn has_bf16(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::AmxBf16)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let avx512_bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
        match self {
            Self::Portable => true,
            Self::Neon => false,
            Self::Avx2Fma => avx2,
            Self::Avx512 => avx512,
            Self::Avx512Bf16 => avx512_bf16,
            Self::AmxBf16 => avx512_bf16 && tiles_are_permitted(),
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn is_available(self) -> bool {
        matches!(self, Self::Portable | Self::Neon)
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }
}

/// Whether the processor has `bf16` tiles and Linux lets this process use them; the permission holds for all threads
/// that start afterwards and for those that already run.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_are_permitted() -> bool {
    const SYS_ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_TILEDATA: usize = 18;
    if std::arch::x86_64::__cpuid(0).eax < 7 {
        return false;
    }
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    let has_tiles = features & (1 << 24) != 0 && features & (1 << 22) != 0;
    if !has_tiles {
        return false;
    }
    let answer: isize;
    // SAFETY: this system call takes two integers and touches no memory of ours; the kernel clobbers rcx and r11 only.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_TILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles_are_permitted() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_general_one_is_always_there() {
        assert_eq!(Isa::available().first(), Some(&Isa::Portable));
        assert!(Isa::available().contains(&Isa::current()));
    }

    #[test]
    fn names_differ() {
        let names: std::collections::HashSet<_> = Isa::ALL.iter().map(|isa| isa.name()).collect();
        assert_eq!(names.len(), Isa::ALL.len());
    }
}

//! What this machine offers.

use std::num::NonZero;

use crate::error::{Error, Result};

/// Makes everything that computes share `count` threads, in place of one for each core that the program may use; more
/// threads than cores would only wait for each other, so there are never more. Has to come before anything is computed;
/// results do not depend on it.
///
/// # Errors
/// Where the threads cannot be started, or others were started already.
pub fn use_threads(count: usize) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(count, NonZero::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(count.min(cores))
        .build_global()
        .map_err(|error| Error::Usage(format!("--threads is {count}, which cannot be had: {error}")))
}

/// Threads that compute.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Operating system and processor family.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// What the processor can do beyond its family, of what matters for matrix products.
pub fn instruction_sets() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect()
}

/// The instruction set that the CPU kernels use.
pub fn kernels() -> String {
    noisefind_nn::device::kernels_in_use().to_owned()
}

/// Commit that this program was built from, where it was built in its repository.
pub fn git_commit() -> Option<String> {
    option_env!("NOISEFIND_GIT_COMMIT").map(str::to_owned)
}

/// Memory that is free for use, in bytes; `None` where the system does not say.
pub fn available_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

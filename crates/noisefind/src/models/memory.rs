//! Whether what was asked for fits into memory, told before anything is computed.

use crate::error::{Error, Result};
use crate::machine;

/// What a model needs for one sample, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Between the layers, while it is generated.
    pub working_bytes: u64,
    /// Its image or clip.
    pub media_bytes: u64,
    /// Its noise.
    pub noise_bytes: u64,
}

/// What is held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Samples generated together.
    pub generation_batch: usize,
    /// Images or clips in memory at once.
    pub media: u64,
    /// Noises in memory at once.
    pub noises: u64,
}

impl MemoryNeed {
    /// Refuses what needs more memory than the system says is free; where it does not say, nothing is refused.
    ///
    /// # Errors
    /// Names the largest part and the flags that make it smaller.
    pub fn check(&self, held: Held) -> Result<()> {
        self.check_against(held, machine::available_memory_bytes().unwrap_or(u64::MAX))
    }

    fn check_against(&self, held: Held, free: u64) -> Result<()> {
        let parts = [
            (
                self.working_bytes.saturating_mul(held.generation_batch as u64),
                "generating",
                "--height, --width, --num-frames or --generation-batch",
            ),
            (self.media_bytes.saturating_mul(held.media), "the images", "-n, --samples or --batch-size"),
            (self.noise_bytes.saturating_mul(held.noises), "the noises", "-n or --batch-size"),
        ];
        let needed = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.0));
        if needed <= free {
            return Ok(());
        }
        let (bytes, what, flags) = parts.into_iter().max_by_key(|part| part.0).unwrap_or_default();
        let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
        Err(Error::Usage(format!(
            "this needs about {} of memory, {} of it for {what}, but {} are free; choose a smaller {flags}",
            gigabytes(needed),
            gigabytes(bytes),
            gigabytes(free)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_is_named_with_what_makes_it_smaller() {
        let need = MemoryNeed { working_bytes: 1 << 30, media_bytes: 3 << 20, noise_bytes: 1 << 16 };
        let held = Held { generation_batch: 1, media: 64, noises: 64 };
        need.check_against(held, 2 << 30).unwrap();
        for (held, part) in [
            (
                Held { generation_batch: 4096, ..held },
                "for generating, but 2.1 GB are free; choose a smaller --height",
            ),
            (Held { media: 100_000, ..held }, "for the images, but 2.1 GB are free; choose a smaller -n"),
            (Held { noises: u64::MAX, ..held }, "for the noises, but"),
        ] {
            let message = need.check_against(held, 2 << 30).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}

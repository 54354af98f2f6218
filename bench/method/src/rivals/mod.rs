//! Other ways to learn where good noises are, under the same budget and the same seeds.

mod released;
mod snes;

use noisefind::core::evaluation::Evaluation;
use noisefind::core::noise::{Noise, NoiseShape};
use noisefind::core::policy::NoisePolicy;
use noisefind::core::random_search::RandomSearch;
use noisefind::core::rng::NoiseSource;

pub use released::{PairedReward, Released};
pub use snes::SeparableNes;

/// A way to learn a policy; it is asked for noises and told their rewards.
pub trait Rival {
    /// Samples between two updates.
    fn batch_size(&self) -> usize;

    /// Draws `count` samples of `iteration`.
    fn ask(&self, seed: u64, iteration: u32, count: u32) -> Vec<Noise>;

    /// Takes in what came of them.
    fn tell(&mut self, evaluations: &[Evaluation]);

    /// The policy that would be kept now.
    fn policy(&self) -> NoisePolicy;
}

/// What a rival starts from.
pub struct Start {
    /// Shape of the noise.
    pub shape: NoiseShape,
    /// What a value network sees of the prompt.
    pub prompt_embedding: Vec<f32>,
    /// Names its random numbers.
    pub seed: u64,
}

impl Rival for RandomSearch {
    fn batch_size(&self) -> usize {
        Self::BATCH_SIZE
    }

    fn ask(&self, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        self.ask(NoiseSource::Philox, seed, iteration, count)
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        self.tell(evaluations);
    }

    fn policy(&self) -> NoisePolicy {
        self.policy()
    }
}

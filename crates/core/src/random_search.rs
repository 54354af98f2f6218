//! Zero-order random search: the neighbourhood of the best noise seen, a rival of the method.
//!
//! Each batch is drawn around the best noise so far, `z = c pivot + sqrt(1 - c^2) e`, so that `|z|` stays near
//! `sqrt(d)`; a better sample becomes the pivot. Source: Ma et al., "Inference-Time Scaling for Diffusion Models
//! beyond Scaling Denoising Steps", 2025, zero-order search.

use crate::evaluation::Evaluation;
use crate::noise::{Noise, NoiseShape};
use crate::policy::NoisePolicy;
use crate::rng::NoiseSource;

/// `c`: how much of the pivot a neighbour keeps.
const KEPT: f32 = 0.8;

/// A search between two batches.
#[derive(Clone, Debug)]
pub struct RandomSearch {
    shape: NoiseShape,
    pivot: Option<(Noise, f64)>,
}

impl RandomSearch {
    /// Samples drawn around one pivot before the best of them may replace it.
    pub const BATCH_SIZE: usize = 16;

    /// A search that has seen nothing and starts from `N(0, I)`.
    pub fn new(shape: NoiseShape) -> Self {
        Self { shape, pivot: None }
    }

    /// The neighbourhood of the best noise, as a policy to draw from.
    pub fn policy(&self) -> NoisePolicy {
        let Some((pivot, _)) = &self.pivot else { return NoisePolicy::standard(self.shape) };
        let mean = pivot.values().iter().map(|value| KEPT * value).collect();
        let sigma = vec![(1.0 - KEPT * KEPT).sqrt(); self.shape.numel()];
        NoisePolicy::new(self.shape, mean, sigma).expect("a noise is finite and the spread positive")
    }

    /// Draws `count` samples of `iteration`.
    pub fn ask(&self, source: NoiseSource, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        self.policy().draw_batch(source, seed, iteration, count)
    }

    /// Takes in the rewards of a batch.
    pub fn tell(&mut self, evaluations: &[Evaluation]) {
        for evaluation in evaluations {
            let Some(reward) = evaluation.reward.given() else { continue };
            if self.pivot.as_ref().is_none_or(|(_, best)| reward > *best) {
                self.pivot = Some((evaluation.noise.clone(), reward));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::SampleKey;
    use crate::ports::Reward;

    #[test]
    fn the_best_noise_becomes_the_pivot_and_missing_rewards_do_not_count() {
        let shape = NoiseShape::image(1, 1, 2);
        let mut search = RandomSearch::new(shape);
        assert_eq!(search.policy(), NoisePolicy::standard(shape));
        let sample = |index, value, reward| {
            let key = SampleKey { seed: 0, iteration: 0, index };
            Evaluation { noise: Noise::new(key, shape, vec![value; 2]).unwrap(), reward }
        };
        search.tell(&[
            sample(0, 1.0, Reward::Given(0.5)),
            sample(1, 2.0, Reward::Given(0.75)),
            sample(2, 3.0, Reward::Missing("black".into())),
        ]);
        search.tell(&[sample(3, 4.0, Reward::Given(0.25))]);
        assert_eq!(search.policy().mean(), [1.6, 1.6]);
        let square: f32 = KEPT * KEPT + search.policy().sigma()[0].powi(2);
        assert!((square - 1.0).abs() < 1e-6);
    }
}

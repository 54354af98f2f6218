//! The loop of the released FIND program, from the description of what it does, not from its code.
//!
//! One picture an iteration; a value network refitted on the newest distribution; AdamW on `mu` and `sigma`. What it
//! does unlike the paper is kept: log-probabilities averaged over the dimensions, a ratio to `N(0, I)` that is clamped
//! without a minimum, and `mean(mu^2 + (sigma - 1)^2)` for the divergence. Unlike there, denoising is deterministic, as for
//! every method of this comparison, so that only the update differs.

use noisefind::core::adamw::AdamW;
use noisefind::core::calibrator::ValueNetwork;
use noisefind::core::evaluation::Evaluation;
use noisefind::core::gaussian::{log_prob_gradient, sum_log_ratio};
use noisefind::core::noise::Noise;
use noisefind::core::policy::NoisePolicy;
use noisefind::core::rng::NoiseSource;

use super::{Rival, Start};

const LEARNING_RATE: f64 = 1e-3;
const VALUE_LEARNING_RATE: f64 = 1e-4;
const VALUE_WIDTH: usize = 256;
const CLIP_RANGE: f64 = 0.2;
const REWARD_WEIGHT: f64 = 10.0;
const DIVERGENCE_WEIGHT: f64 = 0.01;
const SIGMA_FLOOR: f32 = 1e-4;

/// Which reward meets the newest noise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PairedReward {
    /// Row 0 of the buffer, the oldest: as released.
    Oldest,
    /// Its own: the index corrected.
    Own,
}

/// The loop between two iterations.
pub struct Released {
    paired: PairedReward,
    oldest: Option<f64>,
    policy: NoisePolicy,
    value_network: ValueNetwork,
    mean_optimizer: AdamW,
    sigma_optimizer: AdamW,
}

impl Released {
    /// The loop before its first iteration.
    pub fn new(start: Start, paired: PairedReward) -> Self {
        let count = start.shape.numel();
        Self {
            paired,
            oldest: None,
            policy: NoisePolicy::standard(start.shape),
            value_network: ValueNetwork::new(
                start.seed,
                count,
                start.prompt_embedding,
                VALUE_WIDTH,
                VALUE_LEARNING_RATE,
            ),
            mean_optimizer: AdamW::new(count, LEARNING_RATE, 0.0),
            sigma_optimizer: AdamW::new(count, LEARNING_RATE, 0.0),
        }
    }

    fn update(&mut self, noise: &Noise, reward: f64) {
        self.value_network.fit(&[(&self.policy, reward)]);
        let calibrated = reward - self.value_network.predict(&self.policy);
        let start = NoisePolicy::standard(self.policy.shape());
        let (mut mean, mut sigma) = (self.policy.mean().to_vec(), self.policy.sigma().to_vec());
        let dimensions = mean.len() as f64;
        let sum = sum_log_ratio(noise.values(), (&mean, &sigma), (start.mean(), start.sigma()));
        let ratio = (sum / dimensions).exp();
        let inside = (1.0 - CLIP_RANGE..=1.0 + CLIP_RANGE).contains(&ratio);
        let weight = if inside { -REWARD_WEIGHT * calibrated * ratio / dimensions } else { 0.0 };
        let (by_mean, by_log_sigma) = log_prob_gradient(noise.values(), &mean, &sigma);
        let pull = 2.0 * DIVERGENCE_WEIGHT / dimensions;
        let slopes = |by: Vec<f64>, values: &[f32], centre: f64, scale: &dyn Fn(f64) -> f64| -> Vec<f32> {
            let with_pull = by.iter().zip(values).map(|(slope, &value)| {
                let value = f64::from(value);
                (weight * slope / scale(value) + pull * (value - centre)) as f32
            });
            with_pull.collect()
        };
        let by_mean = slopes(by_mean, &mean, 0.0, &|_| 1.0);
        let by_sigma = slopes(by_log_sigma, &sigma, 1.0, &|sigma| sigma);
        self.mean_optimizer.step(&mut mean, &by_mean);
        self.sigma_optimizer.step(&mut sigma, &by_sigma);
        sigma.iter_mut().for_each(|sigma| *sigma = sigma.max(SIGMA_FLOOR));
        if let Ok(policy) = NoisePolicy::new(self.policy.shape(), mean, sigma) {
            self.policy = policy;
        }
    }
}

impl Rival for Released {
    fn batch_size(&self) -> usize {
        1
    }

    fn ask(&self, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        self.policy.draw_batch(NoiseSource::Philox, seed, iteration, count)
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        for evaluation in evaluations {
            let Some(own) = evaluation.reward.given() else { continue };
            let oldest = *self.oldest.get_or_insert(own);
            let reward = match self.paired {
                PairedReward::Oldest => oldest,
                PairedReward::Own => own,
            };
            self.update(&evaluation.noise, reward);
        }
    }

    fn policy(&self) -> NoisePolicy {
        self.policy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noisefind::core::noise::NoiseShape;
    use noisefind::core::ports::Reward;

    fn policy_after(paired: PairedReward, rewards: [f64; 3]) -> NoisePolicy {
        let shape = NoiseShape::image(1, 1, 2);
        let mut released = Released::new(Start { shape, prompt_embedding: Vec::new(), seed: 3 }, paired);
        for (iteration, reward) in (0..).zip(rewards) {
            let noise = released.ask(1, iteration, 1).remove(0);
            released.tell(&[Evaluation { noise, reward: Reward::Given(reward) }]);
        }
        released.policy()
    }

    #[test]
    fn as_released_only_the_first_reward_counts() {
        let [one, other] = [[1.0, 2.0, -3.0], [1.0, -2.0, 3.0]];
        assert_eq!(policy_after(PairedReward::Oldest, one), policy_after(PairedReward::Oldest, other));
        assert_ne!(policy_after(PairedReward::Own, one), policy_after(PairedReward::Own, other));
    }
}

//! The loop of the released FIND program, from the description of what it does, not from its code.
//!
//! One image an iteration; a value network refitted on the newest distribution; AdamW on `mu` and `sigma`. What it
//! does unlike the paper is kept: log-probabilities averaged over the dimensions, a ratio to `N(0, I)` that is clamped
//! without a minimum, and `mean(mu^2 + (sigma - 1)^2)` for the divergence. Unlike there, denoising is deterministic, as for
//! every method of this comparison, so that only the update differs.

use noisefind::core::Result;
use noisefind::core::adamw::AdamW;
use noisefind::core::evaluation::Batch;
use noisefind::core::gaussian::Gaussian;
use noisefind::core::method::{Method, Start, Update, ValueNetwork};
use noisefind::core::policy::NoisePolicy;
use noisefind::core::state::{MethodHeader, MethodState, ScoredKey};

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
    /// Key and reward of the first evaluation.
    oldest: Option<ScoredKey>,
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

    fn update(&mut self, noise: &[f32], reward: f64) -> Result<()> {
        let gaussian = &self.policy.components()[0];
        self.value_network.fit(&[(gaussian, reward)]);
        let calibrated = reward - self.value_network.predict(gaussian);
        let (mut mean, mut sigma) = (gaussian.mean().to_vec(), gaussian.sigma().to_vec());
        let dimensions = mean.len() as f64;
        let sum = gaussian.sum_log_ratio(noise, &Gaussian::standard(mean.len()));
        let ratio = (sum / dimensions).exp();
        let inside = (1.0 - CLIP_RANGE..=1.0 + CLIP_RANGE).contains(&ratio);
        let weight = if inside { -REWARD_WEIGHT * calibrated * ratio / dimensions } else { 0.0 };
        let (by_mean, by_log_sigma) = gaussian.log_prob_gradient(noise);
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
        self.policy = NoisePolicy::new(self.policy.shape(), vec![Gaussian::new(mean, sigma)?])?;
        Ok(())
    }
}

impl Method for Released {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn tell(&mut self, batch: &Batch) -> Result<Update> {
        for (evaluation, own) in batch.given() {
            let oldest = self.oldest.get_or_insert(ScoredKey { key: evaluation.key(), reward: own }).reward;
            let reward = match self.paired {
                PairedReward::Oldest => oldest,
                PairedReward::Own => own,
            };
            self.update(evaluation.noise.values(), reward)?;
        }
        let count = batch.given().count() as f64;
        Ok(Update { updated: true, effective_sample_size: count, expected_reward: None })
    }

    fn save(&self) -> MethodState {
        let optimizers = [("optimizer.mu", &self.mean_optimizer), ("optimizer.sigma", &self.sigma_optimizer)];
        let mut tensors = self.value_network.tensors();
        tensors.extend(optimizers.iter().flat_map(|(name, optimizer)| optimizer.tensors(name)));
        let counters = vec![self.mean_optimizer.steps(), self.value_network.steps()];
        MethodState { header: MethodHeader { samples: self.oldest.into_iter().collect(), counters }, tensors }
    }

    fn restore(&mut self, policy: NoisePolicy, state: &MethodState) -> Result<()> {
        self.mean_optimizer.restore(&state.tensors, "optimizer.mu", state.counter(0)?)?;
        self.sigma_optimizer.restore(&state.tensors, "optimizer.sigma", state.counter(0)?)?;
        self.value_network.restore(&state.tensors, state.counter(1)?)?;
        self.oldest = state.header.samples.first().copied();
        self.policy = policy;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noisefind::core::evaluation::Evaluation;
    use noisefind::core::noise::NoiseShape;
    use noisefind::core::ports::Reward;
    use noisefind::core::run::{Run, RunConfig};

    fn released(paired: PairedReward) -> Box<Released> {
        Box::new(Released::new(Start::new(NoiseShape::image(1, 1, 2), 3), paired))
    }

    fn run_after(paired: PairedReward, rewards: &[f64]) -> Run {
        let config = RunConfig { seed: 1, batch_size: 1, plateau_iterations: 0, ..RunConfig::default() };
        let mut run = Run::new(config, released(paired)).unwrap();
        for &reward in rewards {
            let noise = run.ask().remove(0);
            run.tell(vec![Evaluation { noise, reward: Reward::Given(reward) }]).unwrap();
        }
        run
    }

    #[test]
    fn as_released_only_the_first_reward_counts() {
        let policy = |paired, rewards: [f64; 3]| run_after(paired, &rewards).policy().clone();
        let [one, other] = [[1.0, 2.0, -3.0], [1.0, -2.0, 3.0]];
        assert_eq!(policy(PairedReward::Oldest, one), policy(PairedReward::Oldest, other));
        assert_ne!(policy(PairedReward::Own, one), policy(PairedReward::Own, other));
    }

    #[test]
    fn a_restored_loop_goes_on_with_the_same_bits() {
        let whole = run_after(PairedReward::Oldest, &[1.0, 2.0, -3.0]);
        let half = run_after(PairedReward::Oldest, &[1.0, 2.0]).state();
        let mut resumed = Run::resume(released(PairedReward::Oldest), &half).unwrap();
        let noise = resumed.ask().remove(0);
        resumed.tell(vec![Evaluation { noise, reward: Reward::Given(-3.0) }]).unwrap();
        assert_eq!(resumed.state(), whole.state());
    }
}

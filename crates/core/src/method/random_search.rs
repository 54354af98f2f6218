//! `random-search`: zero-order search around the best noise found, a baseline.
//!
//! Each batch is sampled around the best noise so far, `z = c pivot + sqrt(1 - c^2) e`, so that `|z|` stays near
//! `sqrt(d)`; a better sample becomes the pivot. Source: Ma et al., "Inference-Time Scaling for Diffusion Models
//! beyond Scaling Denoising Steps", 2025, arXiv 2501.09732, zero-order search.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluation::Batch;
use crate::gaussian::Gaussian;
use crate::method::{Method, Update};
use crate::noise::{Noise, NoiseShape};
use crate::policy::NoisePolicy;
use crate::range::fraction;
use crate::state::{MethodHeader, MethodState, NamedTensor, ScoredKey};

/// Settings of `random-search`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomSearchConfig {
    /// `c`: the factor of the pivot in its neighbours, from 0 to below 1.
    pub radius: f64,
}

impl Default for RandomSearchConfig {
    fn default() -> Self {
        Self { radius: 0.8 }
    }
}

impl RandomSearchConfig {
    pub(super) fn validate(&self) -> Result<()> {
        fraction("radius", self.radius)?;
        if self.radius == 1.0 {
            let found = self.radius.to_string();
            return Err(Error::Config { field: "radius", expected: "a number below 1", found });
        }
        Ok(())
    }
}

/// The search between two batches.
#[derive(Clone, Debug)]
pub struct RandomSearch {
    radius: f32,
    policy: NoisePolicy,
    /// The best noise so far with its reward.
    pivot: Option<(Noise, f64)>,
}

impl RandomSearch {
    /// A search that was told nothing and starts from `N(0, I)`.
    pub fn new(config: RandomSearchConfig, shape: NoiseShape) -> Self {
        Self { radius: config.radius as f32, policy: NoisePolicy::standard(shape), pivot: None }
    }
}

impl Method for RandomSearch {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn tell(&mut self, batch: &Batch) -> Result<Update> {
        let mut updated = false;
        for (evaluation, reward) in batch.given() {
            if self.pivot.as_ref().is_none_or(|(_, best)| reward > *best) {
                self.pivot = Some((evaluation.noise.clone(), reward));
                updated = true;
            }
        }
        if let (true, Some((pivot, _))) = (updated, &self.pivot) {
            let mean: Vec<f32> = pivot.values().iter().map(|value| self.radius * value).collect();
            let sigma = vec![(1.0 - self.radius * self.radius).sqrt(); mean.len()];
            self.policy = NoisePolicy::new(self.policy.shape(), vec![Gaussian::new(mean, sigma)?])?;
        }
        Ok(Update { updated, effective_sample_size: 1.0, expected_reward: None })
    }

    fn save(&self) -> MethodState {
        let Some((pivot, reward)) = &self.pivot else { return MethodState::default() };
        let samples = vec![ScoredKey { key: pivot.key, reward: *reward }];
        let tensor = NamedTensor::new("pivot", pivot.shape().dims(), pivot.values().to_vec());
        MethodState { header: MethodHeader { samples, counters: Vec::new() }, tensors: vec![tensor] }
    }

    fn restore(&mut self, policy: NoisePolicy, state: &MethodState) -> Result<()> {
        self.pivot = match state.header.samples.first() {
            Some(&ScoredKey { key, reward }) => {
                let values = state.tensor("pivot", policy.shape().numel())?.to_vec();
                Noise::new(key, policy.shape(), values).map(|noise| (noise, reward))
            }
            None => None,
        };
        self.policy = policy;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Evaluation;
    use crate::noise::SampleKey;
    use crate::ports::Reward;

    #[test]
    fn the_best_noise_becomes_the_pivot_and_missing_rewards_do_not_count() {
        let shape = NoiseShape::image(1, 1, 2);
        let mut search = RandomSearch::new(RandomSearchConfig::default(), shape);
        assert_eq!(*search.policy(), NoisePolicy::standard(shape));
        let sample = |index, value, reward| {
            let key = SampleKey { seed: 0, iteration: 0, index };
            Evaluation { noise: Noise::new(key, shape, vec![value; 2]).unwrap(), reward }
        };
        let mut tell = |evaluations| {
            let policy = search.policy().clone();
            search.tell(&Batch { iteration: 0, policy, evaluations }).unwrap().updated
        };
        assert!(tell(vec![
            sample(0, 1.0, Reward::Given(0.5)),
            sample(1, 2.0, Reward::Given(0.75)),
            sample(2, 3.0, Reward::Missing("black".into())),
        ]));
        assert!(!tell(vec![sample(3, 4.0, Reward::Given(0.25))]));
        let [component] = search.policy().components() else { panic!("one component") };
        assert_eq!(component.mean(), [1.6, 1.6]);
        let square: f32 = 0.8 * 0.8 + component.sigma()[0].powi(2);
        assert!((square - 1.0).abs() < 1e-6);
    }
}

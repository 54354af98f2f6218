//! `paper`: policy gradient on `(mu, sigma)` of one Gaussian, with dynamic reward calibration (DRCM), ratio clipping
//! (RCA) and reuse of recent batches (Chen et al., ACM MM 2024, arXiv 2407.19453).

mod config;
mod objective;
mod value_network;

use std::collections::VecDeque;

pub use config::PaperConfig;
pub use objective::{ClippedObjective, clipped_objective, effective_sample_size};
pub use value_network::ValueNetwork;

use crate::adamw::AdamW;
use crate::error::{Error, Result};
use crate::evaluation::{Batch, Evaluation};
use crate::gaussian::Gaussian;
use crate::method::{Method, Start, Update};
use crate::policy::NoisePolicy;
use crate::ports::Reward;
use crate::rng::NoiseSource;
use crate::state::{MethodHeader, MethodState, ScoredKey, policy_tensors, read_policy};
use crate::statistics::mean;

/// The method between two batches.
pub struct Paper {
    config: PaperConfig,
    source: NoiseSource,
    /// One component.
    policy: NoisePolicy,
    mean_optimizer: AdamW,
    sigma_optimizer: AdamW,
    value_network: Option<ValueNetwork>,
    /// Recent batches, oldest first, each with the policy that it was sampled from.
    recent: VecDeque<Batch>,
}

impl Paper {
    /// The method before its first batch.
    pub fn new(config: PaperConfig, start: Start) -> Self {
        let Start { shape, seed, source, prompt_embedding, prior: _ } = start;
        let (count, rate) = (shape.numel(), config.learning_rate);
        let network = || {
            ValueNetwork::new(seed, count, prompt_embedding, config.value_width, config.value_learning_rate)
        };
        Self {
            value_network: config.calibration.then(network),
            source,
            policy: NoisePolicy::standard(shape),
            mean_optimizer: AdamW::new(count, rate, 0.0),
            sigma_optimizer: AdamW::new(count, rate, 0.0),
            recent: VecDeque::new(),
            config,
        }
    }

    fn gaussian(&self) -> &Gaussian {
        only_component(&self.policy)
    }

    fn remember(&mut self, batch: Batch) {
        let capacity = if self.config.reuse { self.config.history_batches } else { 1 };
        self.recent.push_back(batch);
        while self.recent.len() > capacity {
            self.recent.pop_front();
        }
    }

    /// DRCM: fits the value network to the mean rewards of the recent batches; -> what it expects of each of their given
    /// rewards, `r_bar = g(mu, sigma, embedding)`. Zeros without calibration.
    fn calibrate(&mut self) -> Vec<f64> {
        let Some(network) = &mut self.value_network else {
            return self.recent.iter().flat_map(|batch| batch.given().map(|_| 0.0)).collect();
        };
        let example = |batch| (only_component_of(batch), mean(&Batch::given_rewards(batch)));
        let examples: Vec<(&Gaussian, f64)> = self.recent.iter().map(example).collect();
        for _ in 0..self.config.value_steps {
            network.fit(&examples);
        }
        let expected = |batch| vec![network.predict(only_component_of(batch)); Batch::given(batch).count()];
        self.recent.iter().flat_map(expected).collect()
    }

    /// One AdamW step down `L_p = -E[min(rho r*, clip(rho) r*)] + lambda KL`; -> the ratios before it.
    fn descend(&mut self, advantages: &[f64]) -> Result<Vec<f64>> {
        let clip_range = self.config.ratio_clipping.then_some(self.config.clip_range);
        let gaussian = self.gaussian();
        let objective = clipped_objective(gaussian, &self.recent, advantages, clip_range);
        let (kl_by_mean, kl_by_log_sigma) = gaussian.kl_gradient();
        let weight = self.config.kl_weight;
        let (mut mean, mut sigma) = (gaussian.mean().to_vec(), gaussian.sigma().to_vec());
        let by_mean: Vec<f32> = objective
            .by_mean
            .iter()
            .zip(kl_by_mean)
            .map(|(slope, kl)| (slope + weight * kl) as f32)
            .collect();
        let by_sigma: Vec<f32> = objective
            .by_sigma
            .iter()
            .zip(kl_by_log_sigma)
            .zip(&sigma)
            .map(|((slope, kl), &sigma)| (slope + weight * kl / f64::from(sigma)) as f32)
            .collect();
        self.mean_optimizer.step(&mut mean, &by_mean);
        self.sigma_optimizer.step(&mut sigma, &by_sigma);
        let floor = self.config.sigma_floor as f32;
        sigma.iter_mut().for_each(|sigma| *sigma = sigma.max(floor));
        self.policy = NoisePolicy::new(self.policy.shape(), vec![Gaussian::new(mean, sigma)?])?;
        Ok(objective.ratios)
    }

    /// The noise of `evaluation` as a saved state will give it again.
    fn check_noise(&self, evaluation: &Evaluation) -> Result<()> {
        if self.policy.sample(self.source, evaluation.key()) == evaluation.noise {
            return Ok(());
        }
        Err(Error::ForeignNoise { key: evaluation.key() })
    }
}

impl Method for Paper {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn tell(&mut self, batch: &Batch) -> Result<Update> {
        batch.given().try_for_each(|(evaluation, _)| self.check_noise(evaluation))?;
        self.remember(batch.clone());
        let expected = self.calibrate();
        let expected_reward = self.value_network.as_ref().and_then(|_| expected.last().copied());
        // `r* = r - r_bar`, times the weight of the reward in the loss.
        let rewards = self.recent.iter().flat_map(Batch::given_rewards).zip(&expected);
        let advantages: Vec<f64> =
            rewards.map(|(reward, expected)| self.config.reward_weight * (reward - expected)).collect();
        if advantages.iter().all(|&advantage| advantage == 0.0) {
            return Ok(Update { expected_reward, ..Update::default() });
        }
        let epochs = if self.config.reuse { self.config.epochs } else { 1 };
        let mut ratios = Vec::new();
        for _ in 0..epochs {
            ratios = self.descend(&advantages)?;
        }
        Ok(Update { updated: true, effective_sample_size: effective_sample_size(&ratios), expected_reward })
    }

    /// The length of each sample along the mean: the policy gradient follows a direction of rising reward.
    fn predict(&self, batch: &Batch) -> Option<Vec<f64>> {
        let norm = batch.policy.mean_norm();
        let along = |sample: &Evaluation| {
            let mean = batch.policy.component_of(sample.key()).mean();
            let products = sample.noise.values().iter().zip(mean);
            products.map(|(&z, &mu)| f64::from(z) * f64::from(mu)).sum::<f64>() / norm
        };
        (norm > 0.0).then(|| batch.given().map(|(sample, _)| along(sample)).collect())
    }

    fn save(&self) -> MethodState {
        let mut state = MethodState::default();
        for batch in &self.recent {
            state.tensors.extend(policy_tensors(&format!("recent.{}.", batch.iteration), &batch.policy));
            let samples = batch.given().map(|(sample, reward)| ScoredKey { key: sample.key(), reward });
            state.header.samples.extend(samples);
        }
        state.tensors.extend(self.mean_optimizer.tensors("optimizer.mu"));
        state.tensors.extend(self.sigma_optimizer.tensors("optimizer.sigma"));
        state.header.counters.push(self.mean_optimizer.steps());
        if let Some(network) = &self.value_network {
            state.tensors.extend(network.tensors());
            state.header.counters.push(network.steps());
        }
        state
    }

    fn restore(&mut self, policy: NoisePolicy, state: &MethodState) -> Result<()> {
        let MethodState { header: MethodHeader { samples, .. }, tensors } = state;
        if policy.components().len() != 1 {
            let found = policy.components().len();
            return Err(Error::State(format!("the policy has {found} components, expected 1 for paper")));
        }
        self.mean_optimizer.restore(tensors, "optimizer.mu", state.counter(0)?)?;
        self.sigma_optimizer.restore(tensors, "optimizer.sigma", state.counter(0)?)?;
        if let Some(network) = &mut self.value_network {
            network.restore(tensors, state.counter(1)?)?;
        }
        for samples in samples.chunk_by(|a, b| a.key.iteration == b.key.iteration) {
            let iteration = samples[0].key.iteration;
            let old = read_policy(tensors, &format!("recent.{iteration}."), policy.shape())?;
            let evaluation = |sample: &ScoredKey| Evaluation {
                noise: old.sample(self.source, sample.key),
                reward: Reward::Given(sample.reward),
            };
            let evaluations = samples.iter().map(evaluation).collect();
            self.recent.push_back(Batch { iteration, policy: old, evaluations });
        }
        self.policy = policy;
        Ok(())
    }
}

fn only_component(policy: &NoisePolicy) -> &Gaussian {
    &policy.components()[0]
}

fn only_component_of(batch: &Batch) -> &Gaussian {
    only_component(&batch.policy)
}

//! `paper`: policy gradient on `(mu, sigma)` with dynamic reward calibration (DRCM), ratio clipping (RCA) and
//! reuse of recent batches (section 2 of the method; arXiv 2407.19453).

use std::collections::VecDeque;

use crate::adamw::AdamW;
use crate::calibrator::ValueNetwork;
use crate::config::PaperConfig;
use crate::error::{Error, Result};
use crate::evaluation::{Batch, Evaluation};
use crate::gaussian;
use crate::method::{Learner, Update};
use crate::noise::{Noise, NoiseShape};
use crate::objective::{clipped_surrogate, effective_sample_size};
use crate::policy::NoisePolicy;
use crate::ports::Reward;
use crate::state::{Memory, NamedTensor, RememberedSample, policy_tensors, read_policy, read_tensor};
use crate::statistics::mean;

/// The learner of `paper`.
pub(crate) struct Paper {
    config: PaperConfig,
    policy: NoisePolicy,
    mean_optimizer: AdamW,
    sigma_optimizer: AdamW,
    value_network: Option<ValueNetwork>,
    /// Recent batches, oldest first, each with the policy that drew it.
    recent: VecDeque<Batch>,
}

impl Paper {
    pub(crate) fn new(config: PaperConfig, shape: NoiseShape, prompt_embedding: Vec<f32>, seed: u64) -> Self {
        let (count, rate) = (shape.numel(), config.learning_rate);
        let network = || {
            ValueNetwork::new(seed, count, prompt_embedding, config.value_width, config.value_learning_rate)
        };
        Self {
            value_network: config.calibration.then(network),
            policy: NoisePolicy::standard(shape),
            mean_optimizer: AdamW::new(count, rate, 0.0),
            sigma_optimizer: AdamW::new(count, rate, 0.0),
            recent: VecDeque::new(),
            config,
        }
    }

    /// One AdamW step down `L_p = -E[min(rho r*, clip(rho) r*)] + lambda KL`; returns the ratios before it.
    fn descend(&mut self, advantages: &[f64]) -> Result<Vec<f64>> {
        let clip_range = self.config.ratio_clipping.then_some(self.config.clip_range);
        let surrogate = clipped_surrogate(&self.policy, &self.recent, advantages, clip_range);
        let (kl_by_mean, kl_by_log_sigma) = gaussian::kl_gradient(self.policy.mean(), self.policy.sigma());
        let weight = self.config.kl_weight;
        let (mut mean, mut sigma) = (self.policy.mean().to_vec(), self.policy.sigma().to_vec());
        let by_mean: Vec<f32> = surrogate
            .by_mean
            .iter()
            .zip(kl_by_mean)
            .map(|(slope, kl)| (slope + weight * kl) as f32)
            .collect();
        let by_sigma: Vec<f32> = surrogate
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
        self.policy = NoisePolicy::new(self.policy.shape(), mean, sigma)?;
        Ok(surrogate.ratios)
    }
}

impl Learner for Paper {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn remember(&mut self, batch: Batch) {
        let kept = if self.config.reuse { self.config.history_batches } else { 1 };
        self.recent.push_back(batch);
        while self.recent.len() > kept {
            self.recent.pop_front();
        }
    }

    fn calibrate(&mut self) -> Vec<f64> {
        let Some(network) = &mut self.value_network else {
            return self.recent.iter().flat_map(|batch| batch.given().map(|_| 0.0)).collect();
        };
        let examples: Vec<(&NoisePolicy, f64)> =
            self.recent.iter().map(|batch| (&batch.policy, mean(&batch.given_rewards()))).collect();
        for _ in 0..self.config.value_steps {
            network.fit(&examples);
        }
        let expected = |batch: &Batch| vec![network.predict(&batch.policy); batch.given().count()];
        self.recent.iter().flat_map(expected).collect()
    }

    /// `r* = r - r_bar`, times the weight of the reward.
    fn advantages(&self, expected: &[f64]) -> Vec<f64> {
        let rewards = self.recent.iter().flat_map(Batch::given_rewards);
        rewards
            .zip(expected)
            .map(|(reward, expected)| self.config.reward_weight * (reward - expected))
            .collect()
    }

    fn tell(&mut self, advantages: &[f64]) -> Result<Update> {
        if advantages.iter().all(|&advantage| advantage == 0.0) {
            return Ok(Update::default());
        }
        let epochs = if self.config.reuse { self.config.epochs } else { 1 };
        let mut ratios = Vec::new();
        for _ in 0..epochs {
            ratios = self.descend(advantages)?;
        }
        Ok(Update { updated: true, effective_sample_size: effective_sample_size(&ratios) })
    }

    fn save(&self) -> (Memory, Vec<NamedTensor>) {
        let mut samples = Vec::new();
        let mut noises = Vec::new();
        let mut tensors = Vec::new();
        for batch in &self.recent {
            tensors.extend(policy_tensors(&format!("recent.{}.", batch.iteration), &batch.policy));
            for (evaluation, reward) in batch.given() {
                samples.push(RememberedSample { key: evaluation.key(), reward });
                noises.extend_from_slice(evaluation.noise.values());
            }
        }
        let shape = vec![samples.len(), self.policy.shape().numel()];
        tensors.push(NamedTensor::new("recent.noise", shape, noises));
        tensors.extend(self.mean_optimizer.tensors("optimizer.mu"));
        tensors.extend(self.sigma_optimizer.tensors("optimizer.sigma"));
        let mut optimizer_steps = vec![self.mean_optimizer.steps()];
        if let Some(network) = &self.value_network {
            tensors.extend(network.tensors());
            optimizer_steps.push(network.steps());
        }
        (Memory { samples, optimizer_steps }, tensors)
    }

    fn restore(&mut self, policy: NoisePolicy, memory: &Memory, tensors: &[NamedTensor]) -> Result<()> {
        let shape = policy.shape();
        let steps = |at: usize| {
            let found = memory.optimizer_steps.get(at).copied();
            found.ok_or_else(|| Error::State(format!("optimizer_steps has no number {at}")))
        };
        self.mean_optimizer.restore(tensors, "optimizer.mu", steps(0)?)?;
        self.sigma_optimizer.restore(tensors, "optimizer.sigma", steps(0)?)?;
        if let Some(network) = &mut self.value_network {
            network.restore(tensors, steps(1)?)?;
        }
        let noises = read_tensor(tensors, "recent.noise", memory.samples.len() * shape.numel())?;
        let mut rows = noises.chunks_exact(shape.numel().max(1));
        self.recent.clear();
        for samples in memory.samples.chunk_by(|a, b| a.key.iteration == b.key.iteration) {
            let iteration = samples[0].key.iteration;
            let evaluations = samples.iter().zip(&mut rows).filter_map(|(sample, row)| {
                let noise = Noise::new(sample.key, shape, row.to_vec())?;
                Some(Evaluation { noise, reward: Reward::Given(sample.reward) })
            });
            let evaluations = evaluations.collect();
            let policy = read_policy(tensors, &format!("recent.{iteration}."), shape)?;
            self.recent.push_back(Batch { iteration, policy, evaluations });
        }
        self.policy = policy;
        Ok(())
    }
}

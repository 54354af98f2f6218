//! `find`: Bayesian optimisation of a mixture of Gaussians, from every evaluation made.
//!
//! A Gaussian-process surrogate predicts the reward around each noise. The components of the policy are centred where
//! its posterior mean is highest, at a fixed radius and under a bound on the divergence to `N(0, I)`.

mod config;
mod history;
mod kl_bound;
mod linear_system;
mod standardise;
mod surrogate;

pub use config::{FindConfig, FindPart, Spread};

use self::history::History;
use self::standardise::standardise;
use self::surrogate::{Centre, Surrogate, best_observation, direction};
use crate::error::{Error, Result};
use crate::evaluation::Batch;
use crate::gaussian::Gaussian;
use crate::method::{Method, Start, Update};
use crate::noise::NoiseShape;
use crate::policy::NoisePolicy;
use crate::rng::NoiseSource;
use crate::state::{
    MethodHeader, MethodState, NamedTensor, ScoredKey, find_tensor, policy_tensors, read_policy,
};
use crate::statistics::{mean, standard_deviation};
use crate::stop_reason::StopReason;
use crate::threshold::{self, BaseSuccess, NEWEST, is_success_known};

/// Nats for each dimension of the noise where the user gives no budget: means of rms 0.95 with a sigma to match, a little
/// more than the usual radius takes.
const DEFAULT_NATS_PER_DIMENSION: f64 = 1.2;

/// Components and their radius where failures cannot be told from successes: a few, so that graded rewards of many
/// evaluations tell the best of them.
const GRADED_COMPONENTS: usize = 4;
const GRADED_RADIUS: f64 = 0.92;

/// What the names of the prior's tensors begin with in a saved state.
const PRIOR_PREFIX: &str = "prior.";

/// Memory of the noises that the surrogate observes, which limits their number where a noise has millions of values.
const OBSERVED_BYTES: usize = 2 << 30;

fn observations_in_memory(shape: NoiseShape) -> usize {
    (OBSERVED_BYTES / (size_of::<f32>() * shape.numel().max(1))).max(1)
}

/// The method between two batches.
pub struct Find {
    config: FindConfig,
    source: NoiseSource,
    budget_nats: f64,
    policy: NoisePolicy,
    /// Sampled once, after the first batch, where that is too little to learn from.
    prior: Option<NoisePolicy>,
    history: History,
    /// Each update of the policy, oldest first.
    mixtures: Vec<Mixture>,
}

/// The means of a policy as combinations of the noises that were observed when it was made. A saved state
/// has it instead of the noises: each noise is sampled again from its key and the policy of its iteration, whose means are
/// combinations of earlier noises, down to the standard noise of the first iteration.
struct Mixture {
    /// The iteration after which the policy was made.
    iteration: u32,
    /// For each component a weight for each observed noise of length 1, in units of the length `sqrt(d)`.
    weights: Vec<Vec<f32>>,
}

impl Find {
    /// The method before its first batch.
    pub fn new(config: FindConfig, start: &Start) -> Self {
        Self {
            source: start.source,
            budget_nats: config
                .kl_budget_nats
                .unwrap_or(DEFAULT_NATS_PER_DIMENSION * start.shape.numel() as f64),
            policy: NoisePolicy::standard(start.shape),
            prior: start.prior.clone(),
            history: History::new(config.history_evaluations.min(observations_in_memory(start.shape))),
            mixtures: Vec::new(),
            config,
        }
    }

    fn shape(&self) -> NoiseShape {
        self.policy.shape()
    }

    /// The reward from which a sample is a success; `None` where nothing tells, or all are on one side.
    fn success_reward(&self) -> Option<f64> {
        let rewards = self.history.rewards();
        let is_between = |threshold: &f64| {
            let reached = rewards.iter().filter(|&reward| reward >= threshold).count();
            reached > 0 && reached < rewards.len()
        };
        let threshold = threshold::success_reward(&rewards, self.config.success_reward);
        threshold.filter(|threshold| self.config.success_threshold && is_between(threshold))
    }

    /// Largest number of components and their radius.
    fn extent(&self) -> (usize, f64) {
        let FindConfig { components, radius, .. } = self.config;
        match self.success_reward() {
            Some(_) => (components, radius),
            None => (components.min(GRADED_COMPONENTS), radius.min(GRADED_RADIUS)),
        }
    }

    /// What the surrogate learns: standardised rewards, none of them above the mean of the successes.
    fn utilities(&self) -> Vec<f64> {
        let mut rewards = self.history.rewards();
        if let Some(threshold) = self.success_reward() {
            let successes: Vec<f64> = rewards.iter().copied().filter(|&reward| reward >= threshold).collect();
            let highest = mean(&successes);
            rewards.iter_mut().for_each(|reward| *reward = reward.min(highest));
        }
        standardise(&rewards)
    }

    /// The surrogate of all utilities; `None` where there is nothing to learn from.
    fn surrogate(&self) -> Option<Surrogate> {
        Surrogate::new(&self.history.observations(&self.utilities()))
    }

    /// Where the components should be centred, the best first.
    fn centres(&self) -> Vec<Centre> {
        if self.config.surrogate {
            let surrogate = self.surrogate();
            let (components, radius) = self.extent();
            let centres = |it: Surrogate| it.best_centres(radius, components);
            surrogate.map(centres).unwrap_or_default()
        } else {
            let observations = self.history.observations(&self.utilities());
            best_observation(&observations).into_iter().collect()
        }
    }

    /// How many batches were told.
    fn batch_count(&self) -> usize {
        self.history.samples().chunk_by(|a, b| a.key.iteration == b.key.iteration).count()
    }

    /// The rewards of the base, as long as nothing was learnt: the second batch is the prior's, where there is one.
    fn base_rewards(&self) -> Vec<f64> {
        let batches = self.history.samples().chunk_by(|a, b| a.key.iteration == b.key.iteration);
        let of_base = batches.enumerate().filter(|(at, _)| *at != 1 || self.prior.is_none());
        of_base.flat_map(|(_, batch)| batch.iter().map(|sample| sample.reward)).collect()
    }

    /// What the first samples say of the base; too little once the policy was updated.
    fn base_success(&self) -> BaseSuccess {
        if !self.mixtures.is_empty() {
            return BaseSuccess::TooLittle;
        }
        let FindConfig { components, base_evaluations, .. } = self.config;
        let (rewards, base) = (self.history.rewards(), self.base_rewards());
        // A base without failures is told by the reward that images which show the prompt usually reach.
        let all = self.config.success_reward.filter(|&known| rewards.iter().all(|&reward| reward >= known));
        let threshold = self.success_reward().or(all);
        // A prior's successes are as good to learn from as the base's.
        let is_success = |reward: &&f64| threshold.is_some_and(|threshold| **reward >= threshold);
        let successes = rewards.iter().filter(is_success).count();
        match BaseSuccess::of(&base, threshold, components, base_evaluations) {
            BaseSuccess::Enough if !self.config.keep_base => BaseSuccess::TooLittle,
            BaseSuccess::Undecided if successes >= components => BaseSuccess::TooLittle,
            BaseSuccess::TooLittle if self.asks_for_prior() && threshold.is_none() => BaseSuccess::Undecided,
            verdict => verdict,
        }
    }

    /// Whether the prior is there and was not sampled.
    fn asks_for_prior(&self) -> bool {
        self.prior.is_some() && self.batch_count() <= 1
    }

    /// The policy of the next batch where nothing is learnt yet.
    fn unlearnt_policy(&self) -> NoisePolicy {
        let is_undecided = self.base_success() == BaseSuccess::Undecided;
        let prior = self.prior.clone().filter(|_| is_undecided && self.asks_for_prior());
        prior.unwrap_or_else(|| NoisePolicy::standard(self.shape()))
    }

    /// The rewards of the newest samples of learnt policies, at most [`NEWEST`].
    fn newest_rewards(&self) -> Vec<f64> {
        let Some(first) = self.mixtures.first() else { return Vec::new() };
        let samples = self.history.samples().iter().rev();
        let learnt = samples.take_while(|one| one.key.iteration > first.iteration).take(NEWEST);
        learnt.map(|one| one.reward).collect()
    }

    /// The policy whose centres are these combinations of the observed noises.
    fn policy_from(&self, weights: &[Vec<f32>]) -> Result<NoisePolicy> {
        let radius = self.extent().1 as f32;
        let component = |weights: &Vec<f32>| {
            let centre = self.history.combination(weights, self.shape().numel());
            let mean: Vec<f32> = centre.into_iter().map(|value| radius * value).collect();
            let sigma = kl_bound::sigma_for(&mean, self.config.spread);
            kl_bound::project(Gaussian::new(mean, sigma)?, self.budget_nats)
        };
        NoisePolicy::new(self.shape(), weights.iter().map(component).collect::<Result<_>>()?)
    }

    /// The name of the tensor with the weights of the update after `iteration`.
    fn tensor_name(iteration: u32) -> String {
        format!("mixture.{iteration}")
    }
}

impl Method for Find {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn tell(&mut self, batch: &Batch) -> Result<Update> {
        for (evaluation, _) in batch.given() {
            // A saved state holds keys alone, so a noise from elsewhere could not be restored.
            if self.policy.sample(self.source, evaluation.key()) != evaluation.noise {
                return Err(Error::ForeignNoise { key: evaluation.key() });
            }
        }
        for (evaluation, reward) in batch.given() {
            let sample = ScoredKey { key: evaluation.key(), reward };
            self.history.add(sample, evaluation.noise.values());
        }
        let expected_reward = Some(mean(&self.history.rewards()));
        let is_ready = self.base_success() == BaseSuccess::TooLittle;
        let centres = if is_ready { self.centres() } else { Vec::new() };
        if centres.is_empty() {
            if self.mixtures.is_empty() {
                self.policy = self.unlearnt_policy();
            }
            return Ok(Update { expected_reward, ..Update::default() });
        }
        let length = (self.shape().numel() as f64).sqrt();
        let scaled = |centre: &Centre| centre.weights.iter().map(|weight| (weight * length) as f32).collect();
        let weights: Vec<Vec<f32>> = centres.iter().map(scaled).collect();
        self.policy = self.policy_from(&weights)?;
        self.mixtures.push(Mixture { iteration: batch.iteration, weights });
        let sizes: Vec<f64> = centres.iter().map(|centre| centre.effective_sample_size).collect();
        Ok(Update { updated: true, effective_sample_size: mean(&sizes), expected_reward })
    }

    /// The posterior mean at each noise.
    fn predict(&self, batch: &Batch) -> Option<Vec<f64>> {
        let surrogate = self.surrogate()?;
        let rewards = self.history.rewards();
        let (centre, spread) = (mean(&rewards), standard_deviation(&rewards));
        let expected = |noise: &[f32]| surrogate.posterior_mean(&self.history.cosines(&direction(noise)));
        let in_reward_units = |value: f64| centre + spread * value;
        Some(batch.given().map(|(one, _)| in_reward_units(expected(one.noise.values()))).collect())
    }

    fn is_done(&self) -> Option<StopReason> {
        if self.base_success() == BaseSuccess::Enough {
            return Some(StopReason::BaseSucceeds);
        }
        if !self.config.success_stop {
            return None;
        }
        let is_known = is_success_known(&self.newest_rewards(), self.success_reward()?, self.config.success);
        is_known.then_some(StopReason::PolicySucceeds)
    }

    fn save(&self) -> MethodState {
        let tensor = |mixture: &Mixture| {
            let columns = mixture.weights.first().map_or(0, Vec::len);
            let shape = vec![mixture.weights.len(), columns];
            NamedTensor::new(Self::tensor_name(mixture.iteration), shape, mixture.weights.concat())
        };
        let prior = self.prior.iter().flat_map(|prior| policy_tensors(PRIOR_PREFIX, prior));
        MethodState {
            header: MethodHeader {
                samples: self.history.samples().to_vec(),
                // The iterations after which the policy was updated.
                counters: self.mixtures.iter().map(|mixture| mixture.iteration).collect(),
            },
            tensors: self.mixtures.iter().map(tensor).chain(prior).collect(),
        }
    }

    fn restore(&mut self, policy: NoisePolicy, state: &MethodState) -> Result<()> {
        let has_prior = state.tensors.iter().any(|tensor| tensor.name.starts_with(PRIOR_PREFIX));
        self.prior =
            has_prior.then(|| read_policy(&state.tensors, PRIOR_PREFIX, self.shape())).transpose()?;
        let mut updates = state.header.counters.iter().peekable();
        for batch in state.header.samples.chunk_by(|a, b| a.key.iteration == b.key.iteration) {
            for sample in batch {
                let noise = self.policy.sample(self.source, sample.key);
                self.history.add(*sample, noise.values());
            }
            let Some(iteration) = updates.next_if_eq(&&batch[0].key.iteration) else {
                if self.mixtures.is_empty() {
                    self.policy = self.unlearnt_policy();
                }
                continue;
            };
            let tensor = find_tensor(&state.tensors, &Self::tensor_name(*iteration))?;
            let columns = self.history.observed_count();
            if tensor.values.is_empty() || !tensor.values.len().is_multiple_of(columns) {
                let (name, found) = (&tensor.name, tensor.values.len());
                return Err(Error::State(format!(
                    "tensor {name} has {found} values, expected {columns} a component"
                )));
            }
            let weights: Vec<Vec<f32>> = tensor.values.chunks_exact(columns).map(<[f32]>::to_vec).collect();
            self.policy = self.policy_from(&weights)?;
            self.mixtures.push(Mixture { iteration: *iteration, weights });
        }
        if let Some(iteration) = updates.next() {
            return Err(Error::State(format!("no sample belongs to the update after iteration {iteration}")));
        }
        if self.policy != policy {
            return Err(Error::State(
                "the policy is not the one that its samples give; resume with the noise generator, the settings and \
                 the version of the program that saved it"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

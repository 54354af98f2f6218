//! `find`: a one-step policy optimisation that uses every evaluation made. All of them together tell which places in
//! the space of noises are good to draw around, and the Gaussians of the policy stand there, under a bound on the
//! divergence (section 3 of the method).

use crate::advantage::advantages;
use crate::config::FindConfig;
use crate::error::Result;
use crate::evaluation::Batch;
use crate::kl_budget;
use crate::landscape::{self, Landscape, Place, Seen, direction};
use crate::method::{Learner, Update};
use crate::noise::NoiseShape;
use crate::policy::NoisePolicy;
use crate::state::{Memory, NamedTensor, RememberedSample, read_tensor};
use crate::statistics::{mean, standard_deviation};

/// Nats for each number of the noise where the user gives no budget: means of rms 0.95 with a spread to match, a little
/// more than the usual share of a noise takes.
const DEFAULT_NATS_PER_DIMENSION: f64 = 1.2;

/// The learner of `find`.
pub(crate) struct Find {
    config: FindConfig,
    budget_nats: f64,
    policy: NoisePolicy,
    /// All evaluations with a given reward, oldest first.
    samples: Vec<RememberedSample>,
    /// The noises of the newest of them, which the landscape is told from.
    used: Vec<Used>,
}

/// The noise of an evaluation as the landscape needs it.
struct Used {
    /// The noise scaled to length 1, `d` numbers.
    direction: Vec<f32>,
    /// What it has in common with each used noise before it.
    alike: Vec<f64>,
}

impl Find {
    pub(crate) fn new(config: FindConfig, shape: NoiseShape) -> Self {
        Self {
            budget_nats: config.kl_budget_nats.unwrap_or(DEFAULT_NATS_PER_DIMENSION * shape.numel() as f64),
            policy: NoisePolicy::standard(shape),
            samples: Vec::new(),
            used: Vec::new(),
            config,
        }
    }

    /// Takes in the noise of the newest evaluation, and lets the oldest go.
    fn push(&mut self, direction: Vec<f32>) {
        let alike = self.alike(&direction);
        self.used.push(Used { direction, alike });
        if self.used.len() > self.config.history_evaluations {
            self.used.remove(0);
            for later in &mut self.used {
                later.alike.remove(0);
            }
        }
    }

    /// What a noise of length 1 has in common with each used one.
    fn alike(&self, direction: &[f32]) -> Vec<f64> {
        self.used.iter().map(|one| landscape::alike(&one.direction, direction)).collect()
    }

    /// The rewards of all evaluations, oldest first.
    fn rewards(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.reward).collect()
    }

    /// The used evaluations with their advantages, of which there is one for each evaluation.
    fn seen(&self, advantages: &[f64]) -> Vec<Seen<'_>> {
        let newest = &advantages[advantages.len() - self.used.len()..];
        let used = self.used.iter().zip(newest);
        used.map(|(one, &advantage)| Seen { alike: &one.alike, advantage }).collect()
    }

    /// Where the highest rewards are to be expected, the best first.
    fn good_places(&self, advantages: &[f64]) -> Vec<Place> {
        let seen = self.seen(advantages);
        if !self.config.landscape {
            return landscape::best_seen(&seen).into_iter().collect();
        }
        let landscape = Landscape::new(&seen);
        landscape.map(|it| it.best_places(self.config.share, self.config.gaussians)).unwrap_or_default()
    }

    /// The noise at a place, of length `sqrt(d)`, as long as a noise is.
    fn noise(&self, place: &Place) -> Vec<f32> {
        let numel = self.policy.shape().numel();
        let mut noise = vec![0.0; numel];
        for (one, part) in self.used.iter().zip(&place.mixture) {
            let part = (part * (numel as f64).sqrt()) as f32;
            noise.iter_mut().zip(&one.direction).for_each(|(sum, x)| *sum += part * x);
        }
        noise
    }
}

impl Learner for Find {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    /// What the landscape expects around each noise, as a reward.
    fn predict(&self, batch: &Batch) -> Vec<f64> {
        let rewards = self.rewards();
        let (centre, spread) = (mean(&rewards), standard_deviation(&rewards));
        let advantages = advantages(&rewards);
        let Some(landscape) = Landscape::new(&self.seen(&advantages)) else { return Vec::new() };
        let expected = |noise: &[f32]| landscape.expected(&self.alike(&direction(noise)));
        batch.given().map(|(evaluation, _)| centre + spread * expected(evaluation.noise.values())).collect()
    }

    fn remember(&mut self, batch: Batch) {
        for (evaluation, reward) in batch.given() {
            self.samples.push(RememberedSample { key: evaluation.key(), reward });
            self.push(direction(evaluation.noise.values()));
        }
    }

    /// The mean of all: what differs from it where is for the landscape to say.
    fn calibrate(&mut self) -> Vec<f64> {
        let rewards = self.rewards();
        vec![mean(&rewards); rewards.len()]
    }

    fn advantages(&self, expected: &[f64]) -> Vec<f64> {
        let rewards = self.samples.iter().zip(expected);
        let differences: Vec<f64> = rewards.map(|(sample, expected)| sample.reward - expected).collect();
        advantages(&differences)
    }

    fn tell(&mut self, advantages: &[f64]) -> Result<Update> {
        let places = self.good_places(advantages);
        if places.is_empty() {
            return Ok(Update::default());
        }
        let share = self.config.share as f32;
        let gaussians = places.iter().map(|place| {
            let mean: Vec<f32> = self.noise(place).into_iter().map(|value| share * value).collect();
            let sigma = kl_budget::spread_for(&mean, self.config.spread);
            kl_budget::project(mean, sigma, self.budget_nats)
        });
        let (means, sigmas): (Vec<_>, Vec<_>) = gaussians.unzip();
        self.policy = NoisePolicy::new(self.policy.shape(), means.concat(), sigmas.concat())?;
        let sizes: Vec<f64> = places.iter().map(|place| place.effective_sample_size).collect();
        Ok(Update { updated: true, effective_sample_size: mean(&sizes) })
    }

    fn save(&self) -> (Memory, Vec<NamedTensor>) {
        let directions: Vec<f32> = self.used.iter().flat_map(|one| one.direction.iter().copied()).collect();
        let shape = vec![self.used.len(), self.policy.shape().numel()];
        let tensors = vec![NamedTensor::new("memory.directions", shape, directions)];
        (Memory { samples: self.samples.clone(), ..Memory::default() }, tensors)
    }

    fn restore(&mut self, policy: NoisePolicy, memory: &Memory, tensors: &[NamedTensor]) -> Result<()> {
        let numel = policy.shape().numel();
        let used = memory.samples.len().min(self.config.history_evaluations);
        let directions = read_tensor(tensors, "memory.directions", used * numel)?;
        self.used.clear();
        directions.chunks_exact(numel.max(1)).for_each(|direction| self.push(direction.to_vec()));
        self.samples.clone_from(&memory.samples);
        self.policy = policy;
        Ok(())
    }
}

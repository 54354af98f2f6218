//! `find`: a one-step policy optimisation that uses every evaluation made. All of them together tell which layouts of low
//! frequencies are good to draw around, and the Gaussians of the policy stand there, under a bound on the divergence
//! (section 3 of the method).

use crate::advantage::advantages;
use crate::basis::FrequencyBasis;
use crate::config::FindConfig;
use crate::error::Result;
use crate::evaluation::Batch;
use crate::kl_budget;
use crate::landscape::{self, Place, Seen};
use crate::method::{Learner, Update};
use crate::noise::{Noise, NoiseShape, SampleKey};
use crate::policy::NoisePolicy;
use crate::rng::NoiseSource;
use crate::state::{Memory, NamedTensor, RememberedSample, read_tensor};
use crate::statistics::{mean, standard_deviation};

/// Nats for each number of the noise where the user gives no budget: means of rms 0.95 with a spread to match, a little
/// more than the usual share of a noise takes.
const DEFAULT_NATS_PER_DIMENSION: f64 = 1.2;

/// The learner of `find`.
pub(crate) struct Find {
    config: FindConfig,
    /// The frequencies that are a noise's layout.
    basis: FrequencyBasis,
    budget_nats: f64,
    policy: NoisePolicy,
    /// All evaluations with a given reward, oldest first.
    memory: Vec<Remembered>,
    /// The noise with the highest reward of all, `d` numbers.
    best: Option<(Vec<f32>, f64)>,
}

/// An evaluation as the landscape needs it.
struct Remembered {
    sample: RememberedSample,
    /// The layout of its noise, of length 1.
    layout: Vec<f32>,
}

impl Find {
    pub(crate) fn new(config: FindConfig, shape: NoiseShape) -> Self {
        Self {
            basis: FrequencyBasis::new(shape, config.low_frequencies, config.low_frame_frequencies),
            budget_nats: config.kl_budget_nats.unwrap_or(DEFAULT_NATS_PER_DIMENSION * shape.numel() as f64),
            policy: NoisePolicy::standard(shape),
            memory: Vec::new(),
            best: None,
            config,
        }
    }

    /// The rewards of all evaluations, oldest first.
    fn rewards(&self) -> Vec<f64> {
        self.memory.iter().map(|one| one.sample.reward).collect()
    }

    /// The evaluations that are used, with their advantages.
    fn seen(&self, advantages: &[f64]) -> Vec<Seen<'_>> {
        let old = self.memory.len().saturating_sub(self.config.history_evaluations);
        let used = self.memory.iter().zip(advantages).skip(old);
        used.map(|(one, &advantage)| Seen { layout: &one.layout, advantage }).collect()
    }

    /// The layout of a noise, of length 1.
    fn layout(&self, noise: &[f32]) -> Vec<f32> {
        landscape::layout(&self.basis.coefficients(noise))
    }

    /// The layouts around which the highest rewards are to be expected, the best first.
    fn good_places(&self, advantages: &[f64]) -> Vec<Place> {
        let seen = self.seen(advantages);
        if self.config.landscape {
            landscape::best_places(&seen, self.config.share, self.config.gaussians)
        } else {
            landscape::best_seen(&seen).into_iter().collect()
        }
    }

    /// A noise with each of the layouts. Frequencies outside the layout decide nothing; the best noise lends its own, so
    /// that the norm is a noise's, and its channels change places from one noise to the next, so that they do not look
    /// alike.
    fn noises(&self, places: &[Place]) -> Vec<Vec<f32>> {
        let Some((best, _)) = &self.best else { return Vec::new() };
        let length = (self.basis.len() as f64).sqrt() as f32;
        let rest: Vec<f32> = best.iter().zip(self.basis.project(best)).map(|(all, low)| all - low).collect();
        let channel = rest.len() / self.policy.shape().channels;
        let noise = |(at, place): (usize, &Place)| -> Vec<f32> {
            let layout: Vec<f32> = place.layout.iter().map(|x| length * x).collect();
            let lent = rest.iter().cycle().skip(at * channel);
            self.basis.synthesize(&layout).iter().zip(lent).map(|(low, rest)| low + rest).collect()
        };
        places.iter().enumerate().map(noise).collect()
    }
}

impl Learner for Find {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn ask(&self, source: NoiseSource, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        if self.config.antithetic {
            return self.policy.draw_pairs(source, seed, iteration, count);
        }
        (0..count).map(|index| self.policy.draw(source, SampleKey { seed, iteration, index })).collect()
    }

    /// What the landscape expects around each noise, as a reward.
    fn predict(&self, batch: &Batch) -> Vec<f64> {
        let rewards = self.rewards();
        let (centre, spread) = (mean(&rewards), standard_deviation(&rewards));
        let advantages = advantages(&rewards);
        let layouts: Vec<Vec<f32>> =
            batch.given().map(|(evaluation, _)| self.layout(evaluation.noise.values())).collect();
        let expected = landscape::expected(&self.seen(&advantages), &layouts);
        expected.into_iter().map(|advantage| centre + spread * advantage).collect()
    }

    fn remember(&mut self, batch: Batch) {
        for (evaluation, reward) in batch.given() {
            let noise = evaluation.noise.values();
            if self.best.as_ref().is_none_or(|(_, best)| reward > *best) {
                self.best = Some((noise.to_vec(), reward));
            }
            self.memory.push(Remembered {
                sample: RememberedSample { key: evaluation.key(), reward },
                layout: self.layout(noise),
            });
        }
    }

    /// The mean of all: what differs from it where is for the landscape to say.
    fn calibrate(&mut self) -> Vec<f64> {
        let rewards = self.rewards();
        vec![mean(&rewards); rewards.len()]
    }

    fn advantages(&self, expected: &[f64]) -> Vec<f64> {
        let rewards = self.memory.iter().zip(expected);
        let differences: Vec<f64> = rewards.map(|(one, expected)| one.sample.reward - expected).collect();
        advantages(&differences)
    }

    fn tell(&mut self, advantages: &[f64]) -> Result<Update> {
        let places = self.good_places(advantages);
        if places.is_empty() {
            return Ok(Update::default());
        }
        let share = self.config.share as f32;
        let gaussians = self.noises(&places).into_iter().map(|noise| {
            let mean: Vec<f32> = noise.into_iter().map(|value| share * value).collect();
            let sigma = kl_budget::spread_for(&mean, self.config.spread);
            kl_budget::project(mean, sigma, self.budget_nats)
        });
        let (means, sigmas): (Vec<_>, Vec<_>) = gaussians.unzip();
        self.policy = NoisePolicy::new(self.policy.shape(), means.concat(), sigmas.concat())?;
        let sizes: Vec<f64> = places.iter().map(|place| place.effective_sample_size).collect();
        Ok(Update { updated: true, effective_sample_size: mean(&sizes) })
    }

    fn save(&self) -> (Memory, Vec<NamedTensor>) {
        let samples = self.memory.iter().map(|one| one.sample).collect();
        let layouts: Vec<f32> = self.memory.iter().flat_map(|one| one.layout.iter().copied()).collect();
        let shape = vec![self.memory.len(), self.basis.len()];
        let mut tensors = vec![NamedTensor::new("memory.layouts", shape, layouts)];
        if let Some((noise, _)) = &self.best {
            tensors.push(NamedTensor::new("best_noise", vec![noise.len()], noise.clone()));
        }
        (Memory { samples, ..Memory::default() }, tensors)
    }

    fn restore(&mut self, policy: NoisePolicy, memory: &Memory, tensors: &[NamedTensor]) -> Result<()> {
        let size = self.basis.len();
        let layouts = read_tensor(tensors, "memory.layouts", memory.samples.len() * size)?;
        let remembered = memory.samples.iter().zip(layouts.chunks_exact(size.max(1)));
        self.memory =
            remembered.map(|(&sample, layout)| Remembered { sample, layout: layout.to_vec() }).collect();
        let highest = memory.samples.iter().map(|sample| sample.reward).reduce(f64::max);
        self.best = match highest {
            Some(reward) => {
                Some((read_tensor(tensors, "best_noise", policy.shape().numel())?.to_vec(), reward))
            }
            None => None,
        };
        self.policy = policy;
        Ok(())
    }
}

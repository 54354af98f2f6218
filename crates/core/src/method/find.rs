//! `find`: a one-step policy gradient over a few Gaussians that uses every evaluation made: a direction of low
//! frequencies, from there towards the noises with the best neighbourhoods, under a bound on the divergence (section 3
//! of the method).

use crate::advantage::advantages;
use crate::basis::FrequencyBasis;
use crate::calibrator::expected_rewards;
use crate::config::{Estimator, FindConfig, Utilities};
use crate::error::Result;
use crate::evaluation::Batch;
use crate::kl_budget;
use crate::landscape::{self, Seen};
use crate::method::{Learner, Update};
use crate::natural_gradient::{exponential_step, natural_gradient};
use crate::noise::{Noise, NoiseShape, SampleKey};
use crate::policy::NoisePolicy;
use crate::regression::{self, Observation};
use crate::rng::NoiseSource;
use crate::state::{Memory, NamedTensor, RememberedSample, read_tensor};
use crate::statistics::standard_deviation;

/// Nats for each number of the noise where the user gives no budget: means of rms 0.87 with a spread to match.
const DEFAULT_NATS_PER_DIMENSION: f64 = 0.7;

/// The learner of `find`.
pub(crate) struct Find {
    config: FindConfig,
    basis: FrequencyBasis,
    /// The frequencies of the landscape.
    layout: FrequencyBasis,
    bands: Vec<usize>,
    budget_nats: f64,
    policy: NoisePolicy,
    /// All evaluations with a given reward, oldest first.
    memory: Vec<Remembered>,
    /// The best noise seen, `d` numbers, with its reward.
    best_noise: Option<(Vec<f32>, f64)>,
    /// The newest batch, for the step of the natural gradient.
    newest: Option<Batch>,
}

/// An evaluation as the regression needs it.
struct Remembered {
    sample: RememberedSample,
    /// Frequency coefficients of `z - mu`, the deviation from the mean that the sample was drawn around.
    coefficients: Vec<f32>,
    /// Where the noise lies in the landscape.
    place: Vec<f32>,
}

impl Find {
    pub(crate) fn new(config: FindConfig, shape: NoiseShape) -> Self {
        let basis = FrequencyBasis::new(shape, config.low_frequencies, config.low_frame_frequencies);
        let budget_nats = config.kl_budget_nats.unwrap_or(DEFAULT_NATS_PER_DIMENSION * shape.numel() as f64);
        Self {
            layout: FrequencyBasis::new(shape, config.layout_frequencies, config.low_frame_frequencies),
            bands: basis.bands(),
            basis,
            budget_nats,
            policy: NoisePolicy::standard(shape),
            memory: Vec::new(),
            best_noise: None,
            newest: None,
            config,
        }
    }

    /// The remembered samples of each iteration, oldest first.
    fn batches(&self) -> impl Iterator<Item = &[Remembered]> {
        self.memory.chunk_by(|a, b| a.sample.key.iteration == b.sample.key.iteration)
    }

    /// The means, one a Gaussian: along the posterior direction of all evaluations, as long as its bounds allow so far,
    /// and from there towards good noises; with the effective sample size.
    fn regression_step(&self, advantages: &[f64]) -> Option<(Vec<Vec<f32>>, f64)> {
        let newest = self.memory.last()?.sample.key.iteration;
        let first = self.memory.len().saturating_sub(self.config.history_evaluations);
        let recent = self.memory[first..].iter().zip(&advantages[first..]);
        let observations: Vec<Observation> = recent
            .map(|(remembered, &utility)| {
                let key = remembered.sample.key;
                let pair = u64::from(key.iteration) << 32 | u64::from(key.index / 2);
                Observation {
                    coefficients: &remembered.coefficients,
                    utility,
                    pair: self.config.antithetic.then_some(pair),
                    noise: 1.0 + self.config.forgetting * f64::from(newest - key.iteration),
                }
            })
            .collect();
        let fit = regression::fit(&observations, &self.bands)?;
        let norm = fit.gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        let largest = fit.gradient.iter().fold(0.0f64, |largest, slope| largest.max(slope.abs()));
        if norm == 0.0 {
            return None;
        }
        // At sigma = 1 a mean of length L costs L^2 / 2 nats.
        let length = (2.0 * self.budget_nats)
            .sqrt()
            .min(self.config.reach / fit.alignment)
            .min(self.config.coefficient_bound * norm / largest);
        let ramp = (self.memory.len() as f64 / self.config.ramp_evaluations as f64).min(1.0).sqrt();
        let coefficients: Vec<f32> =
            fit.gradient.iter().map(|slope| (ramp * length * slope / norm) as f32).collect();
        let along = self.basis.synthesize(&coefficients);
        let share = self.config.best_noise_share as f32;
        // A direction cannot say where things stand, a noise can.
        let towards = |noise: Vec<f32>| -> Vec<f32> {
            along.iter().zip(noise).map(|(mean, noise)| mean + share * (noise - mean)).collect()
        };
        let noises = if share > 0.0 { self.good_noises() } else { Vec::new() };
        let mut means: Vec<Vec<f32>> = noises.into_iter().map(towards).collect();
        if means.is_empty() {
            means.push(along);
        }
        Some((means, fit.effective_sample_size))
    }

    /// The noises around which the landscape expects the highest rewards, the best first; without landscape the one
    /// with the highest reward seen.
    fn good_noises(&self) -> Vec<Vec<f32>> {
        let Some((best, _)) = &self.best_noise else { return Vec::new() };
        let first = self.memory.len().saturating_sub(self.config.history_evaluations);
        let seen: Vec<Seen> = self.memory[first..]
            .iter()
            .map(|one| Seen { place: &one.place, reward: one.sample.reward })
            .collect();
        let places = if self.config.landscape {
            landscape::best_places(&seen, self.config.best_noise_share, self.config.gaussians)
        } else {
            Vec::new()
        };
        if places.is_empty() {
            return vec![best.clone()];
        }
        // Frequencies outside the landscape decide nothing; the best noise lends its own, so that the norm is a noise's,
        // and its channels change places from one Gaussian to the next, so that they do not look alike.
        let length = (self.layout.len() as f64).sqrt() as f32;
        let own: Vec<f32> = best.iter().zip(self.layout.project(best)).map(|(all, low)| all - low).collect();
        let channel = own.len() / self.policy.shape().channels;
        let noise = |(at, place): (usize, Vec<f32>)| -> Vec<f32> {
            let low = self.layout.synthesize(&place.iter().map(|x| length * x).collect::<Vec<_>>());
            let lent = own.iter().cycle().skip(at * channel);
            low.iter().zip(lent).map(|(low, own)| low + own).collect()
        };
        places.into_iter().enumerate().map(noise).collect()
    }

    /// One step of the natural gradient from the newest batch, projected on the subspace.
    fn gradient_step(&self, advantages: &[f64]) -> Option<(Vec<f32>, Vec<f32>)> {
        let newest = self.newest.as_ref()?;
        if advantages.iter().all(|&advantage| advantage == 0.0) {
            return None;
        }
        let samples = newest.given().map(|(sample, _)| sample.noise.values()).zip(advantages.iter().copied());
        let gradient = natural_gradient(self.policy.mean(), self.policy.sigma(), samples);
        let step = self.basis.project(&gradient.by_mean);
        let rate = self.config.mean_learning_rate;
        let moved = self.policy.mean().iter().zip(step);
        let mean = moved.map(|(&mu, step)| (f64::from(mu) + rate * f64::from(step)) as f32).collect();
        let dimensions = self.policy.mean().len() as f64;
        let default_rate = (3.0 + libm::log(dimensions)) / (5.0 * dimensions.sqrt());
        let rate = self.config.sigma_learning_rate.unwrap_or(default_rate);
        Some((mean, exponential_step(self.policy.sigma(), &gradient.by_log_sigma, rate)))
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

    fn remember(&mut self, batch: Batch) {
        for (evaluation, reward) in batch.given() {
            if self.best_noise.as_ref().is_none_or(|(_, best)| reward > *best) {
                self.best_noise = Some((evaluation.noise.values().to_vec(), reward));
            }
            let (mean, _) = batch.policy.gaussian_of(evaluation.key());
            let deviation: Vec<f32> =
                evaluation.noise.values().iter().zip(mean).map(|(z, mu)| z - mu).collect();
            self.memory.push(Remembered {
                sample: RememberedSample { key: evaluation.key(), reward },
                coefficients: self.basis.coefficients(&deviation),
                place: landscape::place(&self.layout.coefficients(evaluation.noise.values())),
            });
        }
        self.newest = Some(batch);
    }

    fn calibrate(&mut self) -> Vec<f64> {
        let rewards: Vec<Vec<f64>> =
            self.batches().map(|batch| batch.iter().map(|one| one.sample.reward).collect()).collect();
        expected_rewards(self.config.baseline, &rewards).concat()
    }

    /// Within each batch, so that how batches differ, whatever made them differ, moves nothing. Where several batches
    /// speak together, each does so as loud as its rewards are spread: one that has reached the top has little to say.
    fn advantages(&self, expected: &[f64]) -> Vec<f64> {
        let together = self.config.estimator == Estimator::SpectralRegression;
        let own_scale = self.config.utilities == Utilities::Raw;
        let mut expected = expected.iter();
        let mut first_spread = None;
        let of_batch = |batch: &[Remembered]| {
            let differences: Vec<f64> =
                batch.iter().zip(&mut expected).map(|(one, expected)| one.sample.reward - expected).collect();
            let spread = standard_deviation(&differences);
            let scale =
                if together && !own_scale { spread / *first_spread.get_or_insert(spread) } else { 1.0 };
            let scale = if scale.is_finite() { scale } else { 1.0 };
            advantages(&differences, self.config.utilities)
                .into_iter()
                .map(|one| scale * one)
                .collect::<Vec<_>>()
        };
        self.batches().flat_map(of_batch).collect()
    }

    fn tell(&mut self, advantages: &[f64]) -> Result<Update> {
        let newest = self.batches().last().map_or(0, <[Remembered]>::len);
        let step = match self.config.estimator {
            Estimator::SpectralRegression => self
                .regression_step(advantages)
                .map(|(means, size)| (means, vec![1.0; self.policy.shape().numel()], size)),
            Estimator::NaturalGradient => self
                .gradient_step(&advantages[advantages.len() - newest..])
                .map(|(mean, sigma)| (vec![mean], sigma, newest as f64)),
        };
        let Some((means, learnt, effective_sample_size)) = step else {
            return Ok(Update::default());
        };
        let bounded = means.into_iter().map(|mean| {
            let sigma = kl_budget::spread_for(&mean, &learnt, self.config.spread);
            kl_budget::project(mean, sigma, self.budget_nats)
        });
        let (means, sigmas): (Vec<_>, Vec<_>) = bounded.unzip();
        self.policy = NoisePolicy::new(self.policy.shape(), means.concat(), sigmas.concat())?;
        Ok(Update { updated: true, effective_sample_size })
    }

    fn save(&self) -> (Memory, Vec<NamedTensor>) {
        let samples = self.memory.iter().map(|one| one.sample).collect();
        let coefficients: Vec<f32> =
            self.memory.iter().flat_map(|one| one.coefficients.iter().copied()).collect();
        let shape = vec![self.memory.len(), self.basis.len()];
        let places: Vec<f32> = self.memory.iter().flat_map(|one| one.place.iter().copied()).collect();
        let mut tensors = vec![
            NamedTensor::new("memory.coefficients", shape, coefficients),
            NamedTensor::new("memory.places", vec![self.memory.len(), self.layout.len()], places),
        ];
        if let Some((noise, _)) = &self.best_noise {
            tensors.push(NamedTensor::new("best_noise", vec![noise.len()], noise.clone()));
        }
        (Memory { samples, ..Memory::default() }, tensors)
    }

    fn restore(&mut self, policy: NoisePolicy, memory: &Memory, tensors: &[NamedTensor]) -> Result<()> {
        let width = self.basis.len();
        let coefficients = read_tensor(tensors, "memory.coefficients", memory.samples.len() * width)?;
        let rows = coefficients.chunks_exact(width.max(1));
        let size = self.layout.len();
        let places =
            read_tensor(tensors, "memory.places", memory.samples.len() * size)?.chunks_exact(size.max(1));
        let remembered = memory.samples.iter().zip(rows).zip(places);
        self.memory = remembered
            .map(|((&sample, row), place)| Remembered {
                sample,
                coefficients: row.to_vec(),
                place: place.to_vec(),
            })
            .collect();
        let highest = memory.samples.iter().map(|sample| sample.reward).reduce(f64::max);
        self.best_noise = match highest {
            Some(reward) => {
                Some((read_tensor(tensors, "best_noise", policy.shape().numel())?.to_vec(), reward))
            }
            None => None,
        };
        self.policy = policy;
        Ok(())
    }
}

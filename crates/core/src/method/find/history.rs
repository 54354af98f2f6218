//! The evaluations that `find` learns from: all rewards, and the directions of the newest noises.

use super::surrogate::{Observation, cosine, direction};
use crate::state::ScoredKey;

/// All evaluations with a given reward, oldest first.
pub(super) struct History {
    capacity: usize,
    samples: Vec<ScoredKey>,
    /// The newest `capacity` of them.
    observed: Vec<Observed>,
}

/// The noise of an evaluation as the surrogate needs it.
struct Observed {
    /// The noise scaled to length 1, `d` values.
    direction: Vec<f32>,
    /// Its cosine similarity with each observed noise before it.
    cosines: Vec<f64>,
}

impl History {
    /// A history that observes the newest `capacity` evaluations.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, samples: Vec::new(), observed: Vec::new() }
    }

    /// Key and reward of every evaluation.
    pub(super) fn samples(&self) -> &[ScoredKey] {
        &self.samples
    }

    /// The reward of every evaluation.
    pub(super) fn rewards(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.reward).collect()
    }

    /// Adds an evaluation; the oldest observation leaves where there are too many.
    pub(super) fn add(&mut self, sample: ScoredKey, noise: &[f32]) {
        let direction = direction(noise);
        let cosines = self.cosines(&direction);
        self.samples.push(sample);
        self.observed.push(Observed { direction, cosines });
        if self.observed.len() > self.capacity {
            self.observed.remove(0);
            for later in &mut self.observed {
                later.cosines.remove(0);
            }
        }
    }

    /// Cosine similarity of a direction of length 1 with each observed noise.
    pub(super) fn cosines(&self, direction: &[f32]) -> Vec<f64> {
        self.observed.iter().map(|one| cosine(&one.direction, direction)).collect()
    }

    /// The observations; `rewards` has a standardised reward for every evaluation.
    pub(super) fn observations(&self, rewards: &[f64]) -> Vec<Observation<'_>> {
        let newest = &rewards[rewards.len() - self.observed.len()..];
        let observed = self.observed.iter().zip(newest);
        observed.map(|(one, &reward)| Observation { cosines: &one.cosines, reward }).collect()
    }

    /// Number of observed evaluations.
    pub(super) fn observed_count(&self) -> usize {
        self.observed.len()
    }

    /// `sum_i weights_i u_i` over the observed directions, `dimensions` values.
    pub(super) fn combination(&self, weights: &[f32], dimensions: usize) -> Vec<f32> {
        let mut sum = vec![0.0; dimensions];
        for (one, &weight) in self.observed.iter().zip(weights) {
            sum.iter_mut().zip(&one.direction).for_each(|(sum, x)| *sum += weight * x);
        }
        sum
    }
}

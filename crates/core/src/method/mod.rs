//! The two methods behind one interface: their policy is drawn from, they are told rewards; the caller owns the loop.

mod find;
mod paper;

pub(crate) use find::Find;
pub(crate) use paper::Paper;

use crate::error::Result;
use crate::evaluation::{Batch, Evaluation};
use crate::policy::NoisePolicy;
use crate::state::{Memory, NamedTensor};

/// What an update did, besides changing the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Update {
    /// Whether the policy may have changed.
    pub updated: bool,
    /// Effective number of evaluations that it used.
    pub effective_sample_size: f64,
}

/// A learner of the policy. One iteration calls its methods in the order in which they stand here.
pub(crate) trait Learner: Send {
    /// The policy as it is now.
    fn policy(&self) -> &NoisePolicy;

    /// What the policy learnt so far expects of each given reward of `batch`, which it has not seen, in units of its
    /// own; empty before anything was learnt. A policy that is nothing but a direction expects more the farther a
    /// sample lies along it.
    fn predict(&self, batch: &Batch) -> Vec<f64> {
        let norm = batch.policy.mean_norm();
        let along = |sample: &Evaluation| {
            let (mean, _) = batch.policy.gaussian_of(sample.key());
            let products = sample.noise.values().iter().zip(mean);
            products.map(|(&z, &mu)| f64::from(z) * f64::from(mu)).sum::<f64>() / norm
        };
        batch.given().filter(|_| norm > 0.0).map(|(sample, _)| along(sample)).collect()
    }

    /// Takes in a batch with at least one given reward.
    fn remember(&mut self, batch: Batch);

    /// The reward to be expected of each remembered sample, in the order of the memory.
    fn calibrate(&mut self) -> Vec<f64>;

    /// The advantage of each remembered sample over its expected reward.
    fn advantages(&self, expected: &[f64]) -> Vec<f64>;

    /// Updates the policy.
    fn tell(&mut self, advantages: &[f64]) -> Result<Update>;

    /// Everything it needs to go on, except for the policy.
    fn save(&self) -> (Memory, Vec<NamedTensor>);

    /// Takes up `policy` and what [`save`](Self::save) gave.
    fn restore(&mut self, policy: NoisePolicy, memory: &Memory, tensors: &[NamedTensor]) -> Result<()>;
}

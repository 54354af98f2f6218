//! A generated and scored sample; noise, key and reward travel together, so they cannot be mixed up.

use crate::noise::{Noise, SampleKey};
use crate::policy::NoisePolicy;
use crate::ports::Reward;

/// One sample: its noise (with its key) and the reward that this very noise got.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The noise, with its key.
    pub noise: Noise,
    /// What came of it.
    pub reward: Reward,
}

impl Evaluation {
    /// The sample's name.
    pub fn key(&self) -> SampleKey {
        self.noise.key
    }
}

/// The evaluations of one iteration with `pi_old`, the policy that sampled them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The iteration, counted from 0.
    pub iteration: u32,
    /// `pi_old`: the policy as it was when the noises were sampled.
    pub policy: NoisePolicy,
    /// The samples, in order of their index.
    pub evaluations: Vec<Evaluation>,
}

impl Batch {
    /// The samples whose reward is given, with that reward.
    pub fn given(&self) -> impl Iterator<Item = (&Evaluation, f64)> {
        self.evaluations.iter().filter_map(|evaluation| Some((evaluation, evaluation.reward.given()?)))
    }

    /// The given rewards in order.
    pub fn given_rewards(&self) -> Vec<f64> {
        self.given().map(|(_, reward)| reward).collect()
    }
}

//! Settings of `paper`.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::range::{at_least_one, not_negative, positive};

/// Settings of `paper`; the defaults are the paper's and its released program's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaperConfig {
    /// Subtract the value network's prediction (DRCM) from the reward.
    pub calibration: bool,
    /// Clip the probability ratio (RCA).
    pub ratio_clipping: bool,
    /// Take several epochs over recent batches; otherwise one over the newest.
    pub reuse: bool,
    /// `eps` of the clip interval `1 - eps ..= 1 + eps`.
    pub clip_range: f64,
    /// Weight of the reward in the loss.
    pub reward_weight: f64,
    /// `lambda`: weight of the divergence to `N(0, I)` in nats.
    pub kl_weight: f64,
    /// AdamW step size of `mu` and `sigma`.
    pub learning_rate: f64,
    /// Smallest sigma.
    pub sigma_floor: f64,
    /// Passes over the recent batches in each iteration.
    pub epochs: usize,
    /// Recent batches that are reused.
    pub history_batches: usize,
    /// AdamW step size of the value network.
    pub value_learning_rate: f64,
    /// Hidden width of the value network's three layers.
    pub value_width: usize,
    /// AdamW steps of the value network in each iteration.
    pub value_steps: usize,
}

impl Default for PaperConfig {
    fn default() -> Self {
        Self {
            calibration: true,
            ratio_clipping: true,
            reuse: true,
            clip_range: 0.2,
            reward_weight: 10.0,
            kl_weight: 0.01,
            learning_rate: 1e-3,
            sigma_floor: 1e-4,
            epochs: 4,
            history_batches: 5,
            value_learning_rate: 1e-4,
            value_width: 256,
            value_steps: 1,
        }
    }
}

impl PaperConfig {
    /// The step size and the clip interval with which the method learns most within 160 evaluations in batches of 16, by
    /// prompts of the development half of `bench/method/prompts.tsv`. The published interval binds first: the ratio of
    /// two policies over a thousand dimensions leaves it after a step that changes no image.
    pub fn tuned() -> Self {
        Self { learning_rate: 0.1, clip_range: 4.0, ..Self::default() }
    }

    pub(in crate::method) fn validate(&self) -> Result<()> {
        at_least_one("epochs", self.epochs)?;
        at_least_one("history_batches", self.history_batches)?;
        at_least_one("value_width", self.value_width)?;
        at_least_one("value_steps", self.value_steps)?;
        positive("clip_range", self.clip_range)?;
        positive("reward_weight", self.reward_weight)?;
        positive("learning_rate", self.learning_rate)?;
        positive("value_learning_rate", self.value_learning_rate)?;
        positive("sigma_floor", self.sigma_floor)?;
        not_negative("kl_weight", self.kl_weight)
    }
}

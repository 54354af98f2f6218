//! What one step leaves behind: the line that the run folder keeps and every display reads.

use serde::{Deserialize, Serialize};

use crate::ports::Reward;

/// Figures of one iteration; `None` where no reward was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The iteration, counted from 0.
    pub iteration: u32,
    /// Samples generated and scored so far, this iteration included.
    pub evaluations: usize,
    /// Rewards of this iteration in order of the samples' index; `null` is missing.
    pub rewards: Vec<Option<f64>>,
    /// Mean of the given rewards.
    pub reward_mean: Option<f64>,
    /// Their standard deviation.
    pub reward_std: Option<f64>,
    /// Smallest given reward.
    pub reward_min: Option<f64>,
    /// Largest given reward.
    pub reward_max: Option<f64>,
    /// `(reward_mean - base mean) / base standard deviation`, the base being the first iteration.
    pub reward_base_sigmas: Option<f64>,
    /// Mean reward of the policy that drew this batch, smoothed over the iterations before it.
    pub reward_smoothed: Option<f64>,
    /// Best single reward of the run so far.
    pub best_reward: Option<f64>,
    /// Missing rewards of this iteration.
    pub missing: usize,
    /// Each different reason why rewards are missing.
    pub missing_reasons: Vec<String>,
    /// Mean of the rewards that the calibrator expected.
    pub expected_reward: Option<f64>,
    /// Whether the policy was updated; a batch with too few given rewards changes nothing.
    pub updated: bool,
    /// Divergence of the updated policy to `N(0, I)`, summed, in nats.
    pub kl_nats: f64,
    /// Euclidean norm of the updated mean.
    pub mean_norm: f64,
    /// The norm over `sqrt(d)`.
    pub mean_rms: f64,
    /// Average sigma of the updated policy.
    pub sigma_mean: f64,
    /// Euclidean norm of the change of the mean.
    pub step_norm: f64,
    /// `(sum w)^2 / sum w^2` over the evaluations that the update used.
    pub effective_sample_size: f64,
    /// `rho^2`: share of the variance of all rewards so far that was predicted *before* they were learnt from.
    pub explained_share: Option<f64>,
    /// What the user should know, in plain words.
    pub warnings: Vec<String>,
}

/// Each different reason why some of `rewards` are missing, in the order in which they are met.
pub(crate) fn missing_reasons<'a>(rewards: impl IntoIterator<Item = &'a Reward>) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for reward in rewards {
        if let Reward::Missing(reason) = reward
            && !reasons.contains(reason)
        {
            reasons.push(reason.clone());
        }
    }
    reasons
}

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The budget of evaluations is used up.
    EvaluationsUsed,
    /// The mean reward stopped rising.
    Plateau,
    /// Too many rewards in a row were missing.
    RewardsMissing,
    /// A held-out scorer fell while the reward was climbed.
    HeldOutFell,
}

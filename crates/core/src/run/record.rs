//! What one step leaves behind: the line that the run folder keeps and every display reads.

use serde::{Deserialize, Serialize};

use super::{Run, diagnostics};
use crate::evaluation::Batch;
use crate::method::Update;
use crate::ports::Reward;
use crate::statistics::{mean, standard_deviation};

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
    #[serde(alias = "reward_base_sigmas")]
    pub standardised_gain: Option<f64>,
    /// Mean reward of the policy of this batch, smoothed over the iterations before it.
    pub reward_smoothed: Option<f64>,
    /// Best single reward of the run so far.
    pub best_reward: Option<f64>,
    /// Missing rewards of this iteration.
    pub missing: usize,
    /// Each different reason why rewards are missing.
    pub missing_reasons: Vec<String>,
    /// Mean reward that the method expected; `null` where it has no baseline.
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
    /// Predictive R²: fraction of the variance of all rewards so far that was predicted *before* they were learnt from.
    #[serde(alias = "explained_share")]
    pub predictive_r2: Option<f64>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Each different reason why some of `rewards` are missing, in the order in which they are met.
pub(super) fn missing_reasons<'a>(rewards: impl IntoIterator<Item = &'a Reward>) -> Vec<String> {
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

/// The figures of the step that told `batch`; `is_told` says whether the method learnt from it.
pub(super) fn step_record(run: &Run, batch: &Batch, update: Update, is_told: bool) -> StepRecord {
    let (progress, policy) = (run.progress(), run.policy());
    let rewards: Vec<Option<f64>> = batch.evaluations.iter().map(|one| one.reward.given()).collect();
    let given = batch.given_rewards();
    let reward_mean = (!given.is_empty()).then(|| mean(&given));
    let missing_reasons = missing_reasons(batch.evaluations.iter().map(|one| &one.reward));
    let warnings = diagnostics::warnings(run.config(), progress, &rewards, &missing_reasons, is_told);
    let dimensions = policy.shape().numel().max(1) as f64;
    let sigmas: Vec<f64> = policy.stacked_sigma().into_iter().map(f64::from).collect();
    StepRecord {
        iteration: batch.iteration,
        evaluations: progress.evaluations,
        reward_mean,
        reward_std: reward_mean.map(|_| standard_deviation(&given)),
        reward_min: given.iter().copied().reduce(f64::min),
        reward_max: given.iter().copied().reduce(f64::max),
        standardised_gain: progress.base.and_then(|base| base.standardised(reward_mean?)),
        reward_smoothed: progress.level.map(|level| level.mean),
        best_reward: progress.best_samples.first().map(|best| best.reward),
        missing: rewards.len() - given.len(),
        missing_reasons,
        expected_reward: update.expected_reward,
        updated: update.updated,
        kl_nats: policy.kl_nats(),
        mean_norm: policy.mean_norm(),
        mean_rms: policy.mean_norm() / dimensions.sqrt(),
        sigma_mean: mean(&sigmas),
        step_norm: policy.distance_from(&batch.policy),
        effective_sample_size: update.effective_sample_size,
        predictive_r2: progress.predictive_r2.value(),
        warnings,
        rewards,
    }
}

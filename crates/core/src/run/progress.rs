//! How a run is doing: counters, the smoothed reward, the best policy and when to stop.

use serde::{Deserialize, Serialize};

use super::{HeldOut, RunConfig, StopReason};
use crate::evaluation::Batch;
use crate::state::ScoredKey;
use crate::statistics::{BaseStatistics, mean, standard_deviation};

/// How far the mean reward of the policy is expected to move in one iteration, in base standard deviations.
const DRIFT: f64 = 0.25;
/// Rise of the smoothed reward, in base standard deviations, that counts as progress.
const PROGRESS: f64 = 0.05;

/// Counters and running figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The next iteration.
    pub iteration: u32,
    /// Samples generated and scored so far.
    pub evaluations: usize,
    /// Rewards missing since the last given one.
    pub missing_in_a_row: usize,
    /// Rewards of the untuned model: the first batch with two given rewards.
    pub base: Option<BaseStatistics>,
    /// Mean reward of the policy, filtered over the iterations.
    pub level: Option<Level>,
    /// Highest level so far.
    pub peak: f64,
    /// Level at the last progress, and iterations since then.
    pub plateau: (f64, u32),
    /// The iteration whose policy is the best one, as far as can be told.
    pub best_iteration: u32,
    /// How well rewards were predicted before they were learnt from.
    pub predictive_r2: PredictiveR2,
    /// Keys and rewards of the best samples, best first.
    pub best_samples: Vec<ScoredKey>,
    /// The held-out scorers, in the order in which they are told.
    pub held_out: Vec<HeldOut>,
}

/// A level with its uncertainty: the state of the Kalman filter of the local level model (Durbin and Koopman, "Time
/// Series Analysis by State Space Methods", 2012, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Estimate of the mean reward.
    pub mean: f64,
    /// Variance of that estimate.
    pub variance: f64,
}

/// Sums behind predictive R²: rewards against what was predicted of them before they were learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictiveR2 {
    count: usize,
    /// Means of predictions and rewards so far.
    means: [f64; 2],
    /// Sums of squared differences from those means, of predictions and of rewards.
    squares: [f64; 2],
    /// Sum of the products of both differences.
    products: f64,
}

impl Progress {
    /// Counts a batch and remembers its best samples, `best` of the whole run.
    pub(super) fn count(&mut self, batch: &Batch, best: usize) {
        self.iteration += 1;
        self.evaluations += batch.evaluations.len();
        for evaluation in &batch.evaluations {
            let is_given = evaluation.reward.given().is_some();
            self.missing_in_a_row = if is_given { 0 } else { self.missing_in_a_row + 1 };
        }
        self.best_samples.extend(batch.given().map(|(one, reward)| ScoredKey { key: one.key(), reward }));
        // A stable sort puts the earlier of two equal samples first.
        self.best_samples.sort_by(|a, b| b.reward.total_cmp(&a.reward));
        self.best_samples.truncate(best);
    }

    /// Takes in the given rewards of one policy; true where that policy becomes the best known one.
    ///
    /// The filter, and not the batch mean, decides: a policy is replaced only by one whose level is not below
    /// the highest level by more than its standard error, so a lucky batch neither makes nor breaks a policy.
    pub(super) fn observe(&mut self, rewards: &[f64]) -> bool {
        let first = self.base.is_none();
        let base_spread = self.base.get_or_insert(BaseStatistics::of(rewards)).standard_deviation;
        let level = Level::after(self.level, rewards, base_spread);
        self.level = Some(level);
        self.peak = if first { level.mean } else { self.peak.max(level.mean) };
        let at_its_best = level.mean >= self.peak - level.variance.sqrt();
        if at_its_best {
            // The iteration was counted before its rewards came in here.
            self.best_iteration = self.iteration.saturating_sub(1);
        }
        self.plateau = if first || level.mean > self.plateau.0 + PROGRESS * base_spread {
            (level.mean, 0)
        } else {
            (self.plateau.0, self.plateau.1 + 1)
        };
        at_its_best
    }

    /// Whether the newest policy that was sampled from is the best one.
    pub(super) fn is_at_its_best(&self) -> bool {
        self.best_iteration + 1 == self.iteration
    }

    /// Whether the run is over, and why.
    pub(super) fn stop_reason(&self, config: &RunConfig) -> Option<StopReason> {
        if self.held_out.iter().any(HeldOut::has_fallen) {
            Some(StopReason::HeldOutFell)
        } else if self.evaluations >= config.evaluations {
            Some(StopReason::EvaluationsUsed)
        } else if self.missing_in_a_row >= config.max_missing_in_a_row {
            Some(StopReason::RewardsMissing)
        } else if config.plateau_iterations > 0 && self.plateau.1 >= config.plateau_iterations {
            Some(StopReason::Plateau)
        } else {
            None
        }
    }
}

impl Level {
    /// The level after `before` (`None`: the first) and the rewards of one more batch.
    pub(super) fn after(before: Option<Self>, rewards: &[f64], base_spread: f64) -> Self {
        let (batch_mean, spread) = (mean(rewards), standard_deviation(rewards));
        let batch_variance = spread.max(0.1 * base_spread).powi(2) / rewards.len() as f64;
        match before {
            None => Self { mean: batch_mean, variance: batch_variance },
            Some(before) => before.next(batch_mean, batch_variance, (DRIFT * base_spread).powi(2)),
        }
    }

    /// One step of the filter: the level drifts, then an observation is weighed against it.
    fn next(self, observed: f64, observed_variance: f64, drift_variance: f64) -> Self {
        let predicted = self.variance + drift_variance;
        let total = predicted + observed_variance;
        let gain = if total > 0.0 { predicted / total } else { 1.0 };
        Self { mean: self.mean + gain * (observed - self.mean), variance: (1.0 - gain) * predicted }
    }
}

impl PredictiveR2 {
    /// Adds the predictions of one batch, in any unit, and its rewards.
    pub(super) fn add(&mut self, predicted: &[f64], rewards: &[f64]) {
        for pair in predicted.iter().zip(rewards) {
            // Welford's update, which keeps its digits where rewards are large and differ little.
            self.count += 1;
            let before = [pair.0 - self.means[0], pair.1 - self.means[1]];
            self.means = [0, 1].map(|at| self.means[at] + before[at] / self.count as f64);
            let after = [pair.0 - self.means[0], pair.1 - self.means[1]];
            self.squares = [0, 1].map(|at| self.squares[at] + before[at] * after[at]);
            self.products += before[0] * after[1];
        }
    }

    /// Square of the correlation of predictions and rewards, 0 where that is negative: the fraction of the rewards'
    /// variance that was predicted. `None` before anything was predicted.
    pub fn value(&self) -> Option<f64> {
        let scale = (self.squares[0] * self.squares[1]).sqrt();
        (scale > 0.0).then(|| (self.products / scale).clamp(0.0, 1.0).powi(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lucky_batch_is_not_believed() {
        let mut progress = Progress::default();
        progress.observe(&[0.0, 1.0, -1.0, 0.5, -0.5, 0.0]);
        progress.observe(&[3.0, 0.0, 2.0, 2.5, 1.0, 0.5]);
        let level = progress.level.unwrap();
        assert!(level.mean < 1.5 && level.mean > 0.0);
        assert!(
            progress.observe(&[1.0, 0.5, 1.5, 0.0, 2.0, 1.0]),
            "a normal batch after it keeps its policy"
        );
    }

    #[test]
    fn a_fall_keeps_the_best_policy_and_a_plateau_stops() {
        let config = RunConfig { plateau_iterations: 3, ..RunConfig::default() };
        let mut progress = Progress::default();
        progress.observe(&[0.0, 1.0, -1.0, 0.5, -0.5]);
        assert!(progress.observe(&[2.0, 3.0, 1.0, 2.5, 1.5]));
        for _ in 0..3 {
            assert_eq!(progress.stop_reason(&config), None);
            assert!(!progress.observe(&[-2.0, -3.0, -1.0, -2.5, -1.5]));
        }
        assert_eq!(progress.stop_reason(&config), Some(StopReason::Plateau));
    }

    #[test]
    fn predictive_r2_of_a_perfect_a_half_and_a_wrong_prediction() {
        let value = |batches: &[(&[f64], &[f64])]| {
            let mut r2 = PredictiveR2::default();
            batches.iter().for_each(|(predicted, rewards)| r2.add(predicted, rewards));
            r2.value()
        };
        assert_eq!(value(&[]), None);
        assert_eq!(value(&[(&[], &[1.0, 2.0])]), None, "nothing was predicted");
        let perfect = value(&[(&[1.0, 2.0], &[1e6 + 0.1, 1e6 + 0.2]), (&[3.0], &[1e6 + 0.3])]).unwrap();
        assert!((perfect - 1.0).abs() < 1e-6, "{perfect}");
        let half = value(&[(&[-1.0, 1.0, -1.0, 1.0], &[-2.0, 2.0, 0.0, 0.0])]).unwrap();
        assert!((half - 0.5).abs() < 1e-12, "{half}");
        assert_eq!(value(&[(&[1.0, 2.0], &[0.0, -1.0])]), Some(0.0));
    }
}

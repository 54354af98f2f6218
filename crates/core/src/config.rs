//! Every setting of a run: one line each with meaning, unit and what it multiplies; defaults are the method's.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng::NoiseSource;

/// Settings of one run of the method; equal settings and equal ports give equal results, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Names the streams of random numbers of the run.
    pub seed: u64,
    /// Budget: samples generated and scored in all.
    pub evaluations: usize,
    /// Samples of one iteration, between two updates of the policy.
    pub batch_size: usize,
    /// Samples handed to the generator at once; changes memory and speed, never a result.
    pub generation_batch: usize,
    /// Generator of the initial noise.
    pub noise_rng: NoiseSource,
    /// How many of the best noises seen are kept.
    pub kept_noises: usize,
    /// Iterations without progress after which the run stops; 0 never stops early.
    pub plateau_iterations: u32,
    /// Rewards missing in a row after which the run stops.
    pub max_missing_in_a_row: usize,
    /// The method with its own settings.
    pub method: MethodConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            evaluations: 160,
            batch_size: 16,
            generation_batch: 8,
            noise_rng: NoiseSource::Philox,
            kept_noises: 4,
            plateau_iterations: 8,
            max_missing_in_a_row: 64,
            method: MethodConfig::default(),
        }
    }
}

/// Which method learns the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum MethodConfig {
    /// Ours: far fewer evaluations.
    Find(FindConfig),
    /// The paper's mathematics.
    Paper(PaperConfig),
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self::Find(FindConfig::default())
    }
}

/// Settings of `find`; each is a building block that can be turned off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindConfig {
    /// How the direction of the mean is estimated.
    pub estimator: Estimator,
    /// Lowest spatial frequencies of the mean kept along each latent axis; at or above the axis keeps all.
    pub low_frequencies: usize,
    /// The same along the frame axis of a video model.
    pub low_frame_frequencies: usize,
    /// Draw samples as pairs `mu +- sigma * epsilon`.
    pub antithetic: bool,
    /// Expected reward that is subtracted from each reward.
    pub baseline: Baseline,
    /// Scale on which advantages are measured.
    pub utilities: Utilities,
    /// How sigma follows the mean.
    pub spread: Spread,
    /// Hard bound on the divergence to `N(0, I)` in nats; absent: 0.4 for each frequency that is kept.
    pub kl_budget_nats: Option<f64>,
    /// Regression: evaluations after which the mean may use the whole budget (radius grows with the root).
    pub ramp_evaluations: usize,
    /// Regression: most recent evaluations that are used.
    pub history_evaluations: usize,
    /// Regression: growth of an evaluation's noise variance for each iteration of age; 0 trusts all alike.
    pub forgetting: f64,
    /// Natural gradient: step size of the mean, times `sigma` times the average of advantage times `epsilon`.
    pub mean_learning_rate: f64,
    /// Natural gradient with learnt spread: step size of log-sigma; absent: `(3 + ln d) / (5 sqrt d)`.
    pub sigma_learning_rate: Option<f64>,
}

impl Default for FindConfig {
    fn default() -> Self {
        Self {
            estimator: Estimator::NaturalGradient,
            low_frequencies: 8,
            low_frame_frequencies: 4,
            antithetic: true,
            baseline: Baseline::None,
            utilities: Utilities::Ranks,
            spread: Spread::PerElement,
            kl_budget_nats: None,
            ramp_evaluations: 96,
            history_evaluations: 512,
            forgetting: 0.0,
            mean_learning_rate: 1.5,
            sigma_learning_rate: None,
        }
    }
}

/// How `find` estimates the direction in which the reward grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Bayesian regression of the reward on frequency coefficients over all evaluations so far.
    SpectralRegression,
    /// One natural-gradient step a batch.
    NaturalGradient,
}

/// What a reward is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Nothing; the utilities centre themselves.
    None,
    /// Mean of the *other* samples of the batch.
    LeaveOneOut,
    /// Running mean of earlier batches, decay 0.8.
    RunningMean,
}

/// How differences to the baseline become advantages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Utilities {
    /// As they are.
    Raw,
    /// Centred, over their standard deviation.
    ZScore,
    /// Normal quantiles of their ranks: no outlier dominates and no unit matters.
    Ranks,
}

/// How the spread of the policy follows its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// `sigma = 1`.
    Unit,
    /// `sigma_i^2 = 1 - mu_i^2`, at least 0.01: `E z_i^2 = 1` for each number of the noise.
    PerElement,
    /// One `sigma^2 = 1 - |mu|^2 / d`, at least 0.01: `E |z|^2 = d`.
    Uniform,
    /// Learnt by exponential natural-gradient steps (natural gradient only).
    Learnt,
}

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
    /// Recent batches that are kept for reuse.
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

impl RunConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        at_least_one("evaluations", self.evaluations)?;
        at_least_one("batch_size", self.batch_size)?;
        at_least_one("generation_batch", self.generation_batch)?;
        at_least_one("kept_noises", self.kept_noises)?;
        at_least_one("max_missing_in_a_row", self.max_missing_in_a_row)?;
        if self.batch_size > self.evaluations {
            return Err(Error::Config {
                field: "batch_size",
                expected: "at most the budget of evaluations",
                found: format!("{} with a budget of {}", self.batch_size, self.evaluations),
            });
        }
        match &self.method {
            MethodConfig::Find(find) => find.validate(),
            MethodConfig::Paper(paper) => paper.validate(),
        }
    }
}

impl FindConfig {
    fn validate(&self) -> Result<()> {
        at_least_one("low_frequencies", self.low_frequencies)?;
        at_least_one("low_frame_frequencies", self.low_frame_frequencies)?;
        at_least_one("ramp_evaluations", self.ramp_evaluations)?;
        at_least_one("history_evaluations", self.history_evaluations)?;
        positive("kl_budget_nats", self.kl_budget_nats.unwrap_or(1.0))?;
        positive("mean_learning_rate", self.mean_learning_rate)?;
        positive("sigma_learning_rate", self.sigma_learning_rate.unwrap_or(1.0))?;
        not_negative("forgetting", self.forgetting)?;
        if self.spread == Spread::Learnt && self.estimator == Estimator::SpectralRegression {
            return Err(Error::Config {
                field: "spread",
                expected: "unit, per-element or uniform with the spectral regression",
                found: "learnt".into(),
            });
        }
        Ok(())
    }
}

impl PaperConfig {
    fn validate(&self) -> Result<()> {
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

fn at_least_one(field: &'static str, value: usize) -> Result<()> {
    if value >= 1 {
        return Ok(());
    }
    Err(Error::Config { field, expected: "at least 1", found: value.to_string() })
}

fn positive(field: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Config { field, expected: "a positive number", found: value.to_string() })
}

fn not_negative(field: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Config { field, expected: "a number that is not negative", found: value.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bad_numbers_are_named() {
        let paper = MethodConfig::Paper(PaperConfig::default());
        assert!(RunConfig::default().validate().is_ok());
        assert!(RunConfig { method: paper, ..RunConfig::default() }.validate().is_ok());
        let message = |config: RunConfig| config.validate().unwrap_err().to_string();
        let empty = RunConfig { evaluations: 0, ..RunConfig::default() };
        assert_eq!(message(empty), "evaluations is 0, expected at least 1");
        let large = RunConfig { batch_size: 200, ..RunConfig::default() };
        assert!(message(large).starts_with("batch_size is 200 with a budget of 160"));
        let clip = PaperConfig { clip_range: f64::NAN, ..PaperConfig::default() };
        let clip = RunConfig { method: MethodConfig::Paper(clip), ..RunConfig::default() };
        assert_eq!(message(clip), "clip_range is NaN, expected a positive number");
    }
}

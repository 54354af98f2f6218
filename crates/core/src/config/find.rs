//! Settings of `find`, and its parts by name.

use serde::{Deserialize, Serialize};

use super::{at_least_one, not_negative, positive, share};
use crate::error::{Error, Result};

/// More frequencies than any latent has along an axis, within what a config file can hold.
const ALL_FREQUENCIES: usize = 1 << 20;
/// A bound that no policy reaches; infinity has no name in JSON.
const UNBOUNDED: f64 = 1e12;

/// Settings of `find`; each is a building block that can be turned off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindConfig {
    /// How the direction of the mean is estimated.
    pub estimator: Estimator,
    /// Lowest spatial frequencies of the direction kept along each latent axis; at or above the axis keeps all.
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
    /// Hard bound on the divergence to `N(0, I)` in nats; absent: 0.7 for each number of the noise.
    pub kl_budget_nats: Option<f64>,
    /// Regression: largest frequency coefficient along the direction, in standard deviations of that coefficient under
    /// `N(0, I)`; what lies farther out the model has hardly seen.
    pub coefficient_bound: f64,
    /// Regression: how far the mean goes along the direction in which the reward grows, in standard deviations of
    /// the noise; it is longer by as much as the estimated direction is uncertain.
    pub reach: f64,
    /// Regression: how far the means then go from there to good noises, as a share of the way: more succeeds more often,
    /// and varies less.
    pub best_noise_share: f64,
    /// Regression: whether good noises are those with the best neighbourhoods, told from all evaluations near them, or
    /// the one with the highest reward.
    pub landscape: bool,
    /// Regression with landscape: largest number of Gaussians, each around a good noise with a layout of its own.
    pub gaussians: usize,
    /// Lowest spatial frequencies that decide which noises are neighbours, along each latent axis.
    pub layout_frequencies: usize,
    /// Regression: evaluations after which the mean has its full length, which grows with the root of their number.
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
            estimator: Estimator::SpectralRegression,
            low_frequencies: 8,
            low_frame_frequencies: 4,
            antithetic: true,
            baseline: Baseline::None,
            utilities: Utilities::Ranks,
            spread: Spread::Uniform,
            kl_budget_nats: None,
            coefficient_bound: 2.5,
            reach: 3.0,
            best_noise_share: 0.85,
            landscape: true,
            gaussians: 4,
            layout_frequencies: 10,
            ramp_evaluations: 96,
            history_evaluations: 512,
            forgetting: 0.0,
            mean_learning_rate: 1.5,
            sigma_learning_rate: None,
        }
    }
}

/// A part of `find` that can be turned off, to see what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindPart {
    /// The direction lives in the low frequencies; without: in all of them.
    LowFrequencies,
    /// Samples come in mirrored pairs; without: each is drawn alone.
    AntitheticPairs,
    /// Rewards count by their rank in the batch; without: by their size.
    Ranks,
    /// Older batches are used again and low frequencies are trusted more; without: a plain natural-gradient step
    /// from the newest batch.
    Regression,
    /// The means then go towards good noises; without: there is one, along the direction alone.
    BestNoise,
    /// Good noises are those with the best neighbourhoods; without: the one with the highest reward.
    Landscape,
    /// There are several Gaussians, each around a good noise of its own; without: one.
    SeveralGaussians,
    /// The spread shrinks as the mean grows, so that `|z|` stays near `sqrt(d)`; without: `sigma = 1`.
    VariancePreservation,
    /// The divergence and the coefficients of the mean are bounded; without: the reach alone decides how long the
    /// mean is.
    KlBudget,
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

impl FindConfig {
    /// These settings with `part` turned off.
    pub fn without(self, part: FindPart) -> Self {
        match part {
            FindPart::LowFrequencies => {
                Self { low_frequencies: ALL_FREQUENCIES, low_frame_frequencies: ALL_FREQUENCIES, ..self }
            }
            FindPart::AntitheticPairs => Self { antithetic: false, ..self },
            FindPart::Ranks => Self { utilities: Utilities::ZScore, ..self },
            FindPart::Regression => Self { estimator: Estimator::NaturalGradient, ..self },
            FindPart::BestNoise => Self { best_noise_share: 0.0, ..self },
            FindPart::Landscape => Self { landscape: false, ..self },
            FindPart::SeveralGaussians => Self { gaussians: 1, ..self },
            FindPart::VariancePreservation => Self { spread: Spread::Unit, ..self },
            FindPart::KlBudget => {
                Self { kl_budget_nats: Some(UNBOUNDED), coefficient_bound: UNBOUNDED, ..self }
            }
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("low_frequencies", self.low_frequencies)?;
        at_least_one("low_frame_frequencies", self.low_frame_frequencies)?;
        at_least_one("gaussians", self.gaussians)?;
        at_least_one("layout_frequencies", self.layout_frequencies)?;
        at_least_one("ramp_evaluations", self.ramp_evaluations)?;
        at_least_one("history_evaluations", self.history_evaluations)?;
        positive("kl_budget_nats", self.kl_budget_nats.unwrap_or(1.0))?;
        positive("coefficient_bound", self.coefficient_bound)?;
        positive("reach", self.reach)?;
        share("best_noise_share", self.best_noise_share)?;
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

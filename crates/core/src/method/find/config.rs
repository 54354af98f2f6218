//! Settings of `find`, and its parts by name.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::range::{at_least_one, fraction, positive};

/// Settings of `find`; each part can be turned off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindConfig {
    /// Whether components are centred where the surrogate has its highest posterior mean, or on the noise with the
    /// highest reward.
    #[serde(alias = "landscape")]
    pub surrogate: bool,
    /// Largest number of components, and successes of the base before they are learnt; without surrogate there is one.
    #[serde(alias = "gaussians")]
    pub components: usize,
    /// Length of a component's mean over `sqrt(d)`, from 0 to 1: more succeeds more often, and varies less.
    #[serde(alias = "share")]
    pub radius: f64,
    /// Whether the policy stays `N(0, I)` where the first batches show that the base already succeeds.
    pub keep_base: bool,
    /// Base samples after which components are learnt, however few of them succeeded.
    pub base_evaluations: usize,
    /// Whether rewards count up to the mean of those that succeed: the policy is to show the prompt, not to have the
    /// highest reward.
    pub success_threshold: bool,
    /// Whether the run stops where fresh samples are known to succeed.
    pub success_stop: bool,
    /// Success rate of fresh samples, as a one-sided 90 % lower confidence bound, at which the run stops.
    pub success: f64,
    /// Reward that images which show the prompt usually reach; absent: unknown, so that success is told from the rewards'
    /// two modes, and a base without failures is not told from one without successes.
    pub success_reward: Option<f64>,
    /// How sigma follows the mean.
    pub spread: Spread,
    /// Hard bound on the divergence to `N(0, I)` in nats; absent: 1.2 for each dimension of the noise.
    pub kl_budget_nats: Option<f64>,
    /// Most recent evaluations that the surrogate is fitted to; fewer where their noises would take more than 2 GiB.
    pub history_evaluations: usize,
}

impl Default for FindConfig {
    fn default() -> Self {
        Self {
            surrogate: true,
            components: 8,
            radius: 0.95,
            keep_base: true,
            base_evaluations: 64,
            success_threshold: true,
            success_stop: true,
            success: 0.85,
            success_reward: None,
            spread: Spread::Uniform,
            kl_budget_nats: None,
            history_evaluations: 512,
        }
    }
}

/// A part of `find` that can be turned off, to measure what it contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindPart {
    /// The surrogate over all evaluations; without: the noise with the highest reward is the centre.
    Surrogate,
    /// Several components; without: one.
    SeveralComponents,
    /// Rewards count up to the mean of those that succeed; without: components are few, and seek the highest reward.
    SuccessThreshold,
    /// The policy stays the base's where the base already succeeds.
    KeptBase,
    /// The run stops when fresh samples are known to succeed; without: at the end of the budget.
    SuccessStop,
    /// Sigma shrinks as the mean grows, so that `|z|` stays near `sqrt(d)`; without: `sigma = 1`.
    VariancePreservation,
}

/// How the sigma of a component follows its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// `sigma = 1`.
    Unit,
    /// `sigma_i^2 = 1 - mu_i^2`, at least 0.01: `E z_i^2 = 1` in each dimension.
    PerElement,
    /// One `sigma^2 = 1 - |mu|^2 / d`, at least 0.01: `E |z|^2 = d`.
    Uniform,
}

impl FindConfig {
    /// These settings with `part` turned off.
    pub fn without(self, part: FindPart) -> Self {
        match part {
            FindPart::Surrogate => Self { surrogate: false, ..self },
            FindPart::SeveralComponents => Self { components: 1, ..self },
            FindPart::SuccessThreshold => Self { success_threshold: false, ..self },
            FindPart::KeptBase => Self { keep_base: false, ..self },
            FindPart::SuccessStop => Self { success_stop: false, ..self },
            FindPart::VariancePreservation => Self { spread: Spread::Unit, ..self },
        }
    }

    /// These settings with the number of components that `variety` asks for: one at 0, 8 at 0.5, 64 at 1, each further
    /// one around another noise that succeeds.
    ///
    /// # Errors
    /// Where `variety` is not from 0 to 1.
    pub fn with_variety(self, variety: f64) -> Result<Self> {
        fraction("variety", variety)?;
        Ok(Self { components: (6.0 * variety).exp2().round() as usize, ..self })
    }

    pub(in crate::method) fn validate(&self) -> Result<()> {
        at_least_one("components", self.components)?;
        at_least_one("base_evaluations", self.base_evaluations)?;
        at_least_one("history_evaluations", self.history_evaluations)?;
        fraction("radius", self.radius)?;
        fraction("success", self.success)?;
        positive("kl_budget_nats", self.kl_budget_nats.unwrap_or(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variety_is_a_number_of_components() {
        let components = |variety| FindConfig::default().with_variety(variety).map(|find| find.components);
        assert_eq!([0.0, 0.5, 1.0].map(|variety| components(variety).unwrap()), [1, 8, 64]);
        assert_eq!(components(0.5).unwrap(), FindConfig::default().components);
        let message = |variety| components(variety).unwrap_err().to_string();
        assert_eq!(message(1.5), "variety is 1.5, expected a number from 0 to 1");
        assert_eq!(message(f64::NAN), "variety is NaN, expected a number from 0 to 1");
    }
}

//! Settings of a run, whatever its method.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::range::at_least_one;
use crate::rng::NoiseSource;

/// Settings of one run; equal settings, an equal method and equal ports give equal results, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Names the streams of random numbers of the run.
    pub seed: u64,
    /// Budget: samples generated and scored in all.
    pub evaluations: usize,
    /// Samples before which a run does not stop because its policy succeeds.
    pub min_evaluations: usize,
    /// Samples of one iteration, between two updates of the policy.
    pub batch_size: usize,
    /// Generator of the initial noise.
    pub noise_rng: NoiseSource,
    /// How many of the best samples are remembered.
    #[serde(alias = "kept_noises")]
    pub best_noises: usize,
    /// Iterations without progress after which the run stops; 0 never stops early.
    pub plateau_iterations: u32,
    /// Which of the policies that were sampled from is the result.
    pub result: ResultPolicy,
    /// Rewards missing in a row after which the run stops.
    pub max_missing_in_a_row: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            evaluations: 160,
            min_evaluations: 48,
            batch_size: 16,
            noise_rng: NoiseSource::Philox,
            best_noises: 4,
            plateau_iterations: 8,
            result: ResultPolicy::Best,
            max_missing_in_a_row: 64,
        }
    }
}

/// Which of the policies that were sampled from is the result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultPolicy {
    /// The one with the best running estimate of its mean reward.
    #[default]
    Best,
    /// The newest one.
    Newest,
}

impl RunConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        at_least_one("evaluations", self.evaluations)?;
        at_least_one("batch_size", self.batch_size)?;
        at_least_one("best_noises", self.best_noises)?;
        at_least_one("max_missing_in_a_row", self.max_missing_in_a_row)?;
        if let NoiseSource::TorchBatch { .. } = self.noise_rng {
            return Err(Error::Config {
                field: "noise_rng",
                expected: "philox or torch",
                found: "torch-batch, which is for one batch of samples with one seed".into(),
            });
        }
        if self.batch_size > self.evaluations {
            return Err(Error::Config {
                field: "batch_size",
                expected: "at most the budget of evaluations",
                found: format!("{} with a budget of {}", self.batch_size, self.evaluations),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bad_numbers_are_named() {
        assert!(RunConfig::default().validate().is_ok());
        let message = |config: RunConfig| config.validate().unwrap_err().to_string();
        let empty = RunConfig { evaluations: 0, ..RunConfig::default() };
        assert_eq!(message(empty), "evaluations is 0, expected at least 1");
        let large = RunConfig { batch_size: 200, ..RunConfig::default() };
        assert!(message(large).starts_with("batch_size is 200 with a budget of 160"));
    }

    #[test]
    fn keys_of_earlier_versions_are_read() {
        let config: RunConfig = serde_json::from_str(r#"{"kept_noises": 7}"#).unwrap();
        assert_eq!(config.best_noises, 7);
    }
}

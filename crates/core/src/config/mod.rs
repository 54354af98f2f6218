//! Every setting of a run: one line each with meaning, unit and what it multiplies; defaults are the method's.

mod find;
mod paper;

use serde::{Deserialize, Serialize};

pub use find::{FindConfig, FindPart, Spread};
pub use paper::PaperConfig;

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
    /// Which of the policies that were drawn from is the result.
    pub result: ResultPolicy,
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
            result: ResultPolicy::Best,
            max_missing_in_a_row: 64,
            method: MethodConfig::default(),
        }
    }
}

/// Which of the policies that were drawn from is the result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultPolicy {
    /// The one with the best running estimate of its mean reward.
    #[default]
    Best,
    /// The newest one.
    Newest,
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

fn share(field: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Config { field, expected: "a share from 0 to 1", found: value.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_can_be_turned_off() {
        let parts = [FindPart::Landscape, FindPart::SeveralGaussians, FindPart::VariancePreservation];
        for part in parts {
            let find = FindConfig::default().without(part);
            assert_ne!(find, FindConfig::default(), "{part:?}");
            let config = RunConfig { method: MethodConfig::Find(find), ..RunConfig::default() };
            assert!(config.validate().is_ok(), "{part:?}");
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<RunConfig>(&text).unwrap(), config);
        }
    }

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

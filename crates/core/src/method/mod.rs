//! What learns a policy: [`Method`], an open trait, and the methods of this crate.
//!
//! The caller owns the loop, as with the ask-and-tell interface of CMA-ES libraries: ask for noises, generate and
//! score what comes of them, tell the rewards. A new method is one file that implements the trait, and one row of
//! [`MethodConfig`] where a config file should be able to name it.

mod find;
mod paper;
mod random_search;

use serde::{Deserialize, Serialize};

pub use find::{Find, FindConfig, FindPart, Spread};
pub use paper::{
    ClippedObjective, Paper, PaperConfig, ValueNetwork, clipped_objective, effective_sample_size,
};
pub use random_search::{RandomSearch, RandomSearchConfig};

use crate::error::Result;
use crate::evaluation::Batch;
use crate::noise::{Noise, NoiseShape};
use crate::policy::NoisePolicy;
use crate::rng::NoiseSource;
use crate::state::MethodState;
use crate::stop_reason::StopReason;

/// Learns a noise policy from the rewards of its samples.
///
/// How it does so is its own business: baselines, optimisers and memory are inside. A method keeps no randomness but
/// that of the keys, so a run that was saved and restored continues with the same bits.
pub trait Method: Send {
    /// The policy that the next batch is sampled from.
    fn policy(&self) -> &NoisePolicy;

    /// The next noises, one a sample of `request`. The answer depends on nothing but the request and what was told, so
    /// a batch that failed half-way can be asked for again.
    fn ask(&self, request: BatchRequest) -> Vec<Noise> {
        let BatchRequest { source, seed, iteration, count } = request;
        self.policy().sample_batch(source, seed, iteration, count)
    }

    /// Takes in the rewards of the newest batch, of which at least one is given, and updates the policy.
    ///
    /// # Errors
    /// Where the update fails, or a noise of `batch` is not one that was asked for.
    fn tell(&mut self, batch: &Batch) -> Result<Update>;

    /// What the method expects of each given reward of `batch`, which it was not told yet, up to scale and offset;
    /// `None` where it expects nothing. Predictive R² compares these numbers with the rewards.
    fn predict(&self, _batch: &Batch) -> Option<Vec<f64>> {
        None
    }

    /// Why nothing more needs to be learnt; `None` where there is more to learn, or nobody knows.
    fn is_done(&self) -> Option<StopReason> {
        None
    }

    /// Everything that it needs to go on, except for the policy.
    fn save(&self) -> MethodState;

    /// Goes on where [`save`](Self::save) and [`policy`](Self::policy) were called; called once, on a new method with
    /// the same settings.
    ///
    /// # Errors
    /// Where the state is incomplete or does not belong to this method and policy.
    fn restore(&mut self, policy: NoisePolicy, state: &MethodState) -> Result<()>;
}

/// Which noises are asked for: samples `0..count` of one iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// Generator of the standard normals.
    pub source: NoiseSource,
    /// The run's seed.
    pub seed: u64,
    /// The iteration, counted from 0.
    pub iteration: u32,
    /// Number of samples.
    pub count: u32,
}

/// What an update did, besides changing the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Update {
    /// Whether the policy may have changed.
    pub updated: bool,
    /// Effective number of evaluations that it used.
    pub effective_sample_size: f64,
    /// Mean reward that was expected of the batch, where the method has a baseline.
    pub expected_reward: Option<f64>,
}

/// What every method starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Shape of the noise.
    pub shape: NoiseShape,
    /// The run's seed, which also names the first weights of networks.
    pub seed: u64,
    /// Generator of the noises that will be told.
    pub source: NoiseSource,
    /// What a value network sees of the prompt; possibly empty.
    pub prompt_embedding: Vec<f32>,
    /// A policy around noises that succeeded under similar prompts, for a method that can begin with one
    /// ([`MethodConfig::takes_prior`]).
    pub prior: Option<NoisePolicy>,
}

impl Start {
    /// A start without a prompt embedding, under Philox noise.
    pub fn new(shape: NoiseShape, seed: u64) -> Self {
        Self { shape, seed, source: NoiseSource::default(), prompt_embedding: Vec::new(), prior: None }
    }
}

/// A method of this crate with its settings, as config files and flags name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum MethodConfig {
    /// A Gaussian-process surrogate over all evaluations; needs the fewest of them.
    Find(FindConfig),
    /// The paper's policy gradient.
    Paper(PaperConfig),
    /// Zero-order search around the best noise.
    RandomSearch(RandomSearchConfig),
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self::Find(FindConfig::default())
    }
}

impl MethodConfig {
    /// The name, as in config files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Find(_) => "find",
            Self::Paper(_) => "paper",
            Self::RandomSearch(_) => "random-search",
        }
    }

    /// These settings; where they are silent and the method asks for it, with the reward that images which show the prompt
    /// usually reach.
    pub fn or_success_reward(self, reward: Option<f64>) -> Self {
        match self {
            Self::Find(find) => {
                Self::Find(FindConfig { success_reward: find.success_reward.or(reward), ..find })
            }
            other => other,
        }
    }

    /// The reward that images which show the prompt usually reach, where the method knows it.
    pub fn success_reward(&self) -> Option<f64> {
        match self {
            Self::Find(find) => find.success_reward,
            Self::Paper(_) | Self::RandomSearch(_) => None,
        }
    }

    /// These settings for a run of `evaluations`: at most two fifths of them are spent on the base before components are
    /// learnt.
    #[must_use]
    pub fn within_budget(self, evaluations: usize) -> Self {
        match self {
            Self::Find(find) => {
                let base_evaluations = find.base_evaluations.min((2 * evaluations / 5).max(1));
                Self::Find(FindConfig { base_evaluations, ..find })
            }
            other => other,
        }
    }

    /// Whether the method has a use for [`Start::prior`].
    pub fn takes_prior(&self) -> bool {
        matches!(self, Self::Find(_))
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Find(config) => config.validate(),
            Self::Paper(config) => config.validate(),
            Self::RandomSearch(config) => config.validate(),
        }
    }

    /// The method before its first batch.
    ///
    /// # Errors
    /// Where a setting is out of range.
    pub fn start(&self, start: Start) -> Result<Box<dyn Method>> {
        self.validate()?;
        Ok(match self.clone() {
            Self::Find(config) => Box::new(Find::new(config, &start)),
            Self::Paper(config) => Box::new(Paper::new(config, start)),
            Self::RandomSearch(config) => Box::new(RandomSearch::new(config, start.shape)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_find_can_be_turned_off() {
        let parts = [
            FindPart::Surrogate,
            FindPart::SeveralComponents,
            FindPart::SuccessThreshold,
            FindPart::KeptBase,
            FindPart::SuccessStop,
            FindPart::VariancePreservation,
        ];
        for part in parts {
            let find = FindConfig::default().without(part);
            assert_ne!(find, FindConfig::default(), "{part:?}");
            let config = MethodConfig::Find(find);
            assert!(config.validate().is_ok(), "{part:?}");
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<MethodConfig>(&text).unwrap(), config);
        }
    }

    #[test]
    fn defaults_are_valid_and_bad_numbers_are_named() {
        let all = [
            MethodConfig::default(),
            MethodConfig::Paper(PaperConfig::default()),
            MethodConfig::RandomSearch(RandomSearchConfig::default()),
        ];
        for config in all {
            assert!(config.validate().is_ok());
            let text = serde_json::to_string(&config).unwrap();
            assert!(text.contains(config.name()), "{text}");
        }
        let config = MethodConfig::Paper(PaperConfig { clip_range: f64::NAN, ..PaperConfig::default() });
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "clip_range is NaN, expected a positive number");
        let config = MethodConfig::Find(FindConfig { radius: 1.5, ..FindConfig::default() });
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "radius is 1.5, expected a number from 0 to 1"
        );
    }

    #[test]
    fn keys_of_earlier_versions_are_read() {
        let text = r#"{"name": "find", "landscape": false, "gaussians": 2, "share": 0.5}"#;
        let expected = FindConfig { surrogate: false, components: 2, radius: 0.5, ..FindConfig::default() };
        assert_eq!(serde_json::from_str::<MethodConfig>(text).unwrap(), MethodConfig::Find(expected));
    }
}

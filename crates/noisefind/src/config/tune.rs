//! The settings of a run.

use std::path::PathBuf;

use noisefind_core::config::{MethodConfig, ResultPolicy, RunConfig};
use noisefind_rundir::Provenance;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::declare::settings;
use super::generation::{GenerationConfig, LoadingConfig, NoiseRng};
use super::range::{require, within};
use super::reward::{RewardScale, RewardTerm};
use crate::error::{Error, Result};

settings! {
    /// What the user gave; a setting that is absent is decided by the model or takes its default.
    #[derive(Deserialize)]
    #[serde(try_from = "Map<String, Value>")]
    pub struct TuneOptions in "Reward and budget": generation as GenerationConfig {
        /// What the image should show
        #[no_flag(skip)]
        prompt: String,
        /// Scorer to optimise: a name, with the folder or the hub id of its weights, or an external process; `noisefind
        /// doctor` lists the names. Repeatable: the sum is optimised, each times its WEIGHT, which stands before the colon
        /// and is negative to minimise [default: the model's own]
        #[arg(long, value_name = "NAME[=WEIGHT][:DIR|:HUB_ID]|exec[=WEIGHT]:COMMAND")]
        reward: Vec<RewardTerm>,
        /// Scale in which several rewards are summed [default: standardised]
        #[arg(long, value_enum)]
        reward_scale: RewardScale,
        /// Held-out scorer: measured at every step and never optimised; tuning stops where it falls. Repeatable
        #[arg(long, value_name = "NAME[:DIR]|exec:COMMAND", alias = "watch")]
        holdout: Vec<String>,
        /// Judge of the final comparison, never optimised [default: the model's own]
        #[arg(long, value_name = "NAME")]
        judge: String,
        /// Budget: samples to generate and score at most [default: 160]
        #[arg(long, value_name = "N")]
        evaluations: usize,
        /// Evaluations before which a run does not stop because its samples succeed [default: 48]
        #[arg(long, value_name = "N")]
        min_evaluations: usize,
        /// Time limit in seconds, checked after each sample [default: none]
        #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
        max_seconds: f64,
        /// Samples per update of the policy, at most the budget [default: 16]
        #[arg(long, value_name = "N")]
        batch_size: usize,
        /// Random seed. The same seed gives the same policy [default: 0]
        #[arg(long, value_name = "N")]
        seed: u64,
        /// Samples with the highest rewards to save, with their noises; default 4
        #[no_flag(skip)]
        best_noises: usize,
        /// Updates without progress after which the run stops, 0 for never; default 8
        #[no_flag(skip)]
        plateau_iterations: u32,
        /// Reward that an image which shows the prompt usually reaches [default: the model's own for its own scorer, else
        /// what lies between the two modes of the prompt's rewards]
        #[arg(long, value_name = "REWARD", allow_negative_numbers = true)]
        success_reward: f64,
        /// Folder of earlier runs: after the first batch, one is sampled around the noises that helped the most similar prompts
        /// under the same model and settings [default: none]
        #[arg(long, value_name = "RUNS_DIR")]
        prior: PathBuf,
        /// Which of the policies that were sampled from is the result; default `best`
        #[no_flag(skip)]
        result: ResultPolicy,
        /// Rewards missing in a row after which the run stops; default 64
        #[no_flag(skip)]
        max_missing_in_a_row: usize,
        /// Fresh samples of the final comparison, for base and tuned each [default: 32]
        #[arg(long, value_name = "N")]
        samples: u32,
        /// The method with its own settings; default `find`
        #[no_flag(skip)]
        method: MethodConfig,
    }
}

/// Every value of a run; `config.toml` holds exactly this.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TuneConfig {
    /// What the image should show.
    pub prompt: String,
    /// Scorers to optimise, summed by weight.
    pub reward: Vec<RewardTerm>,
    /// Scale in which several rewards are summed.
    pub reward_scale: RewardScale,
    /// Held-out scorers, never optimised.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holdout: Vec<String>,
    /// Judge of the final comparison; none where the model brings none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// Time limit in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Fresh samples of the final comparison, for base and tuned each.
    pub samples: u32,
    /// Folder of earlier runs whose policies the run begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<PathBuf>,
    /// The model and how it generates.
    #[serde(flatten)]
    pub generation: GenerationConfig,
    /// Budget and updates of the run.
    #[serde(flatten, serialize_with = "without_noise_rng")]
    pub run: RunConfig,
    /// How the policy learns.
    pub method: MethodConfig,
}

/// What a model wants where the user gave nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelDefaults {
    /// How it generates.
    pub generation: GenerationConfig,
    /// Scorer that comes with the model.
    pub reward: Option<String>,
    /// Judge that comes with the model.
    pub judge: Option<String>,
    /// Value of `reward` that images which show the prompt usually reach.
    pub success_reward: Option<f64>,
}

/// The generation settings say where noise comes from.
fn without_noise_rng<S: Serializer>(run: &RunConfig, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut settings = serde_json::to_value(run).map_err(serde::ser::Error::custom)?;
    if let Some(entries) = settings.as_object_mut() {
        entries.remove("noise_rng");
    }
    settings.serialize(serializer)
}

impl From<GenerationConfig> for TuneOptions {
    fn from(generation: GenerationConfig) -> Self {
        Self { generation, ..Self::default() }
    }
}

impl From<LoadingConfig> for TuneOptions {
    fn from(loading: LoadingConfig) -> Self {
        GenerationConfig { loading, ..GenerationConfig::default() }.into()
    }
}

impl TuneOptions {
    /// Prompt, model and settings that the policy of `provenance` was tuned with.
    ///
    /// # Errors
    /// Where a setting has a value of another type.
    pub fn of_policy(provenance: &Provenance) -> Result<Self> {
        let mut generation: GenerationConfig =
            serde_json::from_value(Value::Object(provenance.generation.clone())).map_err(|_| {
                let reason =
                    "the policy's settings are damaged or of another version of noisefind; tune it again";
                Error::Usage(reason.to_owned())
            })?;
        generation.loading.model = Some(provenance.model.clone());
        // Policies that do not tell their random generator wrote an empty text where no negative prompt was given.
        if generation.noise_rng.is_none() {
            generation.negative_prompt = generation.negative_prompt.filter(|text| !text.is_empty());
        }
        Ok(Self { prompt: Some(provenance.prompt.clone()), generation, ..Self::default() })
    }

    /// These settings, and where they are silent those of a policy or run. What belongs to its model alone is left out
    /// where another model is meant.
    #[must_use]
    pub fn or_recorded(self, mut recorded: Self) -> Self {
        let is_another = self.generation.loading.model.is_some()
            && self.generation.loading.model != recorded.generation.loading.model;
        if is_another {
            recorded.generation.config_from = None;
        }
        self.or(recorded)
    }

    /// The model that the user means.
    pub fn model_name(&self) -> &str {
        self.generation.model()
    }

    /// Every value, with `defaults` where the user gave nothing.
    ///
    /// # Errors
    /// Where the prompt is empty, a value is outside its range, or there is no reward to optimise.
    pub fn resolve(&self, defaults: &ModelDefaults) -> Result<TuneConfig> {
        self.resolve_asking(defaults, |_| Ok(Vec::new()))
    }

    /// As [`Self::resolve`]; where neither the user nor `defaults` name a reward, `ask` is asked for it after everything
    /// else was found to be in range, because an external process has to be started to answer.
    pub(crate) fn resolve_asking(
        &self,
        defaults: &ModelDefaults,
        ask: impl FnOnce(&TuneConfig) -> Result<Vec<RewardTerm>>,
    ) -> Result<TuneConfig> {
        let named = self.reward.clone().filter(|terms| !terms.is_empty());
        let own = || defaults.reward.as_deref().map(|name| vec![RewardTerm::new(name)]);
        let generation = self.generation.clone().resolve(defaults.generation.clone())?;
        let mut config = TuneConfig {
            prompt: checked_prompt(self.prompt.as_deref().unwrap_or_default())?.to_owned(),
            reward: named.or_else(own).unwrap_or_default(),
            reward_scale: self.reward_scale.unwrap_or_default(),
            holdout: self.holdout.clone().unwrap_or_default(),
            judge: self.judge.clone().or_else(|| defaults.judge.clone()),
            max_seconds: self.max_seconds,
            samples: self.samples.unwrap_or(32),
            prior: self.prior.clone(),
            run: self.resolve_run(generation.noise_rng.unwrap_or_default())?,
            generation,
            method: self.method.clone().unwrap_or_default(),
        };
        within("samples", Some(config.samples), 2..=100_000)?;
        if let Some(seconds) = config.max_seconds {
            require(seconds.is_finite() && seconds > 0.0, "max-seconds", &seconds, "more than 0")?;
        }
        config.method.validate()?;
        if config.reward.is_empty() {
            config.reward = ask(&config)?;
        }
        let is_own = defaults.reward.as_deref().is_some_and(|own| config.reward == [RewardTerm::new(own)]);
        let success_reward = self.success_reward.or(defaults.success_reward.filter(|_| is_own));
        if let Some(reward) = success_reward {
            require(reward.is_finite(), "success-reward", &reward, "a finite number")?;
        }
        config.method = config.method.or_success_reward(success_reward).within_budget(config.run.evaluations);
        if config.reward.is_empty() {
            return Err(no_reward(config.generation.model()));
        }
        let is_optimised = |name: &&String| config.reward.iter().any(|term| term.scorer == **name);
        if let Some(both) = config.holdout.iter().find(is_optimised) {
            let reason = format!("--holdout {both}: it is optimised, so it is not held out");
            return Err(Error::Usage(format!("{reason}; take it out of --holdout or of --reward")));
        }
        Ok(config)
    }

    fn resolve_run(&self, noise_rng: NoiseRng) -> Result<RunConfig> {
        let standard = RunConfig::default();
        let evaluations = self.evaluations.unwrap_or(standard.evaluations);
        if noise_rng == NoiseRng::TorchBatch {
            let expected = "philox or torch, because each sample of a run has a seed of its own";
            require(false, "noise-rng", &"torch-batch", expected)?;
        }
        let run = RunConfig {
            seed: self.seed.unwrap_or(standard.seed),
            evaluations,
            min_evaluations: self.min_evaluations.unwrap_or(standard.min_evaluations),
            // A budget below the usual batch is one batch.
            batch_size: self.batch_size.unwrap_or(standard.batch_size.min(evaluations.max(2))),
            noise_rng: noise_rng.source(1),
            best_noises: self.best_noises.unwrap_or(standard.best_noises),
            plateau_iterations: self.plateau_iterations.unwrap_or(standard.plateau_iterations),
            result: self.result.unwrap_or(standard.result),
            max_missing_in_a_row: self.max_missing_in_a_row.unwrap_or(standard.max_missing_in_a_row),
        };
        within("evaluations", Some(run.evaluations), 2..=10_000_000)?;
        within("batch-size", Some(run.batch_size), 2..=100_000)?;
        if run.batch_size > run.evaluations {
            let (batch, budget) = (run.batch_size, run.evaluations);
            let reason =
                format!("--batch-size is {batch}, more than the whole budget of --evaluations {budget}");
            return Err(Error::Usage(format!("{reason}; lower the one or raise the other")));
        }
        within("seed", Some(run.seed), 0..=i64::MAX as u64)?;
        within("best-noises", Some(run.best_noises), 1..=1000)?;
        run.validate()?;
        Ok(run)
    }
}

impl TuneConfig {
    /// The text of `config.toml`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Usage(format!("config: {error}")))
    }
}

/// The model has no scorer and the user named none.
pub(crate) fn no_reward(model: &str) -> Error {
    Error::Usage(format!("model {model} brings no scorer of its own; give --reward NAME"))
}

/// The prompt, unless it is blank.
pub(crate) fn checked_prompt(prompt: &str) -> Result<&str> {
    if prompt.trim().is_empty() {
        return Err(Error::Usage(
            "the prompt is empty; say what the image should show, for example \"a green dog\"".to_owned(),
        ));
    }
    Ok(prompt)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

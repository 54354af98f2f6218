//! The configuration of a run: what the user gave, and what it becomes when every value is resolved.
//!
//! One flag of the command line is one field of the same name here and one key of `config.toml`.

use std::path::Path;

use noisefind_core::config::{MethodConfig, ResultPolicy, RunConfig};
use noisefind_core::rng::NoiseSource;
use noisefind_rundir::Provenance;
use serde::{Deserialize, Serialize};

use crate::config::reward::{RewardScale, RewardTerm, one_or_many};
use crate::error::{Error, Result};

pub mod reward;

/// The name of the model that ships with the program.
pub const DEFAULT_MODEL: &str = "emoji-64";

/// What the user gave; a value that is absent is decided by the model or the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneOptions {
    /// What should be drawn.
    pub prompt: Option<String>,
    /// Model folder or name; default `emoji-64`.
    pub model: Option<String>,
    /// Scorers to climb, summed by weight; default: the model's own.
    #[serde(default, deserialize_with = "one_or_many")]
    pub reward: Option<Vec<RewardTerm>>,
    /// Scale in which several rewards are summed; default `standardised`.
    pub reward_scale: Option<RewardScale>,
    /// Held-out scorers: measured at every step and never climbed, they end the run where they fall; default none.
    #[serde(default, deserialize_with = "one_or_many")]
    pub watch: Option<Vec<String>>,
    /// Frames of a clip, evenly spread, that scorers of images score; default: all.
    pub reward_frames: Option<usize>,
    /// Judge of the final comparison; default: the model's own.
    pub judge: Option<String>,
    /// Pictures to generate and score while tuning; default 160.
    pub evaluations: Option<usize>,
    /// Seconds after which tuning stops at the next step; default: no limit.
    pub max_seconds: Option<f64>,
    /// Pictures a step of the method; default 16.
    pub batch_size: Option<usize>,
    /// Names every random number of the run; default 0.
    pub seed: Option<u64>,
    /// Generator of initial noise; default `philox`.
    pub noise_rng: Option<NoiseSource>,
    /// Noises that the model gets at once: memory and speed, never a result; default 8 of a small model, 1 of others.
    pub generation_batch: Option<usize>,
    /// How many of the best noises are saved; default 4.
    #[serde(alias = "kept_noises")]
    pub best_noises: Option<usize>,
    /// Steps without progress after which the run stops, 0 for never; default 8.
    pub plateau_iterations: Option<u32>,
    /// Which of the policies that were drawn from is the result; default `best`.
    pub result: Option<ResultPolicy>,
    /// Rewards missing in a row after which the run stops; default 64.
    pub max_missing_in_a_row: Option<usize>,
    /// Fresh samples of the final comparison, for base and tuned each; default 32.
    pub samples: Option<u32>,
    /// Denoising steps a picture; default: the model's own, else 50.
    pub num_inference_steps: Option<usize>,
    /// Classifier-free guidance; default: the model's own, else 7.5.
    pub guidance_scale: Option<f64>,
    /// Noise that a stochastic scheduler adds, 0 to 1; default 0.
    pub eta: Option<f64>,
    /// What should not be drawn; default nothing.
    pub negative_prompt: Option<String>,
    /// Adapters to merge into the model, `FILE` or `FILE=WEIGHT`; default none.
    pub lora: Option<Vec<String>>,
    /// Folder of another decoder; default: the model's own.
    pub vae: Option<String>,
    /// Whether large pictures are decoded in overlapping tiles; default: no.
    pub vae_tiling: Option<bool>,
    /// Last layers of the text encoders that the prompt skips; default 0.
    pub clip_skip: Option<usize>,
    /// Solver; default: the model's own.
    pub scheduler: Option<String>,
    /// Rows of a picture in pixels; default: the model's own.
    pub height: Option<usize>,
    /// Columns of a picture in pixels; default: the model's own.
    pub width: Option<usize>,
    /// Frames of a clip; default: the model's own.
    pub num_frames: Option<usize>,
    /// Frames a second of a clip; default 8.
    pub fps: Option<f64>,
    /// Motion adapter that makes a video model of a model of still images; default none.
    pub motion_adapter: Option<String>,
    /// Default `auto`.
    pub device: Option<String>,
    /// Default `auto`.
    pub dtype: Option<String>,
    /// Seconds a program may take until it is ready; default 600.
    pub start_timeout_seconds: Option<f64>,
    /// Seconds a program may take for one request; default 300.
    pub request_timeout_seconds: Option<f64>,
    /// The method with its own settings; default `find`.
    pub method: Option<MethodConfig>,
}

/// Every value of a run; `config.toml` holds exactly this.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TuneConfig {
    /// What should be drawn.
    pub prompt: String,
    /// Scorers to climb, summed by weight.
    pub reward: Vec<RewardTerm>,
    /// Scale in which several rewards are summed.
    pub reward_scale: RewardScale,
    /// Held-out scorers, never climbed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<String>,
    /// Judge of the final comparison; none where the model brings none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// Seconds after which tuning stops at the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Fresh samples of the final comparison, for base and tuned each.
    pub samples: u32,
    /// The model and how it draws.
    #[serde(flatten)]
    pub generation: GenerationConfig,
    /// Noises that the model gets at once; absent: eight of a small model, one of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation_batch: Option<usize>,
    /// Budget and steps of the run.
    #[serde(flatten)]
    pub run: RunConfig,
    /// How the policy learns.
    pub method: MethodConfig,
}

/// The model and how it draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GenerationConfig {
    /// Model folder or name.
    pub model: String,
    /// Denoising steps a picture.
    pub num_inference_steps: usize,
    /// Classifier-free guidance: 1 is none, 0 ignores the prompt.
    pub guidance_scale: f64,
    /// Noise that a stochastic scheduler adds, 0 to 1.
    pub eta: f64,
    /// What should not be drawn.
    pub negative_prompt: String,
    /// Adapters merged into the model, `FILE` or `FILE=WEIGHT`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<String>,
    /// Folder of the decoder, where not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// Whether large pictures are decoded in overlapping tiles.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vae_tiling: bool,
    /// Last layers of the text encoders that the prompt skips.
    pub clip_skip: usize,
    /// Solver, where not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Rows of a picture in pixels, where not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// Columns of a picture in pixels, where not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Frames of a clip, where not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_frames: Option<usize>,
    /// Frames a second of a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Motion adapter that makes a video model of a model of still images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motion_adapter: Option<String>,
    /// Frames of a clip, evenly spread, that scorers of images score, where not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_frames: Option<usize>,
    /// Where the model runs.
    pub device: String,
    /// In which numbers the model runs.
    pub dtype: String,
    /// Seconds a program may take until it is ready.
    pub start_timeout_seconds: f64,
    /// Seconds a program may take for one request.
    pub request_timeout_seconds: f64,
}

/// What a model wants where the user said nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDefaults {
    /// Denoising steps a picture.
    pub num_inference_steps: usize,
    /// Classifier-free guidance.
    pub guidance_scale: f64,
    /// Scorer that comes with the model.
    pub reward: Option<String>,
    /// Judge that comes with the model.
    pub judge: Option<String>,
}

impl TuneOptions {
    /// Reads a config file; `config.toml` of a run is one.
    ///
    /// # Errors
    /// Where it cannot be read, is not TOML, or has a key that is not an option.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Understands the text of a config file that was read from `path`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
            Error::Config { path: path.to_owned(), reason: format!("line {line}: {}", error.message()) }
        })
    }

    /// These options, and where they are silent those of `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.or(other.prompt),
            model: self.model.or(other.model),
            reward: self.reward.or(other.reward),
            reward_scale: self.reward_scale.or(other.reward_scale),
            watch: self.watch.or(other.watch),
            reward_frames: self.reward_frames.or(other.reward_frames),
            judge: self.judge.or(other.judge),
            evaluations: self.evaluations.or(other.evaluations),
            max_seconds: self.max_seconds.or(other.max_seconds),
            batch_size: self.batch_size.or(other.batch_size),
            seed: self.seed.or(other.seed),
            noise_rng: self.noise_rng.or(other.noise_rng),
            generation_batch: self.generation_batch.or(other.generation_batch),
            best_noises: self.best_noises.or(other.best_noises),
            plateau_iterations: self.plateau_iterations.or(other.plateau_iterations),
            result: self.result.or(other.result),
            max_missing_in_a_row: self.max_missing_in_a_row.or(other.max_missing_in_a_row),
            samples: self.samples.or(other.samples),
            num_inference_steps: self.num_inference_steps.or(other.num_inference_steps),
            guidance_scale: self.guidance_scale.or(other.guidance_scale),
            eta: self.eta.or(other.eta),
            negative_prompt: self.negative_prompt.or(other.negative_prompt),
            lora: self.lora.or(other.lora),
            vae: self.vae.or(other.vae),
            vae_tiling: self.vae_tiling.or(other.vae_tiling),
            clip_skip: self.clip_skip.or(other.clip_skip),
            scheduler: self.scheduler.or(other.scheduler),
            height: self.height.or(other.height),
            width: self.width.or(other.width),
            num_frames: self.num_frames.or(other.num_frames),
            fps: self.fps.or(other.fps),
            motion_adapter: self.motion_adapter.or(other.motion_adapter),
            device: self.device.or(other.device),
            dtype: self.dtype.or(other.dtype),
            start_timeout_seconds: self.start_timeout_seconds.or(other.start_timeout_seconds),
            request_timeout_seconds: self.request_timeout_seconds.or(other.request_timeout_seconds),
            method: self.method.or(other.method),
        }
    }

    /// How the model drew while the policy of `provenance` was tuned.
    pub fn of_policy(provenance: &Provenance) -> Self {
        Self {
            prompt: Some(provenance.prompt.clone()),
            model: Some(provenance.model.clone()),
            num_inference_steps: Some(provenance.num_inference_steps),
            guidance_scale: Some(provenance.guidance_scale),
            eta: Some(provenance.eta),
            negative_prompt: Some(provenance.negative_prompt.clone()),
            lora: Some(provenance.lora.clone()),
            vae: provenance.vae.clone(),
            vae_tiling: Some(provenance.vae_tiling),
            clip_skip: Some(provenance.clip_skip),
            scheduler: provenance.scheduler.clone(),
            height: provenance.height,
            width: provenance.width,
            num_frames: provenance.num_frames,
            fps: provenance.fps,
            motion_adapter: provenance.motion_adapter.clone(),
            ..Self::default()
        }
    }

    /// The model that the user means.
    pub fn model_name(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    /// How the model draws, with `defaults` where the user said nothing.
    ///
    /// # Errors
    /// Where a value is outside its range.
    pub fn resolve_generation(&self, defaults: &ModelDefaults) -> Result<GenerationConfig> {
        let config = GenerationConfig {
            model: self.model_name().to_owned(),
            num_inference_steps: self.num_inference_steps.unwrap_or(defaults.num_inference_steps),
            guidance_scale: self.guidance_scale.unwrap_or(defaults.guidance_scale),
            eta: self.eta.unwrap_or(0.0),
            negative_prompt: self.negative_prompt.clone().unwrap_or_default(),
            lora: self.lora.clone().unwrap_or_default(),
            vae: self.vae.clone(),
            vae_tiling: self.vae_tiling.unwrap_or(false),
            clip_skip: self.clip_skip.unwrap_or(0),
            scheduler: self.scheduler.clone(),
            height: self.height,
            width: self.width,
            num_frames: self.num_frames,
            fps: self.fps,
            motion_adapter: self.motion_adapter.clone(),
            reward_frames: self.reward_frames,
            device: self.device.clone().unwrap_or_else(|| "auto".to_owned()),
            dtype: self.dtype.clone().unwrap_or_else(|| "auto".to_owned()),
            start_timeout_seconds: self.start_timeout_seconds.unwrap_or(600.0),
            request_timeout_seconds: self.request_timeout_seconds.unwrap_or(300.0),
        };
        let found = &config.guidance_scale;
        require(found.is_finite() && *found >= 0.0, "guidance-scale", found, "0 or more")?;
        require((0.0..=1.0).contains(&config.eta), "eta", &config.eta, "a number from 0 to 1")?;
        if let Some(frames) = config.num_frames {
            require((1..=1024).contains(&frames), "num-frames", &frames, "1 to 1024")?;
        }
        require(config.reward_frames != Some(0), "reward-frames", &0, "1 or more")?;
        if let Some(fps) = config.fps {
            require((0.1..=240.0).contains(&fps), "fps", &fps, "a number from 0.1 to 240")?;
        }
        require(config.num_inference_steps >= 1, "num-inference-steps", &0, "1 or more")?;
        for (flag, found) in [
            ("start-timeout-seconds", config.start_timeout_seconds),
            ("request-timeout-seconds", config.request_timeout_seconds),
        ] {
            require(found > 0.0 && found <= 1e6, flag, &found, "more than 0 and at most 1000000")?;
        }
        Ok(config)
    }

    /// Every value, with `defaults` where the user said nothing.
    ///
    /// # Errors
    /// Where the prompt is empty, a value is outside its range, or there is no reward to climb.
    pub fn resolve(&self, defaults: &ModelDefaults) -> Result<TuneConfig> {
        self.resolve_asking(defaults, |_| Ok(Vec::new()))
    }

    /// As [`Self::resolve`]; where neither the user nor `defaults` name a reward, `ask` is asked for it after everything
    /// else was found to be in range, because a program has to be started to answer.
    pub(crate) fn resolve_asking(
        &self,
        defaults: &ModelDefaults,
        ask: impl FnOnce(&TuneConfig) -> Result<Vec<RewardTerm>>,
    ) -> Result<TuneConfig> {
        let named = self.reward.clone().filter(|terms| !terms.is_empty());
        let own = || defaults.reward.as_deref().map(|name| vec![RewardTerm::new(name)]);
        let mut config = TuneConfig {
            prompt: checked_prompt(self.prompt.as_deref().unwrap_or_default())?.to_owned(),
            reward: named.or_else(own).unwrap_or_default(),
            reward_scale: self.reward_scale.unwrap_or_default(),
            watch: self.watch.clone().unwrap_or_default(),
            judge: self.judge.clone().or_else(|| defaults.judge.clone()),
            max_seconds: self.max_seconds,
            samples: self.samples.unwrap_or(32),
            generation: self.resolve_generation(defaults)?,
            generation_batch: self.generation_batch,
            run: self.resolve_run(),
            method: self.method.clone().unwrap_or_default(),
        };
        let run = &config.run;
        require(config.generation_batch != Some(0), "generation-batch", &0, "1 or more")?;
        require(run.evaluations >= 2, "evaluations", &run.evaluations, "2 or more")?;
        require(run.batch_size >= 2, "batch-size", &run.batch_size, "2 or more")?;
        if run.batch_size > run.evaluations {
            let (batch, budget) = (run.batch_size, run.evaluations);
            let reason =
                format!("--batch-size is {batch}, more than the whole budget of --evaluations {budget}");
            return Err(Error::Usage(format!("{reason}; lower the one or raise the other")));
        }
        require(config.samples >= 2, "samples", &config.samples, "2 or more")?;
        if let Some(seconds) = config.max_seconds {
            require(seconds.is_finite() && seconds > 0.0, "max-seconds", &seconds, "more than 0")?;
        }
        require(run.seed <= i64::MAX as u64, "seed", &run.seed, "at most 2^63 - 1")?;
        run.validate()?;
        config.method.validate()?;
        if config.reward.is_empty() {
            config.reward = ask(&config)?;
        }
        if config.reward.is_empty() {
            return Err(no_reward(&config.generation.model));
        }
        let is_climbed = |name: &&String| config.reward.iter().any(|term| term.scorer == **name);
        if let Some(both) = config.watch.iter().find(is_climbed) {
            let reason = format!("--watch {both}: it is climbed, so it is no held-out scorer");
            return Err(Error::Usage(format!("{reason}; take it out of --watch or of --reward")));
        }
        Ok(config)
    }

    fn resolve_run(&self) -> RunConfig {
        let standard = RunConfig::default();
        let evaluations = self.evaluations.unwrap_or(standard.evaluations);
        RunConfig {
            seed: self.seed.unwrap_or(standard.seed),
            evaluations,
            // A budget below the usual batch is one batch.
            batch_size: self.batch_size.unwrap_or(standard.batch_size.min(evaluations.max(2))),
            noise_rng: self.noise_rng.unwrap_or(standard.noise_rng),
            best_noises: self.best_noises.unwrap_or(standard.best_noises),
            plateau_iterations: self.plateau_iterations.unwrap_or(standard.plateau_iterations),
            result: self.result.unwrap_or(standard.result),
            max_missing_in_a_row: self.max_missing_in_a_row.unwrap_or(standard.max_missing_in_a_row),
        }
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
            "the prompt is empty; say what should be drawn, for example \"a green dog\"".to_owned(),
        ));
    }
    Ok(prompt)
}

pub(crate) fn require(holds: bool, flag: &str, found: &dyn std::fmt::Display, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Usage(format!("--{flag} is {found}, expected {expected}"))) }
}

#[cfg(test)]
mod tests;

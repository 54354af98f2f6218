//! How a run is kept on disk: the line of a step, the state after it, the environment it ran in.

use std::collections::BTreeMap;

use noisefind_core::noise::{NoiseShape, SampleKey};
use noisefind_core::rollout::Scores;
use noisefind_core::run::{HeldOutRecord, RunHeader, RunState, StepRecord};
use noisefind_core::state::NamedTensor;
use noisefind_core::statistics::BaseStatistics;
use noisefind_rundir::{Event, EventValue, Tensor, TensorFile};
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::models::hashes::{ModelHashes, ScorerHashes};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsLine {
    /// Steps done, this one included.
    pub step: u32,
    /// Seconds since the run began, resumed parts added up.
    pub elapsed_seconds: f64,
    /// What the method says.
    #[serde(flatten)]
    pub record: StepRecord,
    /// Mean pairwise distance of the step's samples, 0 to 1; `null` of fewer than two.
    #[serde(default)]
    pub diversity: Option<f64>,
    /// Each term of a reward of several, in its own units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRecord>,
    /// Each held-out scorer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(alias = "watched")]
    pub held_out: Vec<HeldOutRecord>,
}

/// What one term of a reward of several said of a step's samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its name.
    pub scorer: String,
    /// Its rewards in order of the samples' index; `null` is missing.
    pub rewards: Vec<Option<f64>>,
    /// Mean of the given rewards.
    pub reward_mean: Option<f64>,
}

impl MetricsLine {
    /// The figures of the step for TensorBoard, in groups.
    pub(crate) fn event(&self) -> Event<'static> {
        let record = &self.record;
        let own = [
            ("reward/mean", record.reward_mean),
            ("reward/std", record.reward_std),
            ("reward/standardised_gain", record.standardised_gain),
            ("reward/smoothed", record.reward_smoothed),
            ("reward/best", record.best_reward),
            ("reward/missing", Some(record.missing as f64)),
            ("reward/evaluations", Some(record.evaluations as f64)),
            ("reward/diversity", self.diversity),
            ("policy/kl_nats", Some(record.kl_nats)),
            ("policy/mean_rms", Some(record.mean_rms)),
            ("policy/sigma_mean", Some(record.sigma_mean)),
            ("policy/step_norm", Some(record.step_norm)),
            ("update/effective_sample_size", Some(record.effective_sample_size)),
            ("update/predictive_r2", record.predictive_r2),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let parts = self.parts.iter().map(|part| (format!("parts/{}", part.scorer), part.reward_mean));
        let held_out = self.held_out.iter().map(|one| (format!("held_out/{}", one.scorer), one.reward_mean));
        let values = own.chain(parts).chain(held_out);
        let values = values.filter_map(|(name, value)| Some((name, EventValue::Scalar(value?))));
        Event { step: self.step, elapsed_seconds: self.elapsed_seconds, values: values.collect() }
    }
}

impl Environment {
    /// Of a run that begins now, of a model with `hashes` that computes on `device` in the numbers `dtype`.
    pub(crate) fn now(device: &str, dtype: &str, hashes: &ModelHashes) -> Self {
        Self {
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: machine::git_commit(),
            started: jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .map_or_else(|_| String::new(), |now| now.to_string()),
            device: device.to_owned(),
            dtype: dtype.to_owned(),
            threads: machine::threads(),
            platform: machine::platform(),
            instruction_sets: machine::instruction_sets(),
            kernels: machine::kernels(),
            model_sha256: hashes.model.clone(),
            weights_sha256: hashes.weights.clone(),
            scorers_sha256: ScorerHashes::new(),
            noise_shape: None,
        }
    }

    /// When the run began, in seconds since 1970; 0 where that is not recorded.
    pub(crate) fn started_unix_seconds(&self) -> f64 {
        self.started.parse::<jiff::Timestamp>().map_or(0.0, |began| began.as_second() as f64)
    }
}

/// `environment.json`: what the run depends on that is no setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of the program.
    pub program_version: String,
    /// Commit that the program was built from; `null` where it was built outside its repository.
    #[serde(default)]
    pub git_commit: Option<String>,
    /// When the run began, in UTC.
    #[serde(default)]
    pub started: String,
    /// Where the model runs.
    pub device: String,
    /// In which numbers it computes.
    pub dtype: String,
    /// Threads that compute.
    pub threads: usize,
    /// Operating system and processor family.
    pub platform: String,
    /// What the processor can do beyond its family.
    pub instruction_sets: Vec<String>,
    /// The instruction set that the CPU kernels used.
    #[serde(default)]
    pub kernels: String,
    /// SHA-256 over the model's files.
    pub model_sha256: String,
    /// SHA-256 of each file of weights of the model; of a model of the hub, its commit.
    #[serde(default)]
    pub weights_sha256: BTreeMap<String, String>,
    /// The same of each scorer that was given files of its own, by the name that it was given.
    #[serde(default)]
    pub scorers_sha256: ScorerHashes,
    /// Shape of the noise of a model outside of this program, which cannot be asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_shape: Option<NoiseShape>,
}

/// What a step checkpoint says beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Base statistics of each term of a standardised reward; `None` before they are measured, and in raw scale.
    #[serde(alias = "standards")]
    pub base: Option<Vec<BaseStatistics>>,
    /// Everything of the run that is no array.
    pub header: RunHeader,
}

/// The part of [`Saved`] that a comparison needs, which also checkpoints of earlier versions have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedBase {
    /// As in [`Saved`].
    #[serde(alias = "standards")]
    pub base: Option<Vec<BaseStatistics>>,
}

/// One line of `rewards.jsonl`: a sample that was generated and scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleLine {
    /// What the sample is for.
    pub phase: Phase,
    /// Steps that were saved before.
    pub step: u32,
    /// Names the sample.
    pub key: SampleKey,
    /// What the scorers say, in the order of the config: a number, or why there is none.
    #[serde(flatten)]
    pub scores: Scores,
    /// Frames a second of a clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Seconds since the run began, resumed parts added up.
    pub elapsed_seconds: f64,
}

/// What a sample of a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The method learns from it.
    Tuning,
    /// It belongs to the base arm of the final comparison.
    Base,
    /// It belongs to the tuned arm of the final comparison.
    Tuned,
}

impl Phase {
    /// As in file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tuning => "tuning",
            Self::Base => "base",
            Self::Tuned => "tuned",
        }
    }
}

/// The state as a file.
pub(crate) fn to_file(state: RunState, base: Option<Vec<BaseStatistics>>) -> TensorFile<Saved> {
    let entry = |tensor: NamedTensor| (tensor.name, Tensor { shape: tensor.shape, values: tensor.values });
    let tensors = state.tensors.into_iter().map(entry).collect();
    TensorFile { tensors, metadata: Saved { base, header: state.header } }
}

/// The state that [`to_file`] wrote.
pub(crate) fn state_of(tensors: BTreeMap<String, Tensor>, header: RunHeader) -> RunState {
    let entry =
        |(name, tensor): (String, Tensor)| NamedTensor { name, shape: tensor.shape, values: tensor.values };
    RunState { tensors: tensors.into_iter().map(entry).collect(), header }
}

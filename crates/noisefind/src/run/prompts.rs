//! A list of prompts, each tuned in a run folder of its own; what is finished is not done again, what was stopped
//! goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use noisefind_core::run::StopReason;
use noisefind_rundir::{Claim, IfOccupied, RunReader, file_name_from_prompt};
use serde::Serialize;

use crate::config::{LoadingConfig, ModelDefaults, TuneConfig, TuneOptions};
use crate::error::{Error, Result};
use crate::evaluate::comparison::Comparison;
use crate::models::hashes::ModelHashes;
use crate::models::registry::ModelSource;
use crate::models::sha256;
use crate::observer::{Found, Observer};
use crate::record::{Environment, MetricsLine};
use crate::run::prompt_list;
use crate::run::tune::{TuneRequest, Tuned, tune};

/// What to tune.
#[derive(Clone, Debug)]
pub struct PromptsRequest {
    /// One prompt a line; blank lines and lines that begin with `#` are skipped.
    pub file: PathBuf,
    /// Everything but the prompt.
    pub options: TuneOptions,
    /// The folder of the run folders; `None`: `runs/` and the name of the file.
    pub out: Option<PathBuf>,
    /// What to do with a run that is there already: go on with it, or start it anew.
    pub if_occupied: IfOccupied,
    /// The part of the prompts to tune; `None`: all.
    pub shard: Option<Shard>,
}

/// One of several equal parts of a list, for machines that work on it side by side.
///
/// A prompt's part is that of its SHA-256, so it stays where it is while other prompts come, go or change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Whether `prompt` belongs to this part: the first 8 bytes of its hash, as a big-endian number, modulo the count.
    pub fn contains(self, prompt: &str) -> bool {
        let hash = sha256(prompt.as_bytes());
        let number = u64::from_str_radix(&hash[..16], 16).unwrap_or_default();
        number % u64::from(self.count) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `I/N`, with I counted from 0.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(format!("found {text:?}, expected I/N with I from 0 to N - 1, such as 0/8")),
        }
    }
}

/// All runs that are over; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptsTuned {
    /// The folder of the run folders.
    pub out: PathBuf,
    /// In the order of the file.
    pub runs: Vec<PromptTuned>,
    /// Prompts of the file that came to no result.
    pub failed: Vec<PromptFailed>,
    /// Prompts of the file that were not reached, because the observer interrupted.
    pub not_reached: usize,
    /// Means over the runs.
    pub mean: Means,
}

/// One prompt with its run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptTuned {
    /// What the samples should show.
    pub prompt: String,
    /// Its run.
    #[serde(flatten)]
    pub tuned: Tuned,
}

/// One prompt whose rewards were missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptFailed {
    /// What the samples should have shown.
    pub prompt: String,
    /// Why there is no result.
    pub error: String,
}

/// Means over prompts; `null` where no prompt has the figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Means {
    /// Gain in standard deviations of each prompt's base.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
    /// Success of the model as it is, over the prompts that the judge can read.
    pub base_success_rate: Option<f64>,
    /// Success under the policies, over the same prompts.
    pub tuned_success_rate: Option<f64>,
    /// Diversity of tuned over base.
    pub diversity_ratio: Option<f64>,
}

/// Tunes every prompt of a file. A prompt whose rewards are missing does not hold up the others.
///
/// # Errors
/// Where the file holds no prompt or one twice, or the model, the scorer or the disk fails. What was done is kept, and
/// the same request goes on with it: a prompt's run is found by its prompt and settings, whatever its folder is called.
/// With other settings each prompt gets another run.
pub fn tune_prompts(request: &PromptsRequest, observer: &mut dyn Observer) -> Result<PromptsTuned> {
    let stem = request.file.file_stem().unwrap_or_default();
    let out = request.out.clone().unwrap_or_else(|| Path::new("runs").join(stem));
    let plans = plans(request, &out)?;
    let (mut runs, mut failed) = (Vec::new(), Vec::new());
    for (at, plan) in plans.iter().enumerate() {
        if observer.interrupted() {
            break;
        }
        observer.prompt(at + 1, plans.len(), &plan.prompt, plan.found);
        let tuned = match plan.found {
            Found::Finished => plan.finished(),
            Found::Begun => tune(
                &TuneRequest::Resume {
                    run: plan.run.clone(),
                    loading: Box::new(plan.options.generation.loading.clone()),
                },
                observer,
            ),
            Found::Nothing => {
                let (options, out) = (Box::new(plan.options.clone()), Some(plan.run.clone()));
                tune(&TuneRequest::New { options, out, if_occupied: request.if_occupied }, observer)
            }
        };
        match tuned {
            Ok(tuned) if tuned.stop_reason == StopReason::Interrupted => break,
            Ok(tuned) => runs.push(PromptTuned { prompt: plan.prompt.clone(), tuned }),
            Err(error @ Error::RewardsMissing { .. }) => {
                failed.push(PromptFailed { prompt: plan.prompt.clone(), error: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    let not_reached = plans.len() - runs.len() - failed.len();
    let mean = Means::of(runs.iter().filter_map(|run| run.tuned.comparison.as_ref()));
    Ok(PromptsTuned { out, runs, failed, not_reached, mean })
}

/// What one prompt will be tuned with, and where.
struct Plan {
    prompt: String,
    options: TuneOptions,
    run: PathBuf,
    found: Found,
}

/// Checks everything that can be checked before the first prompt is tuned.
fn plans(request: &PromptsRequest, out: &Path) -> Result<Vec<Plan>> {
    let source = ModelSource::of(&request.options.generation)?;
    let defaults = source.defaults()?;
    let existing = existing_runs(out, &defaults)?;
    let mut shared = request.options.clone();
    let mut names = BTreeSet::new();
    let mut plans = Vec::new();
    for prompt in prompt_list::read(&request.file)? {
        let options = TuneOptions { prompt: Some(prompt.clone()), ..shared.clone() };
        let config = options
            .resolve_asking(&defaults, |config| source.ask_for_rewards(&config.generation, &config.prompt))?;
        // What a program recommended for the first prompt holds for all, so that it is asked once.
        shared.reward = Some(config.reward.clone());
        let options = TuneOptions { reward: shared.reward.clone(), ..options };
        if request.shard.is_some_and(|shard| !shard.contains(&prompt)) {
            continue;
        }
        let is_ours = |run: &&ExistingRun| run.holds(&config, || source.hashes());
        let (run, found) = match existing.iter().find(is_ours) {
            Some(run) => (run.root.clone(), run.state()?),
            None => {
                let name = format!("{}-{}", file_name_from_prompt(&prompt), config.run.seed);
                let numbered = (2..).map(|number| format!("{name}-{number}"));
                let is_free = |name: &String| !names.contains(name) && Claim::is_free(&out.join(name));
                let free = std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name);
                let run = out.join(&free);
                names.insert(free);
                (run, Found::Nothing)
            }
        };
        let found = if request.if_occupied == IfOccupied::Replace { Found::Nothing } else { found };
        plans.push(Plan { prompt, options, run, found });
    }
    Ok(plans)
}

/// A run that is there already.
struct ExistingRun {
    root: PathBuf,
    config: TuneConfig,
    model_sha256: Option<String>,
}

/// The runs below `out` whose settings can be read.
fn existing_runs(out: &Path, defaults: &ModelDefaults) -> Result<Vec<ExistingRun>> {
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Read { path: out.to_owned(), source }),
    };
    let mut roots = entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>();
    roots.sort_unstable();
    Ok(roots.into_iter().filter_map(|root| ExistingRun::read(root, defaults)).collect())
}

impl ExistingRun {
    fn read(root: PathBuf, defaults: &ModelDefaults) -> Option<Self> {
        let reader = RunReader::open(&root).ok()?;
        let options = TuneOptions::parse(&reader.layout().config(), reader.config()).ok()?;
        let environment = reader.json::<Environment>(&reader.layout().environment()).ok()?;
        let model_sha256 = environment.map(|environment| environment.model_sha256);
        Some(Self { root, config: options.resolve(defaults).ok()?, model_sha256 })
    }

    /// Whether this is the run of `config`: its prompt and every setting that changes results. The model may lie
    /// elsewhere if its weights are the same.
    fn holds(&self, config: &TuneConfig, hashes: impl FnOnce() -> Result<ModelHashes>) -> bool {
        let result_settings = |config: &TuneConfig| {
            let mut config = config.clone();
            let dtype = config.generation.loading.dtype.take();
            config.generation.loading = LoadingConfig { dtype, ..LoadingConfig::default() };
            config
        };
        result_settings(&self.config) == result_settings(config)
            && (self.config.generation.model() == config.generation.model()
                || hashes().is_ok_and(|hashes| self.model_sha256 == Some(hashes.model)))
    }

    fn state(&self) -> Result<Found> {
        let reader = RunReader::open(&self.root)?;
        // Samples may be recorded before the first step is saved.
        Ok(if reader.saved_steps()?.is_empty() && Claim::is_free(&self.root) {
            Found::Nothing
        } else if reader.layout().comparison().is_file() {
            Found::Finished
        } else {
            Found::Begun
        })
    }
}

impl Plan {
    fn finished(&self) -> Result<Tuned> {
        let reader = RunReader::open(&self.run)?;
        let layout = reader.layout();
        let comparison = reader.json::<Comparison>(&layout.comparison())?;
        let policy = reader.policy()?.map(|file| file.provenance);
        let last = reader.metrics::<MetricsLine>()?.pop();
        Ok(Tuned {
            run: self.run.clone(),
            evaluations: last.as_ref().map_or(0, |line| line.record.evaluations),
            elapsed_seconds: last.map_or(0.0, |line| line.elapsed_seconds),
            stop_reason: policy
                .as_ref()
                .and_then(|policy| StopReason::named(&policy.stop_reason))
                .unwrap_or(StopReason::EvaluationsUsed),
            policy: policy.map(|_| layout.policy()),
            comparison,
        })
    }
}

impl Means {
    fn of<'a>(compared: impl Iterator<Item = &'a Comparison> + Clone) -> Self {
        let mean =
            |figures: Vec<f64>| (!figures.is_empty()).then(|| noisefind_core::statistics::mean(&figures));
        let judged =
            compared.clone().filter_map(|one| Some((one.base.success_rate?, one.tuned.success_rate?)));
        let (base, tuned) = judged.unzip();
        Self {
            standardised_gain: mean(compared.clone().filter_map(|one| one.standardised_gain).collect()),
            base_success_rate: mean(base),
            tuned_success_rate: mean(tuned),
            diversity_ratio: mean(compared.filter_map(|one| one.diversity_ratio).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_is_in_one_part_and_stays_there() {
        let parts = ["0/3", "1/3", "2/3"].map(|text| text.parse::<Shard>().unwrap());
        let prompts = (0..300).map(|number| format!("prompt {number}")).collect::<Vec<_>>();
        let sizes = parts.map(|part| prompts.iter().filter(|prompt| part.contains(prompt)).count());
        assert_eq!(sizes.iter().sum::<usize>(), 300);
        // Five standard deviations of a binomial with 300 trials of 1/3.
        assert!(sizes.iter().all(|size| size.abs_diff(100) < 41), "{sizes:?}");
        // The first 8 bytes of this one's hash are 2 modulo 3, by Python's hashlib.
        assert_eq!(parts.map(|part| part.contains("a green dog")), [false, false, true]);
        for text in ["3/3", "0/0", "1", "-1/3", "a/b"] {
            assert!(text.parse::<Shard>().unwrap_err().contains("expected I/N"), "{text}");
        }
    }
}

//! A list of prompts, each tuned in a run folder of its own; what is finished is not done again, what was stopped
//! goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use noisefind_core::run::StopReason;
use noisefind_rundir::{IfOccupied, RunReader, RunWriter, file_name_from_prompt};
use serde::Serialize;

use crate::config::{TuneOptions, checked_prompt};
use crate::error::{Error, Result};
use crate::evaluate::comparison::Comparison;
use crate::models::registry::ModelSource;
use crate::models::sha256;
use crate::observer::{Found, Observer};
use crate::record::MetricsLine;
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
    /// What should be drawn.
    pub prompt: String,
    /// Its run.
    #[serde(flatten)]
    pub tuned: Tuned,
}

/// One prompt whose rewards were missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptFailed {
    /// What should have been drawn.
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
/// Where the file holds no prompt or one twice, a run in the folder was made with other settings, or the model, the
/// scorer or the disk fails. What was done is kept, and the same request goes on with it.
pub fn tune_prompts(request: &PromptsRequest, observer: &mut dyn Observer) -> Result<PromptsTuned> {
    let stem = request.file.file_stem().unwrap_or_default();
    let out = request.out.clone().unwrap_or_else(|| Path::new("runs").join(stem));
    let plans = plans(request, &out)?;
    let (mut runs, mut failed) = (Vec::new(), Vec::new());
    for (at, plan) in plans.iter().enumerate() {
        if observer.interrupted() {
            break;
        }
        let found = plan.found()?;
        observer.prompt(at + 1, plans.len(), &plan.prompt, found);
        let tuned = match found {
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
    /// The text of its `config.toml`.
    config: String,
    run: PathBuf,
    if_occupied: IfOccupied,
}

/// Checks everything that can be checked before the first prompt is tuned.
fn plans(request: &PromptsRequest, out: &Path) -> Result<Vec<Plan>> {
    let source = ModelSource::of(&request.options.generation)?;
    let defaults = source.defaults()?;
    let mut shared = request.options.clone();
    let mut names = BTreeSet::new();
    let mut plans = Vec::new();
    for prompt in prompts(&request.file)? {
        let options = TuneOptions { prompt: Some(prompt.clone()), ..shared.clone() };
        let config = options
            .resolve_asking(&defaults, |config| source.ask_for_rewards(&config.generation, &config.prompt))?;
        // What a program recommended for the first prompt holds for all, so that it is asked once.
        shared.reward = Some(config.reward.clone());
        let options = TuneOptions { reward: shared.reward.clone(), ..options };
        let name = format!("{}-{}", file_name_from_prompt(&prompt), config.run.seed);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let is_ours =
            |name: &String| !names.contains(name) && !holds_another_prompt(&out.join(name), &prompt);
        let free = std::iter::once(name.clone()).chain(numbered).find(is_ours);
        let name = free.unwrap_or(name);
        let (run, config) = (out.join(&name), config.to_toml()?);
        names.insert(name);
        // Names are given to all, so that machines with other parts of the list agree on them.
        if request.shard.is_some_and(|shard| !shard.contains(&prompt)) {
            continue;
        }
        let plan = Plan { prompt, options, config, run, if_occupied: request.if_occupied };
        plan.found()?;
        plans.push(plan);
    }
    Ok(plans)
}

/// Whether the run in `folder` is for another prompt than `prompt`, whose folder has a name that begins alike.
fn holds_another_prompt(folder: &Path, prompt: &str) -> bool {
    let Ok(reader) = RunReader::open(folder) else { return false };
    let options = TuneOptions::parse(&reader.layout().config(), reader.config());
    options.is_ok_and(|options| options.prompt.as_deref() != Some(prompt))
}

/// The prompts of a file, in order.
fn prompts(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let refused = |reason: String| Error::Usage(format!("--prompts {}: {reason}", file.display()));
    let mut prompts = Vec::<(usize, &str)>::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let prompt = line.trim();
        if prompt.is_empty() || prompt.starts_with('#') {
            continue;
        }
        if let Some((first, _)) = prompts.iter().find(|(_, known)| *known == prompt) {
            return Err(refused(format!("line {} repeats line {first}; take one of them out", at + 1)));
        }
        prompts.push((at + 1, checked_prompt(prompt)?));
    }
    if prompts.is_empty() {
        return Err(refused("there is no prompt in it; write one a line".to_owned()));
    }
    Ok(prompts.into_iter().map(|(_, prompt)| prompt.to_owned()).collect())
}

impl Plan {
    fn found(&self) -> Result<Found> {
        if self.if_occupied == IfOccupied::Replace || !self.run.join("config.toml").is_file() {
            return Ok(Found::Nothing);
        }
        let reader = RunReader::open(&self.run)?;
        // Samples may be recorded before the first step is saved.
        if reader.saved_steps()?.is_empty() && RunWriter::check(&self.run, IfOccupied::Refuse).is_ok() {
            return Ok(Found::Nothing);
        }
        if reader.config() != self.config {
            let differs =
                self.config.lines().zip(reader.config().lines()).find(|(ours, theirs)| ours != theirs);
            let (ours, theirs) = differs.unwrap_or_default();
            return Err(Error::Usage(format!(
                "{} was made with other settings (`{theirs}` there, `{ours}` here); choose another --out, or replace \
                 all runs with --force",
                self.run.display()
            )));
        }
        Ok(if reader.layout().comparison().is_file() { Found::Finished } else { Found::Begun })
    }

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

    #[test]
    fn comments_and_blank_lines_are_skipped_and_a_prompt_twice_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.txt");
        fs::write(&file, "\u{feff}# animals\n\n a dog \r\na cat\n").unwrap();
        assert_eq!(prompts(&file).unwrap(), ["a dog", "a cat"]);
        fs::write(&file, "a dog\n# again\na dog\n").unwrap();
        let message = prompts(&file).unwrap_err().to_string();
        assert!(message.ends_with("line 3 repeats line 1; take one of them out"), "{message}");
        fs::write(&file, "# nothing\n").unwrap();
        assert!(prompts(&file).unwrap_err().to_string().contains("there is no prompt in it"));
    }
}

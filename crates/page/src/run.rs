//! One run as a page shows it.

use std::collections::BTreeMap;
use std::path::Path;

use noisefind_rundir::{Layout, records};
use serde::Serialize;

use crate::catalogue::{RunState, Summary, summarise};
use crate::comparison::{ComparisonView, Estimate};
use crate::error::Result;
use crate::folder::{Folder, TEXT_LIMIT};
use crate::image_key::{ImageKey, sampled_folder};
use crate::images::{self, ImageFiles};
use crate::records::{ComparisonRecord, HEADER_LIMIT, HeldOutRecord, JournalLine, MetricsLine, PolicyHeader};

/// Everything about one run but the bytes of its images.
#[derive(Clone, Debug, Serialize)]
pub struct RunView {
    /// What the list shows.
    pub summary: Summary,
    /// The steps so far.
    pub steps: Vec<Step>,
    /// The samples of the step that is not done yet.
    pub pending: Vec<PendingSample>,
    /// Base against tuned; absent while the run goes on.
    pub comparison: Option<ComparisonView>,
    /// Base beside tuned, in order of the seeds.
    pub pairs: Vec<Pair>,
    /// Samples that were generated and scored while tuning, as far as their images are saved.
    pub evaluated: Vec<StepImages>,
    /// The best samples of the run.
    pub best: Vec<ScoredImage>,
    /// Generated afterwards from the policy, in order of the calls.
    pub sampled: Vec<Sampled>,
    /// Components of the policy's mixture; absent while there is no policy.
    pub components: Option<u64>,
    /// Each different warning, in the order in which they came.
    pub warnings: Vec<String>,
    /// Why tuning stopped, in a sentence that begins with "stopped because".
    pub stop_reason: Option<String>,
    /// The text of `config.toml`.
    pub config: String,
    /// What the run depends on that is no setting: name and value.
    pub environment: Vec<(String, String)>,
    /// What to type for it.
    pub commands: Commands,
}

/// One step of the method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: u32,
    /// Samples generated and scored so far.
    pub evaluations: u64,
    /// Seconds since the run began.
    pub elapsed_seconds: f64,
    /// Mean reward with its 95 % interval by Student's t.
    pub reward: Estimate,
    /// In standard deviations of the baseline above its mean.
    pub standardised_gain: Option<f64>,
    /// Best single reward of the run so far.
    pub best_reward: Option<f64>,
    /// Divergence of the policy, in nats.
    pub kl_nats: Option<f64>,
    /// Mean pairwise distance of the samples of this step, 0 to 1.
    pub diversity: Option<f64>,
    /// Samples generated and scored a second since the step before.
    pub evaluations_per_second: Option<f64>,
    /// Share of the rewards' variance that was predicted before they were learnt from.
    pub predictive_r2: Option<f64>,
    /// Missing rewards of this step.
    pub missing: u64,
    /// The rewards in order of the samples' index; `null` is missing.
    pub rewards: Vec<Option<f64>>,
    /// Each held-out scorer.
    pub held_out: Vec<HeldOutRecord>,
}

/// A sample of the step that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PendingSample {
    /// The step that it will belong to, from 1.
    pub step: u32,
    /// Its number in the step, from 0.
    pub index: u32,
    /// Its reward, where there is one scorer and it gave one.
    pub reward: Option<f64>,
}

/// The same seed under the model as it is and under the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The seed, as text: it may exceed what JavaScript counts exactly.
    pub seed: String,
    /// Component of the mixture that draws this seed.
    pub component: Option<u64>,
    /// The model as it is.
    pub base: Option<ScoredImage>,
    /// The policy.
    pub tuned: Option<ScoredImage>,
}

/// An image with what scorers said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredImage {
    /// To ask for it by.
    pub key: String,
    /// Whether it moves.
    pub clip: bool,
    /// Its reward.
    pub reward: Option<f64>,
    /// Whether the judge accepted it.
    pub success: Option<bool>,
}

/// The saved images of one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepImages {
    /// From 1.
    pub step: u32,
    /// Indices of the samples that have an image.
    pub indices: Vec<u32>,
    /// Whether they move.
    pub clip: bool,
}

/// The samples of one later call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampled {
    /// The call, from 1.
    pub call: u32,
    /// To ask for it by.
    pub key: String,
    /// The seed, as text.
    pub seed: String,
    /// Component of the mixture that draws this seed.
    pub component: Option<u64>,
    /// Whether it moves.
    pub clip: bool,
}

/// What to type to do it again, from the folder that is served.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Commands {
    /// Repeats the run.
    pub repeat: String,
    /// Goes on with it.
    pub resume: String,
    /// Samples from its policy.
    pub sample: String,
}

/// Reads the run in `folder`. What is damaged is left out and said among the warnings.
///
/// # Errors
/// Where the folder is not a run.
pub fn read_run(folder: &Folder, summary: Summary) -> Result<RunView> {
    let layout = Layout::new("");
    let mut damage = Vec::new();
    let lines = or_damage(&mut damage, metrics(folder)).unwrap_or_default();
    let comparison = or_damage(&mut damage, comparison(folder)).flatten();
    let header = folder.read_start(&layout.policy(), HEADER_LIMIT).ok();
    let header = header.and_then(|start| PolicyHeader::parse(&start));
    let components = header.as_ref().map(|header| header.components);
    let images = or_damage(&mut damage, images::list(folder, Path::new("images"), ImageKey::of_image));
    let images = images.unwrap_or_default();
    let evaluated = images::list(folder, Path::new("samples"), ImageKey::of_evaluated);
    let evaluated = by_step(or_damage(&mut damage, evaluated).unwrap_or_default());
    let sampled = or_damage(&mut damage, sampled(folder, components)).unwrap_or_default();
    let warned = lines.iter().flat_map(|line| &line.warnings).cloned();
    Ok(RunView {
        pairs: pairs(folder, &images, components),
        best: best(&images, &lines),
        pending: or_damage(&mut damage, pending(folder, &lines)).unwrap_or_default(),
        steps: steps(&lines),
        comparison: comparison.map(ComparisonView::from),
        evaluated,
        sampled,
        components,
        warnings: distinct(damage.into_iter().chain(warned)),
        stop_reason: header.and_then(|header| header.stop_reason).and_then(|name| why(&name)),
        config: folder.text(&layout.config())?.unwrap_or_default(),
        environment: environment(folder),
        commands: commands(folder.path()),
        summary,
    })
}

/// Reads a finished run that is not part of a list, with the content of its `comparison.json`.
///
/// # Errors
/// Where the folder is not a run, or the comparison is none.
pub(crate) fn read_single(folder: &Folder, comparison: &[u8]) -> Result<RunView> {
    let compared = parse_comparison(comparison)?;
    let name = folder.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let summary = summarise(folder, &name, RunState::Finished)?.compared(&compared);
    let mut view = read_run(folder, summary)?;
    view.comparison = Some(ComparisonView::from(compared));
    Ok(view)
}

/// All whole lines of `metrics.jsonl`.
pub(crate) fn metrics(folder: &Folder) -> Result<Vec<MetricsLine>> {
    let path = Layout::new("").metrics();
    match folder.read(&path, TEXT_LIMIT) {
        Ok(bytes) => Ok(records(&path, &bytes)?),
        Err(error) if error.is_absent() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The samples in the journal that belong to no step of `lines` yet.
pub(crate) fn pending(folder: &Folder, lines: &[MetricsLine]) -> Result<Vec<PendingSample>> {
    let path = Layout::new("").rewards();
    let bytes = match folder.read(&path, TEXT_LIMIT) {
        Err(error) if error.is_absent() => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let done = lines.last().map_or(0, |line| line.step);
    let reward = |rewards: &[serde_json::Value]| match rewards {
        [reward] => reward.as_f64(),
        _ => None,
    };
    let journal = records::<JournalLine>(&path, &bytes)?;
    let of_step = journal.iter().filter(|line| line.phase == "tuning" && line.step == done);
    let sample = |line: &JournalLine| PendingSample {
        step: done + 1,
        index: line.key.index,
        reward: reward(&line.rewards),
    };
    Ok(of_step.map(sample).collect())
}

/// `comparison.json`, where the run has one.
pub(crate) fn comparison(folder: &Folder) -> Result<Option<ComparisonRecord>> {
    let text = folder.text(&Layout::new("").comparison())?;
    text.map(|text| parse_comparison(text.as_bytes())).transpose()
}

fn parse_comparison(bytes: &[u8]) -> Result<ComparisonRecord> {
    let path = Layout::new("").comparison();
    serde_json::from_slice(bytes)
        .map_err(|error| noisefind_rundir::Error::Invalid { path, reason: error.to_string() }.into())
}

fn or_damage<T>(damage: &mut Vec<String>, read: Result<T>) -> Option<T> {
    read.map_err(|error| damage.push(format!("this part of the run cannot be read: {error}"))).ok()
}

fn distinct(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::<String>::new();
    for warning in warnings {
        if !all.contains(&warning) {
            all.push(warning);
        }
    }
    all
}

fn steps(lines: &[MetricsLine]) -> Vec<Step> {
    let mut before = (0, 0.0);
    let step = |line: &MetricsLine| {
        let seconds = line.elapsed_seconds - before.1;
        let rate = line.evaluations.saturating_sub(before.0) as f64 / seconds;
        before = (line.evaluations, line.elapsed_seconds);
        Step {
            step: line.step,
            evaluations: line.evaluations,
            elapsed_seconds: line.elapsed_seconds,
            reward: Estimate { value: line.reward_mean, interval: interval(line) },
            standardised_gain: line.standardised_gain,
            best_reward: line.best_reward,
            kl_nats: line.kl_nats,
            diversity: line.diversity,
            evaluations_per_second: Some(rate).filter(|rate| rate.is_finite() && seconds > 0.0),
            predictive_r2: line.predictive_r2,
            missing: line.missing,
            rewards: line.rewards.clone(),
            held_out: line.held_out.clone(),
        }
    };
    lines.iter().map(step).collect()
}

/// Mean plus and minus `t s / sqrt(n)`.
fn interval(line: &MetricsLine) -> Option<[f64; 2]> {
    let (mean, spread) = (line.reward_mean?, line.reward_std?);
    let count = line.rewards.iter().flatten().count();
    let half = student_t_975(count.checked_sub(1)?)? * spread / (count as f64).sqrt();
    half.is_finite().then_some([mean - half, mean + half])
}

/// The 97.5 % quantile of Student's t; exact up to four degrees of freedom, else the expansion around the normal
/// quantile (Abramowitz and Stegun 26.7.5), which is within 0.3 % from five degrees on.
fn student_t_975(degrees: usize) -> Option<f64> {
    const Z: f64 = 1.959_963_984_540_054;
    let v = degrees as f64;
    match degrees {
        0 => None,
        1 => Some(12.706_204_736),
        2 => Some(4.302_652_730),
        3 => Some(3.182_446_305),
        4 => Some(2.776_445_105),
        _ => Some(
            Z + (Z.powi(3) + Z) / (4.0 * v)
                + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * v.powi(2))
                + (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / (384.0 * v.powi(3)),
        ),
    }
}

fn pairs(folder: &Folder, images: &BTreeMap<ImageKey, ImageFiles>, components: Option<u64>) -> Vec<Pair> {
    let mut pairs = BTreeMap::<u64, Pair>::new();
    for (key, files) in images {
        let (seed, is_base) = match key {
            ImageKey::Base(seed) => (*seed, true),
            ImageKey::Tuned(seed) => (*seed, false),
            _ => continue,
        };
        let inscription = images::inscription(folder, *key);
        let image = Some(ScoredImage {
            key: key.to_string(),
            clip: files.is_clip(),
            reward: inscription.reward,
            success: inscription.success,
        });
        let pair = pairs.entry(seed).or_insert_with(|| Pair {
            seed: seed.to_string(),
            component: component_of(seed, components),
            base: None,
            tuned: None,
        });
        if is_base { pair.base = image } else { pair.tuned = image }
    }
    pairs.into_values().collect()
}

/// The components take turns by seed, as the method says.
fn component_of(seed: u64, components: Option<u64>) -> Option<u64> {
    components.and_then(|count| seed.checked_rem(count))
}

fn best(images: &BTreeMap<ImageKey, ImageFiles>, lines: &[MetricsLine]) -> Vec<ScoredImage> {
    let reward = |step: u32, index: u32| {
        let line = lines.iter().find(|line| line.step == step)?;
        *line.rewards.get(index as usize)?
    };
    let scored = images.iter().filter_map(|(key, files)| match key {
        ImageKey::Best(step, index) => Some(ScoredImage {
            key: key.to_string(),
            clip: files.is_clip(),
            reward: reward(*step, *index),
            success: None,
        }),
        _ => None,
    });
    let mut scored = scored.collect::<Vec<_>>();
    scored.sort_by(|one, two| two.reward.unwrap_or(f64::MIN).total_cmp(&one.reward.unwrap_or(f64::MIN)));
    scored
}

fn by_step(images: BTreeMap<ImageKey, ImageFiles>) -> Vec<StepImages> {
    let mut steps = Vec::<StepImages>::new();
    for (key, files) in images {
        let ImageKey::Evaluated(step, index) = key else { continue };
        match steps.last_mut().filter(|last| last.step == step) {
            Some(last) => last.indices.push(index),
            None => steps.push(StepImages { step, indices: vec![index], clip: files.is_clip() }),
        }
    }
    steps
}

fn sampled(folder: &Folder, components: Option<u64>) -> Result<Vec<Sampled>> {
    let mut all = Vec::new();
    for entry in folder.entries(Path::new("sampled"))? {
        let Some(call) = entry.name.parse::<u32>().ok().filter(|_| entry.is_folder) else { continue };
        let key_of = |stem: &str| Some(ImageKey::Sampled(call, stem.strip_prefix("seed-")?.parse().ok()?));
        for (key, files) in images::list(folder, &sampled_folder(call), key_of)? {
            let ImageKey::Sampled(_, seed) = key else { continue };
            all.push(Sampled {
                call,
                key: key.to_string(),
                seed: seed.to_string(),
                component: component_of(seed, components),
                clip: files.is_clip(),
            });
        }
    }
    Ok(all)
}

fn environment(folder: &Folder) -> Vec<(String, String)> {
    let text = folder.text(&Layout::new("").environment()).ok().flatten().unwrap_or_default();
    let Ok(serde_json::Value::Object(entries)) = serde_json::from_str(&text) else { return Vec::new() };
    let line = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Array(values) => {
            let texts = values.iter().filter_map(serde_json::Value::as_str);
            Some(texts.collect::<Vec<_>>().join(", "))
        }
        _ => None,
    };
    let pairs = entries.iter().filter_map(|(key, value)| Some((key.replace('_', " "), line(value)?)));
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

/// As the program says it in a sentence that begins with "stopped because".
fn why(name: &str) -> Option<String> {
    let reason = match name {
        "" => return None,
        "evaluations-used" => "the budget is used up",
        "plateau" => "the reward stopped rising",
        "held-out-fell" => "a held-out scorer fell; the policy is the best from before the fall",
        "seconds-used" => "the time is used up",
        "interrupted" => "it was interrupted",
        other => other,
    };
    Some(reason.to_owned())
}

fn commands(run: &Path) -> Commands {
    let quoted = |path: &Path| quote(&path.to_string_lossy());
    Commands {
        repeat: format!("noisefind tune --config {}", quoted(&run.join("config.toml"))),
        resume: format!("noisefind tune --resume {}", quoted(run)),
        sample: format!("noisefind sample {} -n 16", quoted(run)),
    }
}

/// One word for a shell.
pub fn quote(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:,+@".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_of_student_are_those_of_the_tables() {
        for (degrees, expected) in [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (15, 2.131), (60, 2.000)]
        {
            let found = student_t_975(degrees).unwrap();
            assert!((found / expected - 1.0).abs() < 3e-3, "{degrees}: {found}");
        }
        assert_eq!(student_t_975(0), None);
    }

    #[test]
    fn samples_of_the_unfinished_step_are_pending() {
        let root = tempfile::tempdir().unwrap();
        let line = |phase: &str, step: u32, index: u32, reward: &str| {
            format!(
                "{{\"phase\":\"{phase}\",\"step\":{step},\"key\":{{\"seed\":0,\"iteration\":{step},\"index\":{index}}},\"rewards\":[{reward}]}}\n"
            )
        };
        let journal =
            [line("tuning", 0, 0, "0.5"), line("tuning", 1, 0, "0.25"), line("tuning", 1, 1, "\"blocked\"")];
        std::fs::write(root.path().join("rewards.jsonl"), journal.concat() + "{\"torn").unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let lines = [MetricsLine { step: 1, ..MetricsLine::default() }];
        let found = pending(&folder, &lines).unwrap();
        let sample = |index, reward| PendingSample { step: 2, index, reward };
        assert_eq!(found, [sample(0, Some(0.25)), sample(1, None)]);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("runs/a-dog"), "runs/a-dog");
        assert_eq!(quote("a dog's"), r"'a dog'\''s'");
        assert_eq!(quote("$(rm)"), "'$(rm)'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn speed_is_told_between_steps() {
        let line = |step, evaluations, elapsed_seconds| MetricsLine {
            step,
            evaluations,
            elapsed_seconds,
            ..MetricsLine::default()
        };
        let steps = steps(&[line(1, 16, 8.0), line(2, 32, 12.0), line(3, 48, 12.0)]);
        let rates = steps.iter().map(|step| step.evaluations_per_second).collect::<Vec<_>>();
        assert_eq!(rates, [Some(2.0), Some(4.0), None]);
    }
}

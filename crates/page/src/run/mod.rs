//! One run as a page shows it.

mod gallery;
mod steps;

use std::path::Path;

use noisefind_core::run::StopReason;
use noisefind_rundir::Layout;
use serde::Serialize;

use crate::catalogue::{RunState, Summary, summarise};
use crate::comparison::ComparisonView;
use crate::error::Result;
use crate::folder::Folder;
use crate::image_key::ImageKey;
use crate::images;
use crate::records::{ComparisonRecord, HEADER_LIMIT, PolicyHeader};

pub use gallery::{Pair, Sampled, ScoredImage, StepImages};
pub use steps::{PendingSample, Step};
pub(crate) use steps::{metrics, pending};

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
    let evaluated = gallery::by_step(or_damage(&mut damage, evaluated).unwrap_or_default());
    let sampled = or_damage(&mut damage, gallery::sampled(folder, components)).unwrap_or_default();
    let warned = lines.iter().flat_map(|line| &line.warnings).cloned();
    Ok(RunView {
        pairs: gallery::pairs(folder, &images, components),
        best: gallery::best(&images, &lines),
        pending: or_damage(&mut damage, pending(folder, &lines)).unwrap_or_default(),
        steps: steps::steps(&lines),
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
    let known = StopReason::named(name).map(StopReason::why);
    (!name.is_empty()).then(|| known.unwrap_or(name).to_owned())
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
    fn reasons_are_those_of_the_program_and_unknown_ones_are_shown_as_they_are() {
        assert_eq!(why("policy-succeeds").as_deref(), Some(StopReason::PolicySucceeds.why()));
        assert_eq!(why("of-another-version").as_deref(), Some("of-another-version"));
        assert_eq!(why(""), None);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("runs/a-dog"), "runs/a-dog");
        assert_eq!(quote("a dog's"), r"'a dog'\''s'");
        assert_eq!(quote("$(rm)"), "'$(rm)'");
        assert_eq!(quote(""), "''");
    }
}

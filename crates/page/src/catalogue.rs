//! All runs of a folder: found by looking, named by ids that are no paths, and read again only where a file changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use noisefind_rundir::{Layout, is_being_written};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::folder::{Folder, Stamp};
use crate::image_key::ImageKey;
use crate::images;
use crate::records::{ComparisonRecord, MetricsLine, Settings};
use crate::run::{self, RunView, comparison, metrics, read_run};

/// How many folders below the one that is served a run may lie: runs of a list have a folder of their own.
const DEPTH: usize = 3;
/// Most runs that are listed.
const RUN_LIMIT: usize = 20_000;

/// Names a run: the beginning of the hash of where it lies, 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(u64);

impl RunId {
    fn of(path: &Path) -> Self {
        let hash = Sha256::digest(path.to_string_lossy().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:016x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let id = Self(u64::from_str_radix(text, 16).map_err(|_| ())?);
        // Only one spelling is an id.
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It is being tuned or compared.
    Running,
    /// It has a comparison.
    Finished,
    /// It ended before its comparison and can go on.
    Stopped,
}

/// What the list shows of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its id.
    pub id: RunId,
    /// Its folder, relative to the one that is served.
    pub name: String,
    /// What it is doing.
    pub state: RunState,
    /// What the samples should show.
    pub prompt: String,
    /// Name or folder of the model.
    pub model: String,
    /// `find`, `paper` or another.
    pub method: String,
    /// The optimised scorers.
    pub reward: String,
    /// Names every random number of the run.
    pub seed: Option<i64>,
    /// When it began, in UTC.
    pub started: Option<String>,
    /// Last change of its records, in seconds since 1970.
    pub changed: f64,
    /// Steps done.
    pub steps: u32,
    /// Samples generated and scored so far.
    pub evaluations: u64,
    /// Samples that it may generate and score.
    pub budget: Option<i64>,
    /// Seconds that tuning took so far.
    pub elapsed_seconds: f64,
    /// Mean reward of the last step.
    pub reward_mean: Option<f64>,
    /// Gain in standard deviations of the baseline: of the comparison, or of the last step while there is none.
    pub gain: Option<f64>,
    /// Success rate of the model as it is.
    pub success_base: Option<f64>,
    /// Success rate of the policy.
    pub success_tuned: Option<f64>,
    /// Diversity of the tuned arm over that of the base arm.
    pub diversity_ratio: Option<f64>,
    /// Divergence of the policy, in nats.
    pub kl_nats: Option<f64>,
    /// The image that stands for the run.
    pub thumbnail: Option<String>,
    /// What cannot be read of it.
    pub problem: Option<String>,
}

impl Summary {
    /// With the figures of the comparison.
    pub(crate) fn compared(self, compared: &ComparisonRecord) -> Self {
        Self {
            gain: compared.standardised_gain,
            success_base: compared.base.success_rate,
            success_tuned: compared.tuned.success_rate,
            diversity_ratio: compared.diversity_ratio,
            kl_nats: compared.kl_nats,
            ..self
        }
    }
}

/// The runs of one folder.
pub struct Catalogue {
    root: PathBuf,
    known: HashMap<RunId, Known>,
}

struct Known {
    /// Relative to the root.
    path: PathBuf,
    stamps: [Option<Stamp>; 4],
    summary: Summary,
}

impl Catalogue {
    /// A catalogue that has not looked yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), known: HashMap::new() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks again; returns the runs that are new or changed and the ids of those that are gone.
    ///
    /// # Errors
    /// Where the folder itself cannot be read.
    pub fn refresh(&mut self) -> Result<(Vec<Summary>, Vec<RunId>)> {
        let root = Folder::open(&self.root)?;
        let mut paths = Vec::new();
        find_runs(&root, Path::new(""), DEPTH, &mut paths);
        let mut known = HashMap::with_capacity(paths.len());
        let mut changed = Vec::new();
        for path in paths {
            let id = RunId::of(&path);
            let before = self.known.remove(&id);
            let Ok(folder) = root.inner(&path) else { continue };
            let layout = Layout::new("");
            let stamps = [layout.config(), layout.metrics(), layout.comparison(), layout.rewards()]
                .map(|file| folder.stamp(&file));
            let state = state(&folder, stamps[2].is_some());
            let summary = match &before {
                Some(before) if before.stamps == stamps && before.summary.state == state => {
                    before.summary.clone()
                }
                _ => match summarise(&folder, &path.to_string_lossy(), state) {
                    Ok(summary) => summary,
                    // It was removed between two looks.
                    Err(_) => continue,
                },
            };
            if before.is_none_or(|before| before.summary != summary) {
                changed.push(summary.clone());
            }
            known.insert(id, Known { path, stamps, summary });
        }
        let gone = self.known.drain().map(|(id, _)| id).collect();
        self.known = known;
        Ok((changed, gone))
    }

    /// All runs of the last look, the newest first.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut all = self.known.values().map(|known| known.summary.clone()).collect::<Vec<_>>();
        all.sort_by(|one, two| two.changed.total_cmp(&one.changed).then_with(|| one.name.cmp(&two.name)));
        all
    }

    /// The folder of a run of the last look.
    pub fn folder(&self, id: RunId) -> Option<Result<Folder>> {
        let known = self.known.get(&id)?;
        Some(Folder::open(&self.root).and_then(|root| root.inner(&known.path)))
    }

    /// What the list shows of a run of the last look.
    pub fn summary(&self, id: RunId) -> Option<&Summary> {
        Some(&self.known.get(&id)?.summary)
    }

    /// Everything about a run of the last look.
    pub fn run(&self, id: RunId) -> Option<Result<RunView>> {
        let summary = self.summary(id)?.clone();
        Some(self.folder(id)?.and_then(|folder| read_run(&folder, summary)))
    }
}

/// Folders with a config, at most `depth` folders down; nothing is looked for inside a run.
fn find_runs(root: &Folder, path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = root.entries(path) else { return };
    if !path.as_os_str().is_empty() && entries.iter().any(|entry| entry.name == "config.toml") {
        found.push(path.to_owned());
        return;
    }
    let folders = entries.iter().filter(|entry| entry.is_folder && !entry.name.starts_with('.'));
    for entry in folders {
        if depth > 0 && found.len() < RUN_LIMIT {
            find_runs(root, &path.join(&entry.name), depth - 1, found);
        }
    }
}

fn state(folder: &Folder, is_compared: bool) -> RunState {
    match is_compared {
        true => RunState::Finished,
        false if is_being_written(&Layout::new(folder.path())) => RunState::Running,
        false => RunState::Stopped,
    }
}

/// Reads what the list shows of the run in `folder`.
///
/// # Errors
/// Where it is not a run.
pub(crate) fn summarise(folder: &Folder, name: &str, state: RunState) -> Result<Summary> {
    let layout = Layout::new("");
    let config = folder.read(&layout.config(), crate::folder::TEXT_LIMIT)?;
    let settings = Settings::parse(&String::from_utf8_lossy(&config));
    let (lines, problem) = match metrics(folder) {
        Ok(lines) => (lines, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let last = lines.last().cloned().unwrap_or_else(MetricsLine::default);
    let pending = match state {
        RunState::Finished => 0,
        _ => run::pending(folder, &lines).map_or(0, |samples| samples.len() as u64),
    };
    let changed = [layout.config(), layout.metrics(), layout.comparison(), layout.rewards()];
    let changed =
        changed.iter().filter_map(|file| folder.stamp(file)).map(|stamp| stamp.modified_nanos).max();
    let text = |key: &str| settings.text(key).unwrap_or_default().to_owned();
    let summary = Summary {
        id: RunId::of(Path::new(name)),
        name: name.to_owned(),
        state,
        prompt: text("prompt"),
        model: text("model"),
        method: settings.method().unwrap_or_default().to_owned(),
        reward: settings.reward().unwrap_or_default(),
        seed: settings.integer("seed"),
        started: started(folder),
        changed: changed.unwrap_or_default() as f64 / 1e9,
        steps: last.step,
        evaluations: last.evaluations + pending,
        budget: settings.integer("evaluations"),
        elapsed_seconds: last.elapsed_seconds,
        reward_mean: last.reward_mean,
        gain: last.standardised_gain,
        success_base: None,
        success_tuned: None,
        diversity_ratio: None,
        kl_nats: last.kl_nats,
        thumbnail: thumbnail(folder, &lines),
        problem,
    };
    Ok(match comparison(folder).ok().flatten() {
        Some(compared) => summary.compared(&compared),
        None => summary,
    })
}

fn started(folder: &Folder) -> Option<String> {
    let text = folder.text(&Layout::new("").environment()).ok()??;
    let environment: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(environment.get("started")?.as_str()?.to_owned()).filter(|started| !started.is_empty())
}

/// The first tuned sample; while there is none, the best sample so far.
fn thumbnail(folder: &Folder, lines: &[MetricsLine]) -> Option<String> {
    let all: BTreeMap<_, _> = images::list(folder, Path::new("images"), ImageKey::of_image).ok()?;
    let tuned = all.keys().find(|key| matches!(key, ImageKey::Tuned(_)));
    let reward = |key: &ImageKey| match key {
        ImageKey::Best(step, index) => {
            let line = lines.iter().find(|line| line.step == *step);
            line.and_then(|line| *line.rewards.get(*index as usize)?).unwrap_or(f64::MIN)
        }
        _ => f64::MIN,
    };
    let best = all
        .keys()
        .filter(|key| matches!(key, ImageKey::Best(..)))
        .max_by(|one, two| reward(one).total_cmp(&reward(two)));
    tuned.or(best).map(ImageKey::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_run(root: &Path, name: &str) {
        let run = root.join(name);
        std::fs::create_dir_all(run.join("images")).unwrap();
        std::fs::write(run.join("config.toml"), format!("prompt = \"{name}\"\nevaluations = 32\n")).unwrap();
        std::fs::write(run.join("metrics.jsonl"), "{\"step\":1,\"evaluations\":16,\"reward_mean\":0.5}\n")
            .unwrap();
    }

    #[test]
    fn runs_are_found_at_any_depth_and_changes_are_told_once() {
        let root = tempfile::tempdir().unwrap();
        make_run(root.path(), "one");
        make_run(root.path(), "list/two");
        make_run(root.path(), "one/images/not-a-run");
        let mut catalogue = Catalogue::new(root.path());
        let (changed, gone) = catalogue.refresh().unwrap();
        let mut names = changed.iter().map(|summary| summary.name.as_str()).collect::<Vec<_>>();
        names.sort_unstable();
        assert_eq!((names, gone), (vec!["list/two", "one"], vec![]));
        assert_eq!(catalogue.refresh().unwrap(), (vec![], vec![]));
        let line = "{\"step\":1,\"evaluations\":16}\n{\"step\":2,\"evaluations\":32}\n{\"torn";
        std::fs::write(root.path().join("one/metrics.jsonl"), line).unwrap();
        let (changed, _) = catalogue.refresh().unwrap();
        assert_eq!((changed.len(), changed[0].evaluations, changed[0].steps), (1, 32, 2));
        std::fs::remove_dir_all(root.path().join("list")).unwrap();
        let (changed, gone) = catalogue.refresh().unwrap();
        assert_eq!((changed, gone), (vec![], vec![RunId::of(Path::new("list/two"))]));
    }

    #[test]
    fn a_damaged_run_is_listed_with_its_problem() {
        let root = tempfile::tempdir().unwrap();
        make_run(root.path(), "one");
        std::fs::write(root.path().join("one/metrics.jsonl"), "nonsense\n").unwrap();
        std::fs::write(root.path().join("one/comparison.json"), "{").unwrap();
        let mut catalogue = Catalogue::new(root.path());
        let (changed, _) = catalogue.refresh().unwrap();
        assert!(changed[0].problem.as_ref().unwrap().contains("line 1 is not a record"));
        let view = catalogue.run(changed[0].id).unwrap().unwrap();
        assert_eq!(view.warnings.len(), 2, "{:?}", view.warnings);
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        let id = RunId::of(Path::new("one"));
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "..", "+000000000000001", "1", "00000000000000AB", "../../../../etc"] {
            assert_eq!(text.parse::<RunId>(), Err(()), "{text}");
        }
    }
}

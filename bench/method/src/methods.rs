//! Everything that is compared, by name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use noisefind::core::config::{
    FindConfig, FindPart, MethodConfig, PaperConfig, RandomSearchConfig, ResultPolicy, RunConfig,
};
use noisefind::core::method::{Method as Learner, Start};
use noisefind::core::noise::NoiseShape;

use crate::baselines::{PairedReward, Released, SeparableNes};

/// A method under the name that records and tables use.
pub struct Method {
    /// The name.
    pub name: String,
    /// How a policy is learnt.
    pub recipe: Recipe,
}

/// How a policy is learnt.
pub enum Recipe {
    /// Not at all: `N(0, I)`, and best-of-n picked from it.
    Base,
    /// By a run with these settings; budget and seed are set for each cell.
    Run {
        /// Settings of the run.
        run: RunConfig,
        /// What learns.
        method: Source,
        /// Which policy is measured.
        outcome: Outcome,
    },
    /// As `find` with its defaults, but rewards are random numbers: what is gained by picking noises blindly.
    RandomPick,
}

/// Where a method comes from.
#[derive(Clone)]
pub enum Source {
    /// It is one of noisefind's.
    Config(MethodConfig),
    /// It is one of this program's, with its own batch size.
    Own(fn(Start) -> Box<dyn Learner>, fn(NoiseShape) -> usize),
}

/// Which policy of a run is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result of the run.
    Result,
    /// What the last update made, as the baselines define it.
    Last,
}

impl Source {
    /// The method before its first batch.
    pub fn start(
        &self,
        start: Start,
        success_reward: Option<f64>,
    ) -> noisefind::core::Result<Box<dyn Learner>> {
        match self {
            Self::Config(config) => config.clone().or_success_reward(success_reward).start(start),
            Self::Own(new, _) => Ok(new(start)),
        }
    }

    /// The reward of right images that the method knows, where `of_model` is what the model tells of its own scorer.
    pub fn success_reward(&self, of_model: Option<f64>) -> Option<f64> {
        match self {
            Self::Config(config) => config.clone().or_success_reward(of_model).success_reward(),
            Self::Own(..) => None,
        }
    }
}

/// The name of the untuned arm, which every other method is compared with.
pub const BASE: &str = "base";

/// The control of `find` whose rewards are random numbers.
pub const RANDOM_PICK: &str = "random-pick";

/// Parts of `find` with the names that their ablations have after `find-without-`.
const PARTS: [(&str, FindPart); 6] = [
    ("surrogate", FindPart::Surrogate),
    ("several-components", FindPart::SeveralComponents),
    ("success-threshold", FindPart::SuccessThreshold),
    ("kept-base", FindPart::KeptBase),
    ("success-stop", FindPart::SuccessStop),
    ("variance-preservation", FindPart::VariancePreservation),
];

/// Numbers of components beside the default.
pub const COMPONENTS: [usize; 4] = [1, 4, 16, 64];

/// All names.
pub fn names() -> Vec<String> {
    let fixed = [
        BASE,
        "find",
        RANDOM_PICK,
        "paper",
        "paper-tuned",
        "random-search",
        "snes",
        "released",
        "released-corrected",
    ];
    let of_find = PARTS.iter().map(|(name, _)| *name).chain(["plateau-stop", "best-policy"]);
    let of_find = of_find.map(|part| format!("find-without-{part}"));
    let of_find = of_find.chain(COMPONENTS.iter().map(|count| format!("find-components-{count}")));
    let of_paper = ["calibration", "ratio-clipping", "reuse"].map(|part| format!("paper-without-{part}"));
    let of_tuned =
        ["calibration", "ratio-clipping", "reuse"].map(|part| format!("paper-tuned-without-{part}"));
    fixed.map(str::to_owned).into_iter().chain(of_find).chain(of_paper).chain(of_tuned).collect()
}

impl Method {
    /// The method called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let recipe = match name {
            BASE => Recipe::Base,
            RANDOM_PICK => Recipe::RandomPick,
            "random-search" => {
                baseline(Source::Config(MethodConfig::RandomSearch(RandomSearchConfig::default())))
            }
            "snes" => baseline(Source::Own(
                |start| Box::new(SeparableNes::new(start.shape)),
                SeparableNes::batch_size,
            )),
            "released" => {
                baseline(Source::Own(|start| Box::new(Released::new(start, PairedReward::Oldest)), |_| 1))
            }
            "released-corrected" => {
                baseline(Source::Own(|start| Box::new(Released::new(start, PairedReward::Own)), |_| 1))
            }
            _ => match settings(name) {
                Some((run, method)) => Recipe::of(run, method),
                None => bail!("there is no method {name:?}; known are {}", names().join(", ")),
            },
        };
        Ok(Self { name: name.to_owned(), recipe })
    }

    /// The settings in a TOML file, under the name of the file.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let recipe = parse(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, recipe })
    }
}

impl Recipe {
    fn of(run: RunConfig, method: MethodConfig) -> Self {
        Self::Run { run, method: Source::Config(method), outcome: Outcome::Result }
    }
}

/// The keys of [`RunConfig`], and those of the method in the table `method`.
fn parse(text: &str) -> Result<Recipe> {
    let mut table: toml::Table = text.parse()?;
    let method = table.remove("method").map(toml::Value::try_into).transpose()?;
    Ok(Recipe::of(table.try_into()?, method.unwrap_or_default()))
}

/// A baseline has no early stop and no choice among its policies.
fn baseline(method: Source) -> Recipe {
    let run = RunConfig { plateau_iterations: 0, ..RunConfig::default() };
    Recipe::Run { run, method, outcome: Outcome::Last }
}

fn settings(name: &str) -> Option<(RunConfig, MethodConfig)> {
    let find = |find: FindConfig| (RunConfig::default(), MethodConfig::Find(find));
    // One sample an iteration and no early stop, as published.
    let paper = |paper: PaperConfig| {
        let run = RunConfig { batch_size: 1, plateau_iterations: 0, ..RunConfig::default() };
        (run, MethodConfig::Paper(paper))
    };
    // As the program runs it: the usual batch, and the whole budget.
    let tuned = |paper: PaperConfig| {
        (RunConfig { plateau_iterations: 0, ..RunConfig::default() }, MethodConfig::Paper(paper))
    };
    let (full_find, full_paper, full_tuned) =
        (FindConfig::default(), PaperConfig::default(), PaperConfig::tuned());
    Some(match name {
        "find" => find(full_find),
        "find-without-plateau-stop" => {
            (RunConfig { plateau_iterations: 0, ..RunConfig::default() }, MethodConfig::Find(full_find))
        }
        "find-without-best-policy" => {
            let run = RunConfig { result: ResultPolicy::Newest, ..RunConfig::default() };
            (run, MethodConfig::Find(full_find))
        }
        "paper-tuned" => tuned(full_tuned),
        "paper-tuned-without-calibration" => tuned(PaperConfig { calibration: false, ..full_tuned }),
        "paper-tuned-without-ratio-clipping" => tuned(PaperConfig { ratio_clipping: false, ..full_tuned }),
        "paper-tuned-without-reuse" => tuned(PaperConfig { reuse: false, ..full_tuned }),
        "paper" => paper(full_paper),
        "paper-without-calibration" => paper(PaperConfig { calibration: false, ..full_paper }),
        "paper-without-ratio-clipping" => paper(PaperConfig { ratio_clipping: false, ..full_paper }),
        "paper-without-reuse" => paper(PaperConfig { reuse: false, ..full_paper }),
        _ => {
            if let Some(count) = name.strip_prefix("find-components-") {
                let components = COMPONENTS.into_iter().find(|one| one.to_string() == count)?;
                return Some(find(FindConfig { components, ..full_find }));
            }
            let part = name.strip_prefix("find-without-")?;
            find(full_find.without(PARTS.iter().find(|(name, _)| *name == part)?.1))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use noisefind::core::policy::NoisePolicy;

    #[test]
    fn files_with_keys_of_earlier_versions_are_read() {
        let text = "batch_size = 8\n[method]\nname = \"find\"\nshare = 0.5\n";
        let Recipe::Run { run, method, .. } = parse(text).unwrap() else { panic!("a run") };
        assert_eq!(run.batch_size, 8);
        let find = FindConfig { radius: 0.5, ..FindConfig::default() };
        assert!(matches!(method, Source::Config(MethodConfig::Find(found)) if found == find));
        assert!(parse("batchsize = 8").err().unwrap().to_string().contains("batchsize"));
    }

    #[test]
    fn every_name_is_a_method_and_valid() {
        for name in names() {
            let Recipe::Run { run, method, .. } = Method::named(&name).unwrap().recipe else { continue };
            run.validate().unwrap();
            let start = Start::new(NoiseShape::image(1, 2, 2), 1);
            assert_eq!(
                *method.start(start, None).unwrap().policy(),
                NoisePolicy::standard(NoiseShape::image(1, 2, 2))
            );
            let default_method = MethodConfig::default();
            let is_default = run == RunConfig::default()
                && matches!(method, Source::Config(config) if config == default_method);
            assert!(name == "find" || !is_default, "{name} turns nothing off");
        }
        assert!(Method::named("fnd").err().unwrap().to_string().contains("random-search"));
    }
}

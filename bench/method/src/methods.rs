//! Everything that is compared, by name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use noisefind::core::config::{FindConfig, FindPart, MethodConfig, PaperConfig, ResultPolicy, RunConfig};
use noisefind::core::random_search::RandomSearch;

use crate::rivals::{PairedReward, Released, Rival, SeparableNes, Start};

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
    /// By the method itself, with these settings; budget and seed are set for each cell.
    Run(Box<RunConfig>),
    /// By a rival.
    Rival(fn(Start) -> Box<dyn Rival>),
}

/// The name of the untuned arm, which every other method is compared with.
pub const BASE: &str = "base";

/// Parts of `find` with the names that their ablations have after `find-without-`.
const PARTS: [(&str, FindPart); 3] = [
    ("landscape", FindPart::Landscape),
    ("several-gaussians", FindPart::SeveralGaussians),
    ("variance-preservation", FindPart::VariancePreservation),
];

/// All names.
pub fn names() -> Vec<String> {
    let fixed = [BASE, "find", "paper", "random-search", "snes", "released", "released-corrected"];
    let of_find = PARTS.iter().map(|(name, _)| *name).chain(["plateau-stop", "best-policy"]);
    let of_find = of_find.map(|part| format!("find-without-{part}"));
    let of_paper = ["calibration", "ratio-clipping", "reuse"].map(|part| format!("paper-without-{part}"));
    fixed.map(str::to_owned).into_iter().chain(of_find).chain(of_paper).collect()
}

impl Method {
    /// The method called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let recipe = match name {
            BASE => Recipe::Base,
            "random-search" => Recipe::Rival(|start| Box::new(RandomSearch::new(start.shape))),
            "snes" => Recipe::Rival(|start| Box::new(SeparableNes::new(start.shape))),
            "released" => Recipe::Rival(|start| Box::new(Released::new(start, PairedReward::Oldest))),
            "released-corrected" => Recipe::Rival(|start| Box::new(Released::new(start, PairedReward::Own))),
            _ => match run_config(name) {
                Some(config) => Recipe::Run(Box::new(config)),
                None => bail!("there is no method {name:?}; known are {}", names().join(", ")),
            },
        };
        Ok(Self { name: name.to_owned(), recipe })
    }

    /// The settings in a TOML file, under the name of the file.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let config: RunConfig = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, recipe: Recipe::Run(Box::new(config)) })
    }
}

fn run_config(name: &str) -> Option<RunConfig> {
    let find = |find: FindConfig| RunConfig { method: MethodConfig::Find(find), ..RunConfig::default() };
    // One picture an iteration, as published; the paper knows no early stop.
    let paper = |paper: PaperConfig| RunConfig {
        batch_size: 1,
        plateau_iterations: 0,
        method: MethodConfig::Paper(paper),
        ..RunConfig::default()
    };
    let (full_find, full_paper) = (FindConfig::default(), PaperConfig::default());
    Some(match name {
        "find" => find(full_find),
        "find-without-plateau-stop" => RunConfig { plateau_iterations: 0, ..find(full_find) },
        "find-without-best-policy" => RunConfig { result: ResultPolicy::Newest, ..find(full_find) },
        "paper" => paper(full_paper),
        "paper-without-calibration" => paper(PaperConfig { calibration: false, ..full_paper }),
        "paper-without-ratio-clipping" => paper(PaperConfig { ratio_clipping: false, ..full_paper }),
        "paper-without-reuse" => paper(PaperConfig { reuse: false, ..full_paper }),
        _ => {
            let part = name.strip_prefix("find-without-")?;
            find(full_find.without(PARTS.iter().find(|(name, _)| *name == part)?.1))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_method_and_valid() {
        for name in names() {
            if let Recipe::Run(config) = Method::named(&name).unwrap().recipe {
                config.validate().unwrap();
                assert!(name == "find" || *config != RunConfig::default(), "{name} turns nothing off");
            }
        }
        assert!(Method::named("fnd").err().unwrap().to_string().contains("random-search"));
    }
}

//! Policies of earlier runs with similar prompts, which a run can begin with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use noisefind_core::gaussian::Gaussian;
use noisefind_core::noise::NoiseShape;
use noisefind_core::policy::NoisePolicy;
use noisefind_rundir::PolicyFile;
use serde::Serialize;

use crate::config::TuneConfig;
use crate::error::{Error, Result};
use crate::models::hashes::ModelHashes;

/// Runs whose components are taken, the most similar prompts first.
const RUNS: usize = 4;
/// Components of a prior: each is sampled once in a batch of the usual size.
const COMPONENTS: usize = 16;
/// Least similarity of prompts: most that have less in common share no noises (`docs/experiments.md`).
const LEAST_SIMILARITY: f64 = 0.5;
/// Folders below the given one that are searched: those of lists of prompts have the runs one level deeper.
const LEVELS: usize = 2;

/// What a run begins with.
#[derive(Clone, Debug)]
pub struct Prior {
    /// The components of all runs.
    pub policy: NoisePolicy,
    /// Where they are from.
    pub runs: Vec<PriorRun>,
}

/// An earlier run that gave components.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriorRun {
    /// Its folder.
    pub run: PathBuf,
    /// Its prompt.
    pub prompt: String,
    /// Similarity of its prompt, from 0.5 to 1.
    pub similarity: f64,
}

impl Prior {
    /// The prior of `config` from the runs in `config.prior`; `None` where no folder is given, or no prompt is similar. Only
    /// policies of the same weights and settings count, and only those that left the base.
    ///
    /// # Errors
    /// Where the method begins with no prior, a folder or policy cannot be read, or no policy belongs to the model.
    pub fn of(config: &TuneConfig, model_sha256: &str, shape: NoiseShape) -> Result<Option<Self>> {
        let Some(folder) = &config.prior else { return Ok(None) };
        let refused = |reason: String| Error::Usage(format!("--prior {}: {reason}", folder.display()));
        if !config.method.takes_prior() {
            let method = config.method.name();
            return Err(refused(format!(
                "the method {method} begins with no prior; use --method find, or take --prior out"
            )));
        }
        let (generation, no_hash) = (config.generation.provenance(), ModelHashes::of_none().model);
        let belongs = |file: &PolicyFile| {
            let made = &file.provenance;
            made.model_sha256 == model_sha256
                && made.noise_shape == shape.dims()
                && made.generation == generation
                // Models that are run elsewhere have no hash.
                && (made.model == config.generation.model() || model_sha256 != no_hash)
        };
        let similarity = |file: &PolicyFile| similarity(&config.prompt, &file.provenance.prompt);
        let paths = policies_below(folder, LEVELS)?;
        let (found, mut belonging, mut files) = (paths.len(), 0, Vec::new());
        for path in paths {
            let file = PolicyFile::read(&path)?;
            if !belongs(&file) {
                continue;
            }
            belonging += 1;
            if file.provenance.kl_nats > 0.0 && similarity(&file) >= LEAST_SIMILARITY {
                files.push((path, file));
            }
        }
        if belonging == 0 {
            let (model, settings) = (config.generation.model(), "the settings of this run");
            return Err(refused(match found {
                0 => "there is no policy in it; give a folder of finished runs".to_owned(),
                1 => format!("the policy in it was not tuned with the model {model} and {settings}"),
                _ => format!(
                    "none of the {found} policies in it was tuned with the model {model} and {settings}"
                ),
            }));
        }
        files.sort_by(|(path, a), (other, b)| similarity(b).total_cmp(&similarity(a)).then(path.cmp(other)));
        files.truncate(RUNS);
        let policies = files.iter().map(|(_, file)| NoisePolicy::from_stacked(shape, &file.mu, &file.sigma));
        let policies: Vec<NoisePolicy> = policies.collect::<noisefind_core::Result<_>>()?;
        let components = in_turn(&policies);
        if components.is_empty() {
            return Ok(None);
        }
        let run = |(path, file): &(PathBuf, PolicyFile)| PriorRun {
            run: path.parent().unwrap_or(path).to_owned(),
            prompt: file.provenance.prompt.clone(),
            similarity: similarity(file),
        };
        let runs = files.iter().map(run).collect();
        Ok(Some(Self { policy: NoisePolicy::new(shape, components)?, runs }))
    }
}

/// The components of all policies: the first of each, then the second of each, and so on.
fn in_turn(policies: &[NoisePolicy]) -> Vec<Gaussian> {
    let most = policies.iter().map(|policy| policy.components().len()).max().unwrap_or(0);
    let all = (0..most).flat_map(|at| policies.iter().filter_map(move |policy| policy.components().get(at)));
    all.take(COMPONENTS).cloned().collect()
}

/// Words that both prompts have, over words that one of them has (the Jaccard index). The text encoder's embedding is no
/// better: it tells "a cat on the moon" from "a dog on the moon", on which the same noises succeed.
fn similarity(one: &str, other: &str) -> f64 {
    let words = |prompt: &str| -> BTreeSet<String> {
        let words = prompt.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let (one, other) = (words(one), words(other));
    one.intersection(&other).count() as f64 / one.union(&other).count().max(1) as f64
}

/// The policies of the runs in `folder`, which may be a run itself, in the order of their names.
fn policies_below(folder: &Path, levels: usize) -> Result<Vec<PathBuf>> {
    let own = folder.join("policy.safetensors");
    if own.is_file() {
        return Ok(vec![own]);
    }
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort_unstable();
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| levels > 0 && entry.is_dir()) {
        found.extend(policies_below(entry, levels - 1)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_the_part_of_the_words_in_common() {
        assert_eq!(similarity("a dog on the moon", "A dog, on the MOON."), 1.0);
        assert_eq!(similarity("a dog on the moon", "a fox on the moon"), 4.0 / 6.0);
        assert_eq!(similarity("four pandas", "a white car"), 0.0);
        assert_eq!(similarity("!", "?"), 0.0);
    }

    #[test]
    fn components_are_taken_in_turn() {
        let shape = NoiseShape::image(1, 1, 1);
        let gaussian = |mean: f32| Gaussian::new(vec![mean], vec![0.5]).unwrap();
        let policy = |means: &[f32]| {
            NoisePolicy::new(shape, means.iter().map(|&mean| gaussian(mean)).collect()).unwrap()
        };
        let all = in_turn(&[policy(&[0.1, 0.2, 0.3]), policy(&[0.4])]);
        assert_eq!(all, [0.1, 0.4, 0.2, 0.3].map(gaussian));
        assert_eq!(in_turn(&[]), []);
    }
}

//! The images of a run with what is known of each: pairs of one seed, the best, those of each step, later samples.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::folder::Folder;
use crate::image_key::{ImageKey, sampled_folder};
use crate::images::{self, ImageFiles};
use crate::records::MetricsLine;

/// The same seed under the model as it is and under the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The seed, as text: it may exceed what JavaScript counts exactly.
    pub seed: String,
    /// Component of the mixture that samples this seed.
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
    /// Component of the mixture that samples this seed.
    pub component: Option<u64>,
    /// Whether it moves.
    pub clip: bool,
}

pub(super) fn pairs(
    folder: &Folder,
    images: &BTreeMap<ImageKey, ImageFiles>,
    components: Option<u64>,
) -> Vec<Pair> {
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

pub(super) fn best(images: &BTreeMap<ImageKey, ImageFiles>, lines: &[MetricsLine]) -> Vec<ScoredImage> {
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

pub(super) fn by_step(images: BTreeMap<ImageKey, ImageFiles>) -> Vec<StepImages> {
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

pub(super) fn sampled(folder: &Folder, components: Option<u64>) -> Result<Vec<Sampled>> {
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

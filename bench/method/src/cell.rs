//! The record of one finished cell: a prompt, a method, a seed.

use std::collections::BTreeMap;

use noisefind::comparison::{Arm, Interval};
use serde::{Deserialize, Serialize};

use crate::learn::Point;
use crate::prompts::{Category, Half};

/// What was learnt, and what fresh images say of it. Gains are paired with the base cell of the same prompt and seed,
/// whose images come from the same noises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What tells this cell from others.
    #[serde(flatten)]
    pub key: Key,
    /// Category of the prompt.
    pub category: Category,
    /// Half of the list that the prompt belongs to.
    pub half: Half,
    /// Images generated and scored for learning.
    pub evaluations: usize,
    /// Seconds that learning took.
    pub learning_seconds: f64,
    /// Why learning stopped.
    pub stop_reason: String,
    /// How the reward rose while learning.
    pub curve: Vec<Point>,
    /// Divergence of the policy from N(0, I), in nats; null where no noise policy is learnt.
    pub kl_nats: Option<f64>,
    /// Expected `|z|` of the policy over `sqrt(d)`; null likewise.
    pub noise_norm_ratio: Option<f64>,
    /// Fresh images of the policy.
    pub arm: Arm,
    /// Their rewards, in the order of their seeds.
    pub rewards: Vec<Option<f64>>,
    /// What the judge says of each, in the same order; empty in earlier records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judgements: Vec<Option<f64>>,
    /// Mean pairwise distance of those that the judge accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_diversity: Option<f64>,
    /// Vendi score of those that the judge accepts: how many different images they amount to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_vendi: Option<f64>,
    /// `success_diversity` over that of the base; from both cells, when they are read.
    #[serde(skip)]
    pub success_diversity_ratio: Option<f64>,
    /// The same seeds with verification, where the run tells a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedArm>,
    /// Their mean rewards by held-out scorers.
    #[serde(alias = "watched")]
    pub held_out: BTreeMap<String, Option<f64>>,
    /// Rise of the mean reward in standard deviations of the base.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
    /// 95 % interval of it, by bootstrap over seeds.
    #[serde(alias = "gain_sigmas_ci95")]
    pub standardised_gain_ci95: Option<Interval>,
    /// Diversity over that of the base.
    pub diversity_ratio: Option<f64>,
    /// Of the base cell alone: the best of n of its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub best_of: Vec<BestOf>,
}

/// Samples that were generated again while their reward was below the threshold of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedArm {
    /// Reward that a sample has to reach.
    pub threshold: f64,
    /// How often the judge accepts what was kept.
    pub success_rate: Option<f64>,
    /// Images generated for each one that was kept.
    pub generations_per_image: f64,
    /// Diversity of what was kept over that of the base.
    pub diversity_ratio: Option<f64>,
}

/// What tells one cell from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The prompt.
    pub prompt: String,
    /// Name of the method.
    #[serde(deserialize_with = "current_name")]
    pub method: String,
    /// Evaluations that the method may spend; 0 for the base.
    pub budget: usize,
    /// Seed of learning and of the fresh images.
    pub seed: u64,
    /// Fresh images.
    pub samples: u32,
    /// SHA-256 over the model's files.
    pub model_sha256: String,
}

/// Two ablations had other names when they were recorded.
fn current_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(match name.as_str() {
        "find-without-landscape" => "find-without-surrogate".to_owned(),
        "find-without-several-gaussians" => "find-without-several-components".to_owned(),
        _ => name,
    })
}

/// Taking the best of `n` base images by the scorer for each image wanted: means over all subsets of `n`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestOf {
    /// Images generated for each one kept.
    pub n: usize,
    /// Mean reward of those kept.
    pub reward_mean: Option<f64>,
    /// How often the judge accepts them.
    pub success_rate: Option<f64>,
    /// Rise of the mean reward in standard deviations of the base.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
}

#[cfg(test)]
impl Cell {
    /// A cell of one prompt that holds little more than this.
    pub fn example(method: &str, seed: u64, rewards: [f64; 2], standardised_gain: Option<f64>) -> Self {
        let arm = serde_json::json!({
            "reward_mean": null, "reward_ci95": null, "reward_p5": null, "reward_p50": null, "reward_p95": null,
            "rewards_missing": 0, "success_rate": null, "success_ci95": null, "diversity": null,
        });
        let text = serde_json::json!({
            "prompt": "a toy", "method": method, "budget": 0, "seed": seed, "samples": 2, "model_sha256": "",
            "category": "colour", "half": "development", "evaluations": 0, "learning_seconds": 0.0,
            "stop_reason": "", "curve": [], "kl_nats": null, "noise_norm_ratio": null, "arm": arm,
            "rewards": rewards, "held_out": {}, "standardised_gain": standardised_gain, "standardised_gain_ci95": null,
            "diversity_ratio": null,
        });
        serde_json::from_value(text).unwrap()
    }
}

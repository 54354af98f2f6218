//! What the files of a run say, as far as it is shown. Unknown keys are ignored and older names are read too, because a
//! folder may come from another version of the program.

use serde::{Deserialize, Serialize};

/// Lower and upper end of a 95 % interval.
pub type Interval = [f64; 2];

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct MetricsLine {
    /// Steps done, this one included.
    pub step: u32,
    /// Seconds since the run began.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// Samples generated and scored so far.
    #[serde(default)]
    pub evaluations: u64,
    /// Rewards of this step in order of the samples' index; `null` is missing.
    #[serde(default)]
    pub rewards: Vec<Option<f64>>,
    /// Mean of the given rewards.
    #[serde(default)]
    pub reward_mean: Option<f64>,
    /// Their standard deviation.
    #[serde(default)]
    pub reward_std: Option<f64>,
    /// Mean reward in standard deviations of the baseline above its mean.
    #[serde(default, alias = "reward_base_sigmas", alias = "standardized_gain", alias = "reward_gain")]
    pub standardised_gain: Option<f64>,
    /// Best single reward of the run so far.
    #[serde(default)]
    pub best_reward: Option<f64>,
    /// Missing rewards of this step.
    #[serde(default)]
    pub missing: u64,
    /// Divergence of the updated policy from the standard normal, in nats.
    #[serde(default)]
    pub kl_nats: Option<f64>,
    /// Mean pairwise distance of the samples of this step, 0 to 1.
    #[serde(default)]
    pub diversity: Option<f64>,
    /// Share of the rewards' variance that was predicted before they were learnt from.
    #[serde(default, alias = "explained_share")]
    pub predictive_r2: Option<f64>,
    /// What the user should know, in plain words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Each held-out scorer.
    #[serde(default, alias = "watched")]
    pub held_out: Vec<HeldOutRecord>,
}

/// What one held-out scorer said of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecord {
    /// Its name.
    pub scorer: String,
    /// Mean reward.
    #[serde(default)]
    pub reward_mean: Option<f64>,
    /// In standard deviations of the baseline above its mean.
    #[serde(default, alias = "reward_base_sigmas", alias = "standardized_gain", alias = "reward_gain")]
    pub standardised_gain: Option<f64>,
}

/// What is read of a line of `rewards.jsonl`, the journal of samples.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JournalLine {
    /// `tuning`, or an arm of the comparison.
    pub phase: String,
    /// Steps that were saved before.
    pub step: u32,
    /// Names the sample.
    pub key: JournalKey,
    /// What the optimised scorers say: a number, or the reason why there is none.
    #[serde(default)]
    pub rewards: Vec<serde_json::Value>,
}

/// The part of a sample's key that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct JournalKey {
    /// The sample's number in its step, from 0.
    pub index: u32,
}

/// `comparison.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ComparisonRecord {
    /// Name of the reward.
    #[serde(default)]
    pub reward: String,
    /// Name of the judge.
    #[serde(default)]
    pub judge: Option<String>,
    /// Fresh samples an arm.
    #[serde(default)]
    pub samples: u64,
    /// The model as it is.
    #[serde(default)]
    pub base: ArmRecord,
    /// The same seeds under the policy.
    #[serde(default)]
    pub tuned: ArmRecord,
    /// Difference of the mean rewards in standard deviations of the baseline.
    #[serde(default, alias = "gain_sigmas", alias = "standardized_gain")]
    pub standardised_gain: Option<f64>,
    /// Its 95 % interval.
    #[serde(default, alias = "gain_sigmas_ci95", alias = "standardized_gain_ci95")]
    pub standardised_gain_ci95: Option<Interval>,
    /// Diversity of the tuned arm over that of the base arm.
    #[serde(default)]
    pub diversity_ratio: Option<f64>,
    /// Divergence of the policy, in nats.
    #[serde(default)]
    pub kl_nats: Option<f64>,
    /// Samples generated and scored for tuning.
    #[serde(default)]
    pub evaluations: u64,
    /// Seconds that tuning took.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// Best of n base samples at equal cost.
    #[serde(default)]
    pub best_of_n: Option<BestOfNRecord>,
    /// Each part of a reward of several.
    #[serde(default)]
    pub parts: Vec<ScorerRecord>,
    /// Each held-out scorer.
    #[serde(default, alias = "watched")]
    pub held_out: Vec<ScorerRecord>,
}

/// One arm of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ArmRecord {
    /// Mean reward.
    #[serde(default)]
    pub reward_mean: Option<f64>,
    /// Its 95 % interval.
    #[serde(default)]
    pub reward_ci95: Option<Interval>,
    /// Reward that 5 % of the samples stay below.
    #[serde(default)]
    pub reward_p5: Option<f64>,
    /// Reward that 95 % of the samples stay below.
    #[serde(default)]
    pub reward_p95: Option<f64>,
    /// Fraction of the judged samples that are what the prompt says.
    #[serde(default)]
    pub success_rate: Option<f64>,
    /// Its 95 % interval.
    #[serde(default)]
    pub success_ci95: Option<Interval>,
    /// Mean pairwise distance of the samples, 0 to 1.
    #[serde(default)]
    pub diversity: Option<f64>,
}

/// One scorer on both arms.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ScorerRecord {
    /// Its name.
    pub scorer: String,
    /// The model as it is.
    #[serde(default)]
    pub base: ArmRecord,
    /// The same seeds under the policy.
    #[serde(default)]
    pub tuned: ArmRecord,
}

/// Best of n base samples at equal cost.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct BestOfNRecord {
    /// Samples for each one that is wanted.
    pub n: u64,
    /// Mean reward of the best.
    #[serde(default)]
    pub reward_mean: Option<f64>,
    /// How often the judge accepts it.
    #[serde(default)]
    pub success_rate: Option<f64>,
}

/// What is read of the header of `policy.safetensors`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyHeader {
    /// Components of the mixture; at least 1.
    pub components: u64,
    /// Why tuning stopped, as the program names it.
    pub stop_reason: Option<String>,
}

/// Most bytes of a header that is read; ours takes two thousand.
pub(crate) const HEADER_LIMIT: u64 = 1 << 20;

impl PolicyHeader {
    /// Reads the header of a safetensors file from its first bytes; `None` where it is not one of ours.
    pub fn parse(start: &[u8]) -> Option<Self> {
        let (length, rest) = start.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let header: serde_json::Value = serde_json::from_slice(rest.get(..length)?).ok()?;
        let metadata = header.get("__metadata__")?.as_object()?;
        // The provenance is JSON text in one value of the metadata, whatever its name.
        let provenance = metadata
            .values()
            .filter_map(|value| serde_json::from_str::<serde_json::Value>(value.as_str()?).ok())
            .find(|value| value.get("noise_shape").is_some())?;
        let dims = |value: &serde_json::Value| -> Option<u64> {
            value
                .as_array()?
                .iter()
                .map(serde_json::Value::as_u64)
                .try_fold(1u64, |all, one| all.checked_mul(one?))
        };
        let noise = dims(provenance.get("noise_shape")?)?;
        let mean = dims(header.get("mu")?.get("shape")?)?;
        Some(Self {
            components: mean.checked_div(noise).unwrap_or(1).max(1),
            stop_reason: provenance.get("stop_reason").and_then(|reason| Some(reason.as_str()?.to_owned())),
        })
    }
}

/// The settings of `config.toml` that are shown; everything is optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    table: toml::Table,
}

impl Settings {
    /// Reads the text of a config; damaged text has no settings.
    pub fn parse(text: &str) -> Self {
        Self { table: text.parse().unwrap_or_default() }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.as_str()
    }

    /// A whole number.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.table.get(key)?.as_integer()
    }

    /// The name of the method, whether it is a text or a table that holds its name.
    pub fn method(&self) -> Option<&str> {
        match self.table.get("method")? {
            toml::Value::String(name) => Some(name),
            toml::Value::Table(table) => table.get("name").or_else(|| table.get("kind"))?.as_str(),
            _ => None,
        }
    }

    /// The names of the optimised scorers, joined by " + ".
    pub fn reward(&self) -> Option<String> {
        let name = |term: &toml::Value| match term {
            toml::Value::String(name) => Some(name.clone()),
            toml::Value::Table(table) => Some(table.get("scorer")?.as_str()?.to_owned()),
            _ => None,
        };
        match self.table.get("reward")? {
            toml::Value::Array(terms) => Some(terms.iter().filter_map(name).collect::<Vec<_>>().join(" + "))
                .filter(|names| !names.is_empty()),
            one => name(one),
        }
    }
}

#[cfg(test)]
mod tests {

    use noisefind_rundir::{PolicyFile, Provenance};

    use super::*;

    #[test]
    fn older_and_newer_names_mean_the_same() {
        let older = r#"{"step":1,"reward_base_sigmas":0.5,"explained_share":0.2,"watched":[{"scorer":"taste","reward_base_sigmas":1.0}]}"#;
        let newer = r#"{"step":1,"standardised_gain":0.5,"predictive_r2":0.2,"held_out":[{"scorer":"taste","standardised_gain":1.0}]}"#;
        let [older, newer] = [older, newer].map(|line| serde_json::from_str::<MetricsLine>(line).unwrap());
        assert_eq!(older, newer);
        assert_eq!(older.held_out[0].standardised_gain, Some(1.0));
        let older =
            serde_json::from_str::<ComparisonRecord>(r#"{"gain_sigmas":1.5,"gain_sigmas_ci95":[1,2]}"#)
                .unwrap();
        assert_eq!((older.standardised_gain, older.standardised_gain_ci95), (Some(1.5), Some([1.0, 2.0])));
    }

    #[test]
    fn settings_are_read_in_every_form() {
        let settings = Settings::parse(
            "prompt = \"a\"\nevaluations = 5\n[[reward]]\nscorer = \"one\"\n[[reward]]\nscorer = \"two\"\n[method]\nname = \"find\"",
        );
        assert_eq!((settings.text("prompt"), settings.integer("evaluations")), (Some("a"), Some(5)));
        assert_eq!((settings.reward().as_deref(), settings.method()), (Some("one + two"), Some("find")));
        assert_eq!(Settings::parse("reward = [\"one\"]").reward().as_deref(), Some("one"));
        assert_eq!(Settings::parse("nonsense =").text("prompt"), None);
    }

    #[test]
    fn the_header_tells_the_components_and_damage_tells_nothing() {
        let provenance = serde_json::json!({
            "format": Provenance::FORMAT, "program_version": "0", "prompt": "a", "negative_prompt": "",
            "model": "fake", "model_sha256": "0", "noise_shape": [1, 2, 2], "num_inference_steps": 1,
            "guidance_scale": 1.0, "eta": 0.0, "scheduler": null, "height": null, "width": null, "method": "find",
            "seed": 0, "evaluations": 4, "stop_reason": "plateau", "reward": "fake", "kl_nats": 1.0,
        });
        let provenance: Provenance = serde_json::from_value(provenance).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        PolicyFile { mu: vec![0.0; 12], sigma: vec![1.0; 12], provenance }.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let header = PolicyHeader::parse(&bytes).unwrap();
        assert_eq!((header.components, header.stop_reason.as_deref()), (3, Some("plateau")));
        let whole = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for length in 0..whole {
            assert_eq!(PolicyHeader::parse(&bytes[..length]), None);
        }
        assert_eq!(PolicyHeader::parse(&u64::MAX.to_le_bytes()), None);
    }
}

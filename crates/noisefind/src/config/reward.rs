//! Rewards as users write them: `NAME[=WEIGHT][:FOLDER]` or `exec[=WEIGHT]:COMMAND`, and the sum of several.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One reward to optimise: a scorer and what it counts.
///
/// The weight stands with the name, before the first colon; what follows the colon is a folder or a command and
/// is never looked into, so it may hold any character.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RewardTerm {
    /// `NAME`, `NAME:FOLDER` or `exec:COMMAND`.
    pub scorer: String,
    /// What the scorer's reward is multiplied by; negative to avoid what it likes.
    pub weight: f64,
}

/// The scale in which several rewards are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RewardScale {
    /// In standard deviations above the base model's mean, measured on the first batch: a weight means the same for every scorer
    #[default]
    Standardised,
    /// In each scorer's own units
    Raw,
}

impl RewardTerm {
    /// The scorer alone.
    pub fn new(scorer: impl Into<String>) -> Self {
        Self { scorer: scorer.into(), weight: 1.0 }
    }
}

impl FromStr for RewardTerm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, tail) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
        let Some((name, weight)) = head.split_once('=') else { return Ok(Self::new(text)) };
        match weight.parse() {
            Ok(weight) if f64::is_finite(weight) && weight != 0.0 => {
                Ok(Self { scorer: format!("{name}{tail}"), weight })
            }
            _ => Err(format!(
                "the weight of reward {name:?} is {weight:?}, expected a number other than 0, as in {name}=0.5{tail}"
            )),
        }
    }
}

impl fmt::Display for RewardTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weight == 1.0 {
            return f.write_str(&self.scorer);
        }
        let (name, tail) =
            self.scorer.find(':').map_or((&*self.scorer, ""), |colon| self.scorer.split_at(colon));
        write!(f, "{name}={}{tail}", self.weight)
    }
}

impl TryFrom<String> for RewardTerm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RewardTerm> for String {
    fn from(term: RewardTerm) -> Self {
        term.to_string()
    }
}

/// Whether `terms` are one scorer of weight 1, whose reward keeps its own units.
pub(crate) fn has_one_plain_reward(terms: &[RewardTerm]) -> bool {
    matches!(terms, [RewardTerm { weight: 1.0, .. }])
}

/// The name under which the sum of `terms` is shown.
pub fn sum_name(terms: &[RewardTerm]) -> String {
    terms.iter().map(RewardTerm::to_string).collect::<Vec<_>>().join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_stands_before_the_colon_and_nothing_behind_it_is_looked_into() {
        for (text, scorer, weight) in [
            ("clip-score", "clip-score", 1.0),
            ("aesthetic=0.1", "aesthetic", 0.1),
            ("jpeg-size=-2e-3", "jpeg-size", -2e-3),
            ("image-reward:models/a=1", "image-reward:models/a=1", 1.0),
            ("image-reward=0.5:models/a=1", "image-reward:models/a=1", 0.5),
            ("exec:./judge --threshold=3", "exec:./judge --threshold=3", 1.0),
            ("exec=2:KEY=x ./judge --a=b:c", "exec:KEY=x ./judge --a=b:c", 2.0),
        ] {
            let term = text.parse::<RewardTerm>().unwrap();
            assert_eq!((term.scorer.as_str(), term.weight), (scorer, weight), "{text}");
            assert_eq!(term.to_string().parse::<RewardTerm>(), Ok(term), "{text}");
        }
    }

    #[test]
    fn a_weight_that_is_none_is_refused() {
        for text in ["aesthetic=", "aesthetic=much", "aesthetic=0", "aesthetic=NaN", "exec=:./judge"] {
            let message = text.parse::<RewardTerm>().unwrap_err();
            assert!(message.contains("expected a number other than 0"), "{message}");
        }
    }
}

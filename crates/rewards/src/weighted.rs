//! Several rewards at once: a weighted sum, each standardised so that a weight means the same for every scorer.

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Where a scorer's rewards lie on the untuned model: `(reward - mean) / spread` is about standard normal there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// Mean reward of the base distribution.
    pub mean: f64,
    /// Standard deviation of the base distribution; above 0.
    pub spread: f64,
}

impl Standard {
    /// Leaves rewards as they are.
    pub const RAW: Self = Self { mean: 0.0, spread: 1.0 };

    /// Measures the given rewards; `None` where fewer than two are given or all are the same.
    pub fn measure(rewards: &[Reward]) -> Option<Self> {
        let given: Vec<f64> = rewards.iter().filter_map(Reward::given).collect();
        let mean = given.iter().sum::<f64>() / given.len() as f64;
        let squares: f64 = given.iter().map(|reward| (reward - mean).powi(2)).sum();
        let spread = (squares / (given.len() as f64 - 1.0)).sqrt();
        (given.len() > 1 && spread > 0.0 && spread.is_finite()).then_some(Self { mean, spread })
    }

    /// The reward in spreads above the mean.
    pub fn standardise(&self, reward: f64) -> f64 {
        (reward - self.mean) / self.spread
    }
}

/// One summand of a [`Weighted`] reward.
pub struct Part {
    /// The scorer.
    pub scorer: Box<dyn Scorer>,
    /// What its standardised reward is multiplied by; negative to avoid what it likes.
    pub weight: f64,
}

/// The sum over the parts of weight times standardised reward; missing where one part is missing.
pub struct Weighted {
    name: String,
    parts: Vec<(Part, Standard)>,
}

impl Weighted {
    /// Sums the rewards as they are.
    ///
    /// # Errors
    /// When there is no part, or a weight is 0 or not finite.
    pub fn raw(parts: Vec<Part>) -> Result<Self, Error> {
        let standards = vec![Standard::RAW; parts.len()];
        Self::with_standards(parts, standards)
    }

    /// Measures each part on pictures of the base distribution (32 and more give a usable spread).
    ///
    /// # Errors
    /// As [`Weighted::raw`]; when a scorer fails; when a scorer gives all base pictures the same reward.
    pub fn standardised(mut parts: Vec<Part>, prompt: &str, base: &[Media]) -> Result<Self, PortError> {
        let mut standards = Vec::with_capacity(parts.len());
        for part in &mut parts {
            let rewards = part.scorer.score(prompt, base)?;
            let standard = Standard::measure(&rewards).ok_or_else(|| Error::NoSpread {
                scorer: part.scorer.name().to_owned(),
                given: rewards.iter().filter(|reward| reward.given().is_some()).count(),
                pictures: base.len(),
            })?;
            standards.push(standard);
        }
        Ok(Self::with_standards(parts, standards)?)
    }

    /// Uses standards that were measured before, one a part.
    ///
    /// # Errors
    /// As [`Weighted::raw`]; when the number of standards is not that of the parts.
    pub fn with_standards(parts: Vec<Part>, standards: Vec<Standard>) -> Result<Self, Error> {
        if parts.is_empty() || parts.len() != standards.len() {
            return Err(Error::Parts { parts: parts.len(), standards: standards.len() });
        }
        if let Some(part) = parts.iter().find(|part| !part.weight.is_finite() || part.weight == 0.0) {
            return Err(Error::Weight { scorer: part.scorer.name().to_owned(), weight: part.weight });
        }
        let terms: Vec<String> =
            parts.iter().map(|part| format!("{}={}", part.scorer.name(), part.weight)).collect();
        Ok(Self { name: terms.join("+"), parts: parts.into_iter().zip(standards).collect() })
    }

    /// The standards in use, one a part, to be stored for a later [`Weighted::with_standards`].
    pub fn standards(&self) -> Vec<Standard> {
        self.parts.iter().map(|(_, standard)| *standard).collect()
    }
}

impl Scorer for Weighted {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let mut sums = vec![Reward::Given(0.0); media.len()];
        for (part, standard) in &mut self.parts {
            for (sum, reward) in sums.iter_mut().zip(part.scorer.score(prompt, media)?) {
                match (&*sum, reward) {
                    (Reward::Given(so_far), Reward::Given(reward)) => {
                        *sum = Reward::from_number(so_far + part.weight * standard.standardise(reward));
                    }
                    (Reward::Given(_), Reward::Missing(reason)) => {
                        *sum = Reward::Missing(format!("{}: {reason}", part.scorer.name()));
                    }
                    (Reward::Missing(_), _) => {}
                }
            }
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Brightness, gray};

    fn part(factor: f64, weight: f64, missing_below: f64) -> Part {
        Part { scorer: Box::new(Brightness { factor, missing_below, ..Brightness::default() }), weight }
    }

    fn given(rewards: &[Reward]) -> Vec<f64> {
        rewards.iter().map(|reward| reward.given().expect("a reward")).collect()
    }

    #[test]
    fn a_weight_means_the_same_whatever_the_scale_of_the_scorer() {
        let base: Vec<Media> = [0.2, 0.4, 0.6].map(gray).to_vec();
        let parts = || vec![part(1.0, 1.0, -1.0), part(1000.0, 0.5, -1.0)];
        let mut weighted = Weighted::standardised(parts(), "a dog", &base).unwrap();
        // Both are standard normal on the base pictures, so the sum is 1.5 standard scores.
        let expected = [-1.5, 0.0, 1.5];
        for (found, expected) in given(&weighted.score("a dog", &base).unwrap()).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        let mut again = Weighted::with_standards(parts(), weighted.standards()).unwrap();
        assert_eq!(weighted.score("a dog", &base).unwrap(), again.score("a dog", &base).unwrap());
        assert_eq!(weighted.name(), "brightness=1+brightness=0.5");
        let mut raw = Weighted::raw(parts()).unwrap();
        assert!((given(&raw.score("a dog", &base).unwrap())[0] - 100.2).abs() < 1e-4);
    }

    #[test]
    fn a_sum_with_a_missing_part_is_missing() {
        let mut weighted = Weighted::raw(vec![part(1.0, 1.0, 0.5), part(1.0, 1.0, -1.0)]).unwrap();
        let rewards = weighted.score("a dog", &[gray(0.4), gray(0.6)]).unwrap();
        assert_eq!(rewards[0], Reward::Missing("brightness: too dark".to_owned()));
        assert!(rewards[1].given().is_some());
    }

    #[test]
    fn what_cannot_be_summed_is_named() {
        let message = |parts: Vec<Part>| Weighted::raw(parts).err().unwrap().to_string();
        assert!(message(vec![]).contains("0 rewards"));
        assert!(message(vec![part(1.0, 0.0, -1.0)]).contains("weight of reward `brightness` is 0"));
        assert!(message(vec![part(1.0, f64::NAN, -1.0)]).contains("is NaN"));
        let flat = Weighted::standardised(vec![part(1.0, 1.0, -1.0)], "a dog", &[gray(0.5), gray(0.5)]);
        assert!(flat.err().unwrap().to_string().contains("`brightness` cannot be standardised"));
    }
}

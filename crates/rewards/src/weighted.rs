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
///
/// A single part of weight 1 in raw scale is that scorer's own reward, to the bit.
pub struct Weighted {
    name: String,
    parts: Vec<Part>,
    /// One a part; `None` until the base distribution is measured.
    standards: Option<Vec<Standard>>,
    last: Vec<Vec<Reward>>,
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

    /// Measures each part on the first pictures that are scored, which must be of the base distribution; 16 and
    /// more give a usable spread. Until every part has given two rewards there, the sum is missing.
    ///
    /// # Errors
    /// As [`Weighted::raw`].
    pub fn standardised(parts: Vec<Part>) -> Result<Self, Error> {
        Ok(Self { standards: None, ..Self::raw(parts)? })
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
        Ok(Self { name: terms.join("+"), parts, standards: Some(standards), last: Vec::new() })
    }

    /// The parts in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The standards in use, one a part, to be stored for a later [`Weighted::set_standards`]; `None` while they
    /// are not measured.
    pub fn standards(&self) -> Option<&[Standard]> {
        self.standards.as_deref()
    }

    /// Uses standards that were measured before.
    ///
    /// # Errors
    /// When the number of standards is not that of the parts.
    pub fn set_standards(&mut self, standards: Vec<Standard>) -> Result<(), Error> {
        if standards.len() != self.parts.len() {
            return Err(Error::Parts { parts: self.parts.len(), standards: standards.len() });
        }
        self.standards = Some(standards);
        Ok(())
    }

    /// The rewards of each part, in its own units, for the pictures that were scored last.
    pub fn last(&self) -> &[Vec<Reward>] {
        &self.last
    }

    /// The standards, measured on the last pictures where none were; `None` where a part gave too few rewards.
    fn measured(&mut self) -> Result<Option<&[Standard]>, Error> {
        if self.standards.is_none() {
            let measured = self.parts.iter().zip(&self.last).map(|(part, rewards)| {
                let given = rewards.iter().filter(|reward| reward.given().is_some()).count();
                let no_spread = || Error::NoSpread {
                    scorer: part.scorer.name().to_owned(),
                    given,
                    pictures: rewards.len(),
                };
                (given >= 2).then(|| Standard::measure(rewards).ok_or_else(no_spread)).transpose()
            });
            self.standards = measured.collect::<Result<Option<Vec<_>>, _>>()?;
        }
        Ok(self.standards.as_deref())
    }

    /// The reward of the picture `at` that place among the last.
    fn sum(&self, at: usize, standards: Option<&[Standard]>) -> Reward {
        let mut sum = 0.0;
        for (place, (part, rewards)) in self.parts.iter().zip(&self.last).enumerate() {
            match (&rewards[at], standards) {
                (Reward::Missing(reason), _) if self.parts.len() == 1 => {
                    return Reward::Missing(reason.clone());
                }
                (Reward::Missing(reason), _) => {
                    return Reward::Missing(format!("{}: {reason}", part.scorer.name()));
                }
                (Reward::Given(reward), Some(standards)) => {
                    sum += part.weight * standards[place].standardise(*reward);
                }
                (Reward::Given(_), None) => {}
            }
        }
        match standards {
            Some(_) => Reward::from_number(sum),
            None => Reward::Missing("a scorer gave too few rewards to measure its spread".to_owned()),
        }
    }
}

impl Scorer for Weighted {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        self.last.clear();
        for part in &mut self.parts {
            let rewards = part.scorer.score(prompt, media)?;
            if rewards.len() != media.len() {
                let (scorer, found, pictures) = (part.scorer.name().to_owned(), rewards.len(), media.len());
                return Err(Error::Count { scorer, found, pictures }.into());
            }
            self.last.push(rewards);
        }
        let standards = self.measured()?.map(<[Standard]>::to_vec);
        Ok((0..media.len()).map(|at| self.sum(at, standards.as_deref())).collect())
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
        let mut weighted = Weighted::standardised(parts()).unwrap();
        assert_eq!(weighted.standards(), None);
        // Both are standard normal on the base pictures, so the sum is 1.5 standard scores.
        let expected = [-1.5, 0.0, 1.5];
        for (found, expected) in given(&weighted.score("a dog", &base).unwrap()).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        // Measured once: what comes later is compared with the base, and not with itself.
        let later = [gray(0.8)];
        assert!((given(&weighted.score("a dog", &later).unwrap())[0] - 3.0).abs() < 1e-5);
        let standards = weighted.standards().unwrap().to_vec();
        let mut again = Weighted::with_standards(parts(), standards).unwrap();
        assert_eq!(weighted.score("a dog", &base).unwrap(), again.score("a dog", &base).unwrap());
        assert!((given(&again.last()[1])[2] - 600.0).abs() < 1e-3);
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
    fn too_few_base_rewards_are_missing_until_there_are_enough() {
        let mut weighted = Weighted::standardised(vec![part(1.0, 2.0, 0.3)]).unwrap();
        let rewards = weighted.score("a dog", &[gray(0.2), gray(0.4)]).unwrap();
        assert_eq!(rewards[0], Reward::Missing("too dark".to_owned()));
        assert!(matches!(&rewards[1], Reward::Missing(reason) if reason.contains("too few rewards")));
        assert!(weighted.score("a dog", &[gray(0.4), gray(0.6)]).unwrap()[1].given().is_some());
    }

    #[test]
    fn one_raw_part_of_weight_one_is_its_scorer() {
        let mut alone = Brightness::default();
        let mut weighted = Weighted::raw(vec![part(1.0, 1.0, -1.0)]).unwrap();
        let media = [gray(1.0 / 3.0), gray(0.7)];
        assert_eq!(weighted.score("a dog", &media).unwrap(), alone.score("a dog", &media).unwrap());
    }

    #[test]
    fn what_cannot_be_summed_is_named() {
        let message = |parts: Vec<Part>| Weighted::raw(parts).err().unwrap().to_string();
        assert!(message(vec![]).contains("0 rewards"));
        assert!(message(vec![part(1.0, 0.0, -1.0)]).contains("weight of reward `brightness` is 0"));
        assert!(message(vec![part(1.0, f64::NAN, -1.0)]).contains("is NaN"));
        let mut flat = Weighted::standardised(vec![part(1.0, 1.0, -1.0)]).unwrap();
        let message = flat.score("a dog", &[gray(0.5), gray(0.5)]).unwrap_err().to_string();
        assert!(message.contains("`brightness` cannot be standardised"), "{message}");
    }
}

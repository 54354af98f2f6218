//! Several rewards at once: a weighted sum, each standardised so that a weight means the same for every scorer.

use noisefind_core::ports::Reward;
use noisefind_core::statistics::BaseStatistics;

use crate::Error;

/// One summand of a [`RewardSum`].
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Name of the scorer.
    pub scorer: String,
    /// What its standardised reward is multiplied by; negative to avoid what it rewards.
    pub weight: f64,
}

/// How the rewards of several scorers for one sample become one: the sum over the terms of weight times standardised
/// reward; missing where one of them is missing.
///
/// A single term of weight 1 in raw scale is that scorer's own reward, to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardSum {
    terms: Vec<Term>,
    scale: Scale,
}

/// In which units rewards are summed.
#[derive(Clone, Debug, PartialEq)]
enum Scale {
    /// Each scorer's own.
    Raw,
    /// Standard deviations above the mean of the untuned model, one a term; `None` until they are measured.
    Standardised(Option<Vec<BaseStatistics>>),
}

impl RewardSum {
    /// Sums the rewards as they are.
    ///
    /// # Errors
    /// When there is no term, or a weight is 0 or not finite.
    pub fn raw(terms: Vec<Term>) -> Result<Self, Error> {
        Self::new(terms, Scale::Raw)
    }

    /// Sums the rewards in units that [`measure`](Self::measure) finds on samples of the untuned model.
    ///
    /// # Errors
    /// As [`RewardSum::raw`].
    pub fn standardised(terms: Vec<Term>) -> Result<Self, Error> {
        Self::new(terms, Scale::Standardised(None))
    }

    fn new(terms: Vec<Term>, scale: Scale) -> Result<Self, Error> {
        if terms.is_empty() {
            return Err(Error::NoTerms);
        }
        if let Some(term) = terms.iter().find(|term| !term.weight.is_finite() || term.weight == 0.0) {
            return Err(Error::Weight { scorer: term.scorer.clone(), weight: term.weight });
        }
        Ok(Self { terms, scale })
    }

    /// The terms in their order.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The measured units, one a term, to be stored for a later [`set_base`](Self::set_base); `None` while they are not
    /// measured and of a sum in raw scale.
    pub fn base(&self) -> Option<&[BaseStatistics]> {
        match &self.scale {
            Scale::Raw => None,
            Scale::Standardised(base) => base.as_deref(),
        }
    }

    /// Uses units that were measured before; a sum in raw scale has none and stays as it is.
    ///
    /// # Errors
    /// When their number is not that of the terms.
    pub fn set_base(&mut self, base: Vec<BaseStatistics>) -> Result<(), Error> {
        if let Scale::Standardised(measured) = &mut self.scale {
            if base.len() != self.terms.len() {
                return Err(Error::Base { terms: self.terms.len(), found: base.len() });
            }
            *measured = Some(base);
        }
        Ok(())
    }

    /// Whether the reward of a sample can be told: always in raw scale, else once the units are measured.
    pub fn is_measured(&self) -> bool {
        !matches!(self.scale, Scale::Standardised(None))
    }

    /// Measures the units on the first samples, which must be of the untuned model; 16 and more give a usable standard
    /// deviation. Each entry of `samples` has one reward a term. Without two given rewards of every term it is left to a
    /// later batch; once measured, nothing changes.
    ///
    /// # Errors
    /// Where the given rewards of a term are equal.
    pub fn measure(&mut self, samples: &[&[Reward]]) -> Result<(), Error> {
        let Scale::Standardised(base @ None) = &mut self.scale else { return Ok(()) };
        let measured = self.terms.iter().enumerate().map(|(at, term)| {
            let given: Vec<f64> = samples.iter().filter_map(|rewards| rewards.get(at)?.given()).collect();
            if given.len() < 2 {
                return Ok(None);
            }
            let statistics = BaseStatistics::of(&given);
            if statistics.standard_deviation > 0.0 && statistics.standard_deviation.is_finite() {
                return Ok(Some(statistics));
            }
            Err(Error::NoSpread { scorer: term.scorer.clone(), given: given.len(), images: samples.len() })
        });
        *base = measured.collect::<Result<Option<Vec<_>>, _>>()?;
        Ok(())
    }

    /// The reward of a sample from the rewards of its terms, in their order.
    pub fn reward(&self, rewards: &[Reward]) -> Reward {
        let mut sum = 0.0;
        for (at, term) in self.terms.iter().enumerate() {
            match rewards.get(at) {
                Some(Reward::Given(reward)) => {
                    let standardised = match &self.scale {
                        Scale::Raw => Some(*reward),
                        Scale::Standardised(base) => {
                            base.as_ref().and_then(|it| it[at].standardised(*reward))
                        }
                    };
                    let Some(standardised) = standardised else { continue };
                    sum += term.weight * standardised;
                }
                Some(Reward::Missing(reason)) if self.terms.len() == 1 => {
                    return Reward::Missing(reason.clone());
                }
                Some(Reward::Missing(reason)) => {
                    return Reward::Missing(format!("{}: {reason}", term.scorer));
                }
                None => return Reward::Missing(format!("{}: no reward", term.scorer)),
            }
        }
        if self.is_measured() {
            return Reward::from_number("the sum of rewards", sum);
        }
        Reward::Missing("a scorer gave too few rewards to measure its spread".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(scorer: &str, weight: f64) -> Term {
        Term { scorer: scorer.to_owned(), weight }
    }

    /// The samples whose first term has these rewards, and whose second has them times 1000.
    fn samples(rewards: &[f64]) -> Vec<Vec<Reward>> {
        rewards.iter().map(|&reward| vec![Reward::Given(reward), Reward::Given(1000.0 * reward)]).collect()
    }

    fn measure(sum: &mut RewardSum, samples: &[Vec<Reward>]) -> Result<(), Error> {
        sum.measure(&samples.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn given(sum: &RewardSum, rewards: &[Reward]) -> f64 {
        sum.reward(rewards).given().expect("a reward")
    }

    #[test]
    fn a_weight_means_the_same_whatever_the_scale_of_the_scorer() {
        let terms = || vec![term("small", 1.0), term("large", 0.5)];
        let mut sum = RewardSum::standardised(terms()).unwrap();
        let base = samples(&[0.2, 0.4, 0.6]);
        assert!(!sum.is_measured() && sum.base().is_none());
        assert!(
            matches!(sum.reward(&base[0]), Reward::Missing(reason) if reason.contains("too few rewards"))
        );
        measure(&mut sum, &base).unwrap();
        // Both are standard scores on the base samples, so the sum is 1.5 of them.
        for (rewards, expected) in base.iter().zip([-1.5, 0.0, 1.5]) {
            assert!((given(&sum, rewards) - expected).abs() < 1e-6);
        }
        // Measured once: what comes later is compared with the base, and not with itself.
        let later = samples(&[0.8, 0.9]);
        measure(&mut sum, &later).unwrap();
        assert!((given(&sum, &later[0]) - 3.0).abs() < 1e-6);
        let mut again = RewardSum::standardised(terms()).unwrap();
        again.set_base(sum.base().unwrap().to_vec()).unwrap();
        assert_eq!(again, sum);
        assert!(again.set_base(Vec::new()).unwrap_err().to_string().contains("found 0"));
        let raw = RewardSum::raw(terms()).unwrap();
        assert!((given(&raw, &base[0]) - 100.2).abs() < 1e-9);
    }

    #[test]
    fn a_sum_with_a_missing_term_is_missing() {
        let dark = || Reward::Missing("too dark".to_owned());
        let sum = RewardSum::raw(vec![term("a", 1.0), term("b", 1.0)]).unwrap();
        assert_eq!(sum.reward(&[dark(), Reward::Given(1.0)]), Reward::Missing("a: too dark".to_owned()));
        assert_eq!(sum.reward(&[Reward::Given(1.0)]), Reward::Missing("b: no reward".to_owned()));
        let alone = RewardSum::raw(vec![term("a", 1.0)]).unwrap();
        assert_eq!(alone.reward(&[dark()]), dark());
    }

    #[test]
    fn too_few_base_rewards_are_left_to_a_later_batch() {
        let mut sum = RewardSum::standardised(vec![term("a", 2.0)]).unwrap();
        measure(&mut sum, &[vec![Reward::Missing("late".to_owned())], vec![Reward::Given(0.4)]]).unwrap();
        assert!(!sum.is_measured());
        measure(&mut sum, &samples(&[0.4, 0.6])).unwrap();
        assert!(sum.is_measured());
    }

    #[test]
    fn one_raw_term_of_weight_one_is_its_scorer() {
        let sum = RewardSum::raw(vec![term("a", 1.0)]).unwrap();
        assert!(sum.is_measured() && sum.base().is_none());
        for reward in [1.0 / 3.0, -0.7] {
            assert_eq!(sum.reward(&[Reward::Given(reward)]), Reward::Given(reward));
        }
    }

    #[test]
    fn what_cannot_be_summed_is_named() {
        let message = |terms: Vec<Term>| RewardSum::raw(terms).err().unwrap().to_string();
        assert!(message(vec![]).contains("0 rewards"));
        assert!(message(vec![term("a", 0.0)]).contains("weight of reward `a` is 0"));
        assert!(message(vec![term("a", f64::NAN)]).contains("is NaN"));
        let mut flat = RewardSum::standardised(vec![term("a", 1.0)]).unwrap();
        let message = measure(&mut flat, &samples(&[0.5, 0.5])).unwrap_err().to_string();
        assert!(message.contains("`a` cannot be standardised"), "{message}");
    }
}

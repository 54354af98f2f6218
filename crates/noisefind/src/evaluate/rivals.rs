//! What a user could do instead of tuning a policy, under the same budget and on the same fresh seeds.

use std::fmt;
use std::str::FromStr;

use noisefind_core::evaluation::Evaluation;
use noisefind_core::noise::NoiseShape;
use noisefind_core::ports::Reward;
use noisefind_core::random_search::RandomSearch;
use noisefind_core::statistics::{expected_of_best, gain_sigmas, mean, standard_deviation};

use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arm, RivalResult};
use crate::evaluate::draw::{Drawn, Sampler};
use crate::observer::Observer;

/// A way to better pictures without a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// For each picture wanted, the best of this many by the scorer.
    BestOf(usize),
    /// The neighbourhood of the best noise that a zero-order search finds with the run's evaluations.
    RandomSearch,
}

impl FromStr for Rival {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let best_of = name.strip_prefix("best-of-").and_then(|n| n.parse().ok()).filter(|n| *n >= 2);
        match (name, best_of) {
            ("random-search", _) => Ok(Self::RandomSearch),
            (_, Some(n)) => Ok(Self::BestOf(n)),
            _ => Err(Error::Usage(format!(
                "there is no rival {name:?}; known are random-search and best-of-N, for example best-of-8"
            ))),
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestOf(n) => write!(formatter, "best-of-{n}"),
            Self::RandomSearch => formatter.write_str("random-search"),
        }
    }
}

/// The expected best of `n` base pictures, over all subsets of the pictures drawn.
pub(crate) fn best_of(n: usize, base: &Drawn) -> RivalResult {
    let rewards: Vec<f64> = base.rewards.iter().filter_map(Reward::given).collect();
    let both = base.rewards.iter().zip(&base.judgements);
    let both = both.filter_map(|(reward, judgement)| Some((reward.given()?, judgement.given()?)));
    let (judged_rewards, judgements): (Vec<f64>, Vec<f64>) = both.unzip();
    let reward_mean = expected_of_best(&rewards, &rewards, n);
    let spread = standard_deviation(&rewards);
    RivalResult {
        rival: Rival::BestOf(n).to_string(),
        evaluations: 0,
        generations_per_picture: n,
        reward_mean,
        success_rate: expected_of_best(&judged_rewards, &judgements, n),
        gain_sigmas: reward_mean.filter(|_| spread > 0.0).map(|best| (best - mean(&rewards)) / spread),
        diversity_ratio: None,
    }
}

/// Searches with `evaluations` pictures under `seed`, then draws the fresh seeds of `base` from where it ended. `None`
/// where the observer interrupted.
pub(crate) fn random_search(
    sampler: &mut Sampler<'_>,
    shape: NoiseShape,
    (seed, evaluations): (u64, usize),
    base: &Drawn,
    observer: &mut dyn Observer,
) -> Result<Option<RivalResult>> {
    let mut search = RandomSearch::new(shape);
    let total = evaluations + base.seeds.len();
    let mut spent = 0;
    for iteration in 0.. {
        let count = RandomSearch::BATCH_SIZE.min(evaluations - spent);
        if count == 0 {
            break;
        }
        let noises = search.ask(sampler.source, seed, iteration, count as u32);
        let drawn = sampler.draw_noises(&noises, (spent, total), observer)?;
        if drawn.seeds.len() < count {
            return Ok(None);
        }
        let told: Vec<Evaluation> = noises
            .into_iter()
            .zip(drawn.rewards)
            .map(|(noise, reward)| Evaluation { noise, reward })
            .collect();
        search.tell(&told);
        spent += count;
    }
    let drawn = sampler.draw(&search.policy(), &base.seeds, (spent, total), observer)?;
    if drawn.seeds.len() < base.seeds.len() {
        return Ok(None);
    }
    let first_seed = base.seeds.first().copied().unwrap_or_default();
    let numbers = |drawn: &Drawn| drawn.rewards.iter().map(Reward::given).collect::<Vec<_>>();
    let (arm, base_arm) = (Arm::new(&drawn, first_seed), Arm::new(base, first_seed));
    let base_diversity = base_arm.diversity.filter(|diversity| *diversity > 0.0);
    Ok(Some(RivalResult {
        rival: Rival::RandomSearch.to_string(),
        evaluations,
        generations_per_picture: 1,
        reward_mean: arm.reward_mean,
        success_rate: arm.success_rate,
        gain_sigmas: gain_sigmas(&numbers(base), &numbers(&drawn), first_seed).map(|gain| gain.value),
        diversity_ratio: arm.diversity.zip(base_diversity).map(|(own, base)| own / base),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for rival in [Rival::BestOf(8), Rival::RandomSearch] {
            assert_eq!(rival.to_string().parse::<Rival>().unwrap(), rival);
        }
        for unknown in ["best-of-1", "best-of-x", "bes-of-8"] {
            assert!(unknown.parse::<Rival>().unwrap_err().to_string().contains("best-of-8"));
        }
    }
}

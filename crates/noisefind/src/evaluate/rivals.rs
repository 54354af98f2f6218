//! What a user could do instead of tuning a policy, under the same budget and on the same fresh seeds.

use std::fmt;
use std::str::FromStr;

use noisefind_core::config::{MethodConfig, RandomSearchConfig};
use noisefind_core::evaluation::Evaluation;
use noisefind_core::method::Start;
use noisefind_core::noise::NoiseShape;
use noisefind_core::ports::Reward;
use noisefind_core::run::{Run, RunConfig};
use noisefind_core::statistics::{expected_of_best, mean, standard_deviation, standardised_gain};

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
    let noise_rng = sampler.source;
    let start = Start { source: noise_rng, ..Start::new(shape, seed) };
    let method = MethodConfig::RandomSearch(RandomSearchConfig::default()).start(start)?;
    // As many samples around each pivot as in a step of a run, and the newest pivot as the result.
    let batch_size = RunConfig::default().batch_size.min(evaluations);
    let config =
        RunConfig { seed, evaluations, batch_size, noise_rng, plateau_iterations: 0, ..RunConfig::default() };
    let mut run = Run::new(config, method)?;
    let total = evaluations + base.seeds.len();
    while run.stop_reason().is_none() {
        let noises = run.ask();
        let (count, spent) = (noises.len(), run.progress().evaluations);
        let drawn = sampler.draw_noises(&noises, (spent, total), observer)?;
        if drawn.seeds.len() < count {
            return Ok(None);
        }
        let told: Vec<Evaluation> = noises
            .into_iter()
            .zip(drawn.rewards)
            .map(|(noise, reward)| Evaluation { noise, reward })
            .collect();
        run.tell(told)?;
    }
    let drawn = sampler.draw(run.policy(), &base.seeds, (run.progress().evaluations, total), observer)?;
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
        gain_sigmas: standardised_gain(&numbers(base), &numbers(&drawn), first_seed).map(|gain| gain.value),
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

//! What a user could do instead of tuning a policy, under the same budget and on the same fresh seeds.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use noisefind_core::config::{MethodConfig, RandomSearchConfig};
use noisefind_core::evaluation::Evaluation;
use noisefind_core::method::Start;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::Reward;
use noisefind_core::run::{Run, RunConfig};
use noisefind_core::statistics::{BaseStatistics, expected_of_best, standardised_gain};

use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arm, BaselineResult};
use crate::evaluate::evaluator::{Evaluated, Evaluator};
use crate::observer::Observer;

/// A way to better images without a tuned policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// For each image wanted, the best of this many by the scorer.
    BestOf(usize),
    /// Zero-order search around the best noise, with the run's evaluations.
    RandomSearch,
}

impl FromStr for Baseline {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let best_of = name.strip_prefix("best-of-").and_then(|n| n.parse().ok()).filter(|n| *n >= 2);
        match (name, best_of) {
            ("random-search", _) => Ok(Self::RandomSearch),
            (_, Some(n)) => Ok(Self::BestOf(n)),
            _ => Err(Error::Usage(format!(
                "there is no baseline {name:?}; known are random-search and best-of-N, for example best-of-8"
            ))),
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestOf(n) => write!(formatter, "best-of-{n}"),
            Self::RandomSearch => formatter.write_str("random-search"),
        }
    }
}

/// The expected best of `n` base samples, over all subsets of `n` of them.
pub(crate) fn best_of(n: usize, base: &Evaluated) -> BaselineResult {
    let rewards: Vec<f64> = base.rewards.iter().filter_map(Reward::given).collect();
    let both = base.rewards.iter().zip(&base.judgements);
    let both = both.filter_map(|(reward, judgement)| Some((reward.given()?, judgement.given()?)));
    let (judged_rewards, judgements): (Vec<f64>, Vec<f64>) = both.unzip();
    let reward_mean = expected_of_best(&rewards, &rewards, n);
    BaselineResult {
        baseline: Baseline::BestOf(n).to_string(),
        evaluations: 0,
        generations_per_image: n,
        reward_mean,
        success_rate: expected_of_best(&judged_rewards, &judgements, n),
        standardised_gain: reward_mean.and_then(|best| BaseStatistics::of(&rewards).standardised(best)),
        diversity_ratio: None,
    }
}

/// Searches with `evaluations` samples under `seed`, then evaluates the fresh seeds of `base` where it ended. `None`
/// where the observer interrupted.
pub(crate) fn random_search(
    evaluator: &mut Evaluator<'_>,
    shape: NoiseShape,
    (seed, evaluations): (u64, usize),
    base: &Evaluated,
    observer: &mut dyn Observer,
) -> Result<Option<BaselineResult>> {
    let noise_rng = evaluator.source;
    let start = Start { source: noise_rng, ..Start::new(shape, seed) };
    let method = MethodConfig::RandomSearch(RandomSearchConfig::default()).start(start)?;
    // As many samples around each pivot as in a step of a run, and the newest pivot as the result.
    let batch_size = RunConfig::default().batch_size.min(evaluations);
    let config =
        RunConfig { seed, evaluations, batch_size, noise_rng, plateau_iterations: 0, ..RunConfig::default() };
    let mut run = Run::new(config, method)?;
    let total = evaluations + base.seeds.len();
    while run.stop_reason().is_none() {
        let (noises, spent) = (run.ask(), run.progress().evaluations);
        let Some(told) = rewards_of(evaluator, noises, (spent, total), observer)? else { return Ok(None) };
        run.tell(told)?;
    }
    let counted = (run.progress().evaluations, total);
    let evaluated = evaluator.sample(run.policy(), &base.seeds, counted, observer)?;
    if evaluated.seeds.len() < base.seeds.len() {
        return Ok(None);
    }
    let first_seed = base.seeds.first().copied().unwrap_or_default();
    let given = |one: &Evaluated| one.rewards.iter().map(Reward::given).collect::<Vec<_>>();
    let (arm, base_arm) = (Arm::new(&evaluated, first_seed), Arm::new(base, first_seed));
    let base_diversity = base_arm.diversity.filter(|diversity| *diversity > 0.0);
    let gain = standardised_gain(&given(base), &given(&evaluated), first_seed);
    Ok(Some(BaselineResult {
        baseline: Baseline::RandomSearch.to_string(),
        evaluations,
        generations_per_image: 1,
        reward_mean: arm.reward_mean,
        success_rate: arm.success_rate,
        standardised_gain: gain.map(|gain| gain.value),
        diversity_ratio: arm.diversity.zip(base_diversity).map(|(own, base)| own / base),
    }))
}

/// The noises with their rewards; `None` where the observer interrupted.
fn rewards_of(
    evaluator: &mut Evaluator<'_>,
    noises: Vec<Noise>,
    (mut done, total): (usize, usize),
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Evaluation>>> {
    let (wanted, mut told) = (noises.len(), Vec::new());
    let Some(sum) = evaluator.reward else { return Ok(None) };
    evaluator.rollout.run(noises, |sample| {
        let reward = sum.reward(&sample.scores.rewards);
        observer.sampled(sample.noise.key, &sample.media, Some(&reward));
        told.push(Evaluation { noise: sample.noise, reward });
        done += 1;
        observer.generated(done, total);
        let is_over = observer.interrupted();
        Ok::<_, Error>(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((told.len() == wanted).then_some(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for baseline in [Baseline::BestOf(8), Baseline::RandomSearch] {
            assert_eq!(baseline.to_string().parse::<Baseline>().unwrap(), baseline);
        }
        for unknown in ["best-of-1", "best-of-x", "bes-of-8"] {
            assert!(unknown.parse::<Baseline>().unwrap_err().to_string().contains("best-of-8"));
        }
    }
}

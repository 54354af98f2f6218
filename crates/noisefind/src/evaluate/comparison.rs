//! Base against tuned on the same fresh seeds, with intervals, and against best-of-n at equal cost.

use noisefind_core::ports::Reward;
use noisefind_core::statistics::{
    Estimate, expected_of_best, mean_estimate, percentile, standardised_gain, success_rate,
};
use serde::{Deserialize, Serialize};

use crate::evaluate::diversity::mean_pairwise_distance;
pub use crate::evaluate::diversity::vendi_score;
use crate::evaluate::evaluator::Evaluated;

/// Lower and upper end of a 95 % interval.
pub type Interval = [f64; 2];

/// The result; the keys are those that `--json` prints. What could not be measured is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What should be evaluated.
    pub prompt: String,
    /// Name of the reward.
    pub reward: String,
    /// Name of the judge.
    pub judge: Option<String>,
    /// Fresh samples an arm.
    pub samples: usize,
    /// Seed of the first sample; the others follow one by one.
    pub first_seed: u64,
    /// The model as it is: noise from N(0, I).
    pub base: Arm,
    /// The same seeds under the policy.
    pub tuned: Arm,
    /// Difference of the mean rewards in standard deviations of the base arm.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
    /// 95 % interval of it, by bootstrap over seeds.
    #[serde(alias = "gain_sigmas_ci95")]
    pub standardised_gain_ci95: Option<Interval>,
    /// Diversity of the tuned arm over that of the base arm.
    pub diversity_ratio: Option<f64>,
    /// Divergence of the policy from N(0, I), summed, in nats.
    pub kl_nats: f64,
    /// Samples generated and scored for tuning.
    pub evaluations: usize,
    /// Seconds that tuning took.
    pub elapsed_seconds: f64,
    /// Images after which tuning has paid for itself against generating from the base until the judge accepts, where
    /// base samples succeed and tuned ones succeed more often.
    #[serde(default)]
    pub pays_after_images: Option<u64>,
    /// Best-of-n at equal cost.
    pub best_of_n: BestOfN,
    /// Each part of a reward of several, in its own units; empty where one scorer is optimised.
    #[serde(default)]
    pub parts: Vec<ScorerComparison>,
    /// Each held-out scorer, which was never optimised.
    #[serde(default)]
    #[serde(alias = "watched")]
    pub held_out: Vec<ScorerComparison>,
    /// Other baselines that were asked for.
    #[serde(default, alias = "against", skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<BaselineResult>,
}

/// One scorer on both arms, in its own units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerComparison {
    /// Its name.
    pub scorer: String,
    /// The model as it is.
    pub base: ScorerArm,
    /// The same seeds under the policy.
    pub tuned: ScorerArm,
    /// Difference of the means in standard deviations of the base arm.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
    /// 95 % interval of it, by bootstrap over seeds.
    #[serde(alias = "gain_sigmas_ci95")]
    pub standardised_gain_ci95: Option<Interval>,
}

/// What one scorer said of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerArm {
    /// Mean reward.
    pub reward_mean: Option<f64>,
    /// 95 % interval of the mean, by bootstrap.
    pub reward_ci95: Option<Interval>,
    /// Samples without a reward.
    pub rewards_missing: usize,
}

/// Names of all scorers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScorerNames {
    /// The reward that was optimised.
    pub reward: String,
    /// Its parts.
    pub parts: Vec<String>,
    /// The held-out scorers.
    pub held_out: Vec<String>,
    /// The judge.
    pub judge: Option<String>,
}

/// One arm of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Mean reward.
    pub reward_mean: Option<f64>,
    /// 95 % interval of the mean, by bootstrap.
    pub reward_ci95: Option<Interval>,
    /// Reward that 5 % of the rewards stay below.
    pub reward_p5: Option<f64>,
    /// Median reward.
    pub reward_p50: Option<f64>,
    /// Reward that 95 % of the rewards stay below.
    pub reward_p95: Option<f64>,
    /// Samples without a reward.
    pub rewards_missing: usize,
    /// Success rate: fraction of the judged samples that show what the prompt says.
    pub success_rate: Option<f64>,
    /// 95 % interval of it (Wilson).
    pub success_ci95: Option<Interval>,
    /// Mean pairwise distance of the samples, 0 to 1.
    pub diversity: Option<f64>,
}

/// The best of `n` base samples for each image wanted.
///
/// At equal cost: tuning costs `evaluations` once and one generation for each of the `samples` images; spent
/// on best-of-n for as many images, that is `n = 1 + floor(evaluations / samples)` generations an image.
/// The rewards are estimated without new samples: the mean over all subsets of `n` of the base arm; where the
/// arm has fewer than `n` rewards they are unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestOfN {
    /// Generations an image.
    pub n: usize,
    /// Mean reward of the image with the best reward.
    pub reward_mean: Option<f64>,
    /// How often the judge accepts that image.
    pub success_rate: Option<f64>,
}

/// How a baseline does; what cannot be known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    /// `best-of-8`, `random-search`.
    #[serde(alias = "rival")]
    pub baseline: String,
    /// Samples generated and scored once, before the first image wanted.
    pub evaluations: usize,
    /// Samples generated for each image wanted.
    #[serde(alias = "generations_per_image")]
    pub generations_per_image: usize,
    /// Mean reward.
    pub reward_mean: Option<f64>,
    /// Success rate: fraction of the judged samples that show what the prompt says.
    pub success_rate: Option<f64>,
    /// Rise of the mean reward in standard deviations of the base.
    #[serde(alias = "gain_sigmas")]
    pub standardised_gain: Option<f64>,
    /// Diversity over that of the base.
    pub diversity_ratio: Option<f64>,
}

/// Both arms of a comparison.
pub struct Arms {
    /// Noise from N(0, I).
    pub base: Evaluated,
    /// The same seeds under the policy.
    pub tuned: Evaluated,
    /// What the numbers say.
    pub comparison: Comparison,
}

/// What is known of the run besides the images.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Divergence of the policy, in nats.
    pub kl_nats: f64,
    /// Samples generated and scored for tuning.
    pub evaluations: usize,
    /// Seconds that tuning took.
    pub elapsed_seconds: f64,
}

impl Comparison {
    /// Compares two arms that were evaluated from the same seeds.
    pub fn new(prompt: &str, names: ScorerNames, base: &Evaluated, tuned: &Evaluated, cost: Cost) -> Self {
        let samples = base.seeds.len();
        // The resamples are named by the images, so a report is reproducible to the last digit.
        let first_seed = base.seeds.first().copied().unwrap_or_default();
        let gain = standardised_gain(&numbers(&base.rewards), &numbers(&tuned.rewards), first_seed);
        let (base_arm, tuned_arm) = (Arm::new(base, first_seed), Arm::new(tuned, first_seed));
        let diversity_ratio = match (base_arm.diversity, tuned_arm.diversity) {
            (Some(base), Some(tuned)) if base > 0.0 => Some(tuned / base),
            _ => None,
        };
        let pays_after_images = pays_after(cost.evaluations, base_arm.success_rate, tuned_arm.success_rate);
        Self {
            prompt: prompt.to_owned(),
            reward: names.reward,
            judge: names.judge,
            samples,
            first_seed,
            base: base_arm,
            tuned: tuned_arm,
            standardised_gain: gain.map(|gain| gain.value),
            standardised_gain_ci95: gain.map(interval),
            diversity_ratio,
            kl_nats: cost.kl_nats,
            evaluations: cost.evaluations,
            elapsed_seconds: cost.elapsed_seconds,
            pays_after_images,
            best_of_n: BestOfN::at_equal_cost(base, cost.evaluations),
            parts: match names.parts.as_slice() {
                [_] => Vec::new(),
                parts => ScorerComparison::all(parts, &base.parts, &tuned.parts, first_seed),
            },
            held_out: ScorerComparison::all(&names.held_out, &base.held_out, &tuned.held_out, first_seed),
            baselines: Vec::new(),
        }
    }
}

/// Images after which `evaluations` are paid for: a success costs `1 / p` generations at success rate `p`.
fn pays_after(evaluations: usize, base: Option<f64>, tuned: Option<f64>) -> Option<u64> {
    let (base, tuned) = base.zip(tuned).filter(|(base, tuned)| *base > 0.0 && tuned > base)?;
    Some((evaluations as f64 / (1.0 / base - 1.0 / tuned)).ceil() as u64)
}

impl Arm {
    /// Sums up what was evaluated; `seed` names the resamples of the bootstrap.
    pub fn new(evaluated: &Evaluated, seed: u64) -> Self {
        let rewards = given(&evaluated.rewards);
        let judged = given(&evaluated.judgements);
        let of_reward = ScorerArm::new(&evaluated.rewards, seed);
        let successes = judged.iter().filter(|judgement| **judgement >= 0.5).count();
        let success = success_rate(successes, judged.len());
        Self {
            reward_mean: of_reward.reward_mean,
            reward_ci95: of_reward.reward_ci95,
            reward_p5: percentile(&rewards, 5.0),
            reward_p50: percentile(&rewards, 50.0),
            reward_p95: percentile(&rewards, 95.0),
            rewards_missing: of_reward.rewards_missing,
            success_rate: success.map(|success| success.value),
            success_ci95: success.map(interval),
            diversity: mean_pairwise_distance(&evaluated.media),
        }
    }
}

impl ScorerComparison {
    fn all(names: &[String], base: &[Vec<Reward>], tuned: &[Vec<Reward>], seed: u64) -> Vec<Self> {
        let arms = base.iter().zip(tuned);
        names.iter().zip(arms).map(|(name, (base, tuned))| Self::new(name, base, tuned, seed)).collect()
    }

    fn new(scorer: &str, base: &[Reward], tuned: &[Reward], seed: u64) -> Self {
        let gain = standardised_gain(&numbers(base), &numbers(tuned), seed);
        Self {
            scorer: scorer.to_owned(),
            base: ScorerArm::new(base, seed),
            tuned: ScorerArm::new(tuned, seed),
            standardised_gain: gain.map(|gain| gain.value),
            standardised_gain_ci95: gain.map(interval),
        }
    }
}

impl ScorerArm {
    fn new(rewards: &[Reward], seed: u64) -> Self {
        let given = given(rewards);
        let mean = mean_estimate(&given, seed);
        Self {
            reward_mean: mean.map(|mean| mean.value),
            // One image says nothing about the spread.
            reward_ci95: mean.filter(|_| given.len() >= 2).map(interval),
            rewards_missing: rewards.len() - given.len(),
        }
    }
}

impl BestOfN {
    fn at_equal_cost(base: &Evaluated, evaluations: usize) -> Self {
        let n = 1 + evaluations / base.seeds.len().max(1);
        let rewards = given(&base.rewards);
        // Each reward belongs to an image; all of these must have been judged too.
        let judged = base
            .rewards
            .iter()
            .zip(&base.judgements)
            .filter(|(reward, _)| reward.given().is_some())
            .map(|(_, judgement)| judgement.given())
            .collect::<Option<Vec<_>>>()
            .filter(|judged| judged.len() == rewards.len());
        Self {
            n,
            reward_mean: expected_of_best(&rewards, &rewards, n),
            success_rate: judged.and_then(|judged| expected_of_best(&rewards, &judged, n)),
        }
    }
}

fn interval(estimate: Estimate) -> Interval {
    [estimate.low, estimate.high]
}

fn numbers(rewards: &[Reward]) -> Vec<Option<f64>> {
    rewards.iter().map(Reward::given).collect()
}

fn given(rewards: &[Reward]) -> Vec<f64> {
    rewards.iter().filter_map(Reward::given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(rewards: &[f64], judgements: &[f64]) -> Evaluated {
        let all = |values: &[f64]| values.iter().map(|value| Reward::from_number("double", *value)).collect();
        let seeds = (100..).take(rewards.len()).collect();
        Evaluated {
            seeds,
            rewards: all(rewards),
            judgements: all(judgements),
            held_out: vec![all(judgements)],
            ..Evaluated::default()
        }
    }

    fn compare(base: &Evaluated, tuned: &Evaluated) -> Comparison {
        let cost = Cost { kl_nats: 1.0, evaluations: 4, elapsed_seconds: 2.0 };
        let names = ScorerNames {
            reward: "fake".to_owned(),
            held_out: vec!["taste".to_owned()],
            judge: Some("judge".to_owned()),
            ..ScorerNames::default()
        };
        Comparison::new("a dog", names, base, tuned, cost)
    }

    #[test]
    fn tuning_is_paid_for_where_it_raises_success() {
        let rewards = [1.0, 3.0, 1.0, 3.0];
        let paid = |base: [f64; 4], tuned: [f64; 4]| {
            compare(&evaluated(&rewards, &base), &evaluated(&rewards, &tuned)).pays_after_images
        };
        let (quarter, half, all) = ([0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0], [1.0; 4]);
        assert_eq!(paid(quarter, all), Some(2), "4 evaluations over 4 - 1 generations an image");
        assert_eq!(paid(half, all), Some(4), "over 2 - 1");
        assert_eq!((paid(half, half), paid(all, half), paid([0.0; 4], all)), (None, None, None));
    }

    #[test]
    fn gain_is_in_standard_deviations_of_the_base() {
        let compared = compare(
            &evaluated(&[1.0, 3.0, 1.0, 3.0], &[0.0, 1.0, 0.0, 0.0]),
            &evaluated(&[5.0; 4], &[1.0; 4]),
        );
        let spread = (4f64 / 3.0).sqrt();
        assert!((compared.standardised_gain.unwrap() - 3.0 / spread).abs() < 1e-12);
        assert_eq!((compared.base.success_rate, compared.tuned.success_rate), (Some(0.25), Some(1.0)));
        assert_eq!((compared.samples, compared.first_seed), (4, 100));
        let held_out = &compared.held_out[0];
        assert_eq!((held_out.base.reward_mean, held_out.tuned.reward_mean), (Some(0.25), Some(1.0)));
        assert_eq!(held_out.standardised_gain, Some(1.5));
        // 4 evaluations over 4 samples buy one more image each; one of the six pairs has no 3.
        assert_eq!(compared.best_of_n.n, 2);
        assert!((compared.best_of_n.reward_mean.unwrap() - (5.0 * 3.0 + 1.0) / 6.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_missing_stays_missing() {
        let compared =
            compare(&evaluated(&[1.0, f64::NAN], &[f64::NAN; 2]), &evaluated(&[2.0, 2.0], &[f64::NAN; 2]));
        assert_eq!(compared.base.rewards_missing, 1);
        assert_eq!((compared.base.success_rate, compared.base.reward_ci95), (None, None));
        assert_eq!((compared.standardised_gain, compared.best_of_n.reward_mean), (None, None));
    }
}

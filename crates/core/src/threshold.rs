//! The reward from which a sample of one prompt counts as a success.

use crate::statistics::{mean, percentile};

/// One-sided 90 % quantile of the standard normal.
const Z_90: f64 = 1.2816;
/// Success rate of the base from which it is kept: generating until it works then costs at most 1/0.6 images each, so
/// that a run of 160 evaluations pays for itself after some 250 images only.
const KEPT_SUCCESS: f64 = 0.6;
/// Fraction of base samples that reach the success reward from which the base is kept, as a confidence bound.
const ALL: f64 = 0.9;
/// Base samples that are enough to keep the base, and those after which the run learns where they were not.
const ENOUGH: usize = 16;
const UNDECIDED: usize = 32;

/// Least separability of two modes: variance between the classes over the variance of all rewards. Split in the middle,
/// normal rewards have 2/pi and uniform ones 3/4.
const LEAST_SEPARABILITY: f64 = 0.8;
/// Newest rewards that tell what the policy reaches: those of two batches.
const NEWEST: usize = 32;
/// A sample among the lowest of this many in a hundred samples of the policy is below what the policy promises.
const LOWEST_PERCENT: f64 = 10.0;

/// What rewards of base samples say of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseSuccess {
    /// It succeeds so often that a policy has nothing to gain but loses diversity.
    Enough,
    /// More base samples will tell.
    Undecided,
    /// It fails too often, or failures cannot be told from successes.
    TooLittle,
}

impl BaseSuccess {
    /// The verdict over `rewards`. Where they have two modes, the upper one is success, and the base is kept where the
    /// one-sided 90 % lower confidence bound of its success rate reaches 0.6. Where they have one mode, only
    /// `success_reward` tells whether all of them are successes or failures: the reward that images which show the prompt
    /// usually reach.
    pub fn of(rewards: &[f64], success_reward: Option<f64>) -> Self {
        let count = rewards.len();
        let reaching = |least: f64| rewards.iter().filter(|&&reward| reward >= least).count();
        let Some(threshold) = success_threshold(rewards) else {
            let is_all = |least| count >= ENOUGH && lower_bound(reaching(least), count) >= ALL;
            return if success_reward.is_some_and(is_all) { Self::Enough } else { Self::TooLittle };
        };
        let successes = reaching(threshold);
        // A few rewards of one mode look like two.
        if count < ENOUGH || (successes as f64) < KEPT_SUCCESS * count as f64 {
            Self::TooLittle
        } else if lower_bound(successes, count) >= KEPT_SUCCESS {
            Self::Enough
        } else if count < UNDECIDED {
            Self::Undecided
        } else {
            Self::TooLittle
        }
    }
}

/// One-sided 90 % lower confidence bound of a success rate (Wilson, "Probable inference, the law of succession, and
/// statistical inference", 1927).
fn lower_bound(successes: usize, count: usize) -> f64 {
    let (n, rate, square) = (count as f64, successes as f64 / count as f64, Z_90 * Z_90);
    let half = Z_90 * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    (rate + square / (2.0 * n) - half) / (1.0 + square / n)
}

/// The threshold below which a sample is worth another try: between the two modes of all `rewards` of a run, where there
/// are two, and no lower than the 10 % lowest of the newest ones, so that one in ten samples of a policy that always
/// succeeds is generated again. `rewards` are in the order of their samples; `None` where they do not differ.
pub fn verification_threshold(rewards: &[f64]) -> Option<f64> {
    let lowest = percentile(&rewards[rewards.len().saturating_sub(NEWEST)..], LOWEST_PERCENT)?;
    let differ = rewards.iter().any(|&reward| reward != rewards[0]);
    differ.then(|| success_threshold(rewards).map_or(lowest, |threshold| threshold.max(lowest)))
}

/// The threshold between failures and successes, halfway between two rewards: the one with the largest variance between
/// the classes below and above it, where its separability shows two modes (Otsu, "A threshold selection method from
/// gray-level histograms", 1979, equations 12 and 18). `None` where there are no two modes: such rewards do not tell
/// success from failure.
pub fn success_threshold(rewards: &[f64]) -> Option<f64> {
    let mut sorted = rewards.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let centre = mean(&sorted);
    let variance: f64 = sorted.iter().map(|reward| (reward - centre).powi(2)).sum();
    let mut best: Option<(f64, f64)> = None;
    let mut sum_below = 0.0;
    for at in 1..count {
        sum_below += sorted[at - 1] - centre;
        if sorted[at] <= sorted[at - 1] {
            continue;
        }
        // Both class means are told from `sum_below`, because all deviations add up to 0.
        let between = sum_below.powi(2) * (1.0 / at as f64 + 1.0 / (count - at) as f64);
        if best.is_none_or(|(highest, _)| between > highest) {
            best = Some((between, 0.5 * (sorted[at - 1] + sorted[at])));
        }
    }
    best.filter(|(between, _)| *between >= LEAST_SEPARABILITY * variance).map(|(_, threshold)| threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_modes_are_separated() {
        let threshold = success_threshold(&[0.1, 0.62, 0.2, 0.15, 0.6, 0.64]).unwrap();
        assert!((threshold - 0.4).abs() < 1e-12, "{threshold}");
    }

    #[test]
    fn graded_and_equal_rewards_have_no_two_modes() {
        let even: Vec<f64> = (0..32).map(f64::from).collect();
        assert_eq!(success_threshold(&even), None, "the separability is 3/4");
        assert_eq!(success_threshold(&[0.2; 4]), None);
        assert_eq!(success_threshold(&[]), None);
    }

    #[test]
    fn a_policy_that_fails_now_and_then_is_verified_by_the_two_modes() {
        let of_base = (0..16).map(|at| if at % 4 == 0 { 0.6 } else { 0.2 });
        let of_policy = (0..32).map(|at| if at % 4 == 0 { 0.2 } else { 0.6 });
        let threshold = verification_threshold(&of_base.chain(of_policy).collect::<Vec<_>>()).unwrap();
        assert!((threshold - 0.4).abs() < 1e-12, "{threshold}");
    }

    #[test]
    fn a_policy_that_always_succeeds_is_verified_by_its_own_lowest_rewards() {
        let of_base = (0..16).map(|_| 0.2);
        let of_policy = (0..32).map(|at| 0.6 + 0.001 * f64::from(at));
        let threshold = verification_threshold(&of_base.chain(of_policy).collect::<Vec<_>>()).unwrap();
        assert!((threshold - 0.6031).abs() < 1e-9, "{threshold}");
        let graded: Vec<f64> = (0..41).map(f64::from).collect();
        assert_eq!(verification_threshold(&graded), Some(12.1), "the newest 32 are 9 to 40");
    }

    fn modes(successes: usize, failures: usize) -> Vec<f64> {
        let of_success = (0..successes).map(|at| 0.6 + 0.01 * (at % 7) as f64);
        of_success.chain((0..failures).map(|at| 0.2 + 0.01 * (at % 7) as f64)).collect()
    }

    fn base(successes: usize, failures: usize) -> BaseSuccess {
        BaseSuccess::of(&modes(successes, failures), None)
    }

    #[test]
    fn a_base_that_mostly_succeeds_is_kept() {
        assert_eq!(base(13, 3), BaseSuccess::Enough);
        assert_eq!(base(12, 4), BaseSuccess::Undecided);
        assert_eq!(base(23, 9), BaseSuccess::Enough);
        assert_eq!(base(22, 10), BaseSuccess::TooLittle);
        assert_eq!(base(9, 7), BaseSuccess::TooLittle);
        assert_eq!(base(7, 1), BaseSuccess::TooLittle, "eight are too few");
        assert_eq!(base(16, 0), BaseSuccess::TooLittle, "one mode does not tell success from failure");
    }

    #[test]
    fn a_success_reward_tells_one_mode_of_successes_from_one_of_failures() {
        let with = |successes, failures| BaseSuccess::of(&modes(successes, failures), Some(0.5));
        assert_eq!(with(16, 0), BaseSuccess::Enough);
        assert_eq!(with(15, 0), BaseSuccess::TooLittle, "fifteen are too few");
        assert_eq!(with(0, 16), BaseSuccess::TooLittle);
        assert_eq!(with(9, 7), BaseSuccess::TooLittle, "two modes are told without it");
    }

    #[test]
    fn wilson_by_hand() {
        assert!((lower_bound(16, 16) - 16.0 / (16.0 + Z_90 * Z_90)).abs() < 1e-12);
        assert!((lower_bound(13, 16) - 0.661).abs() < 5e-4, "{}", lower_bound(13, 16));
    }

    #[test]
    fn rewards_that_do_not_differ_have_no_threshold() {
        assert_eq!(verification_threshold(&[0.3; 20]), None);
        assert_eq!(verification_threshold(&[]), None);
    }
}

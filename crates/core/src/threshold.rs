//! The reward from which a sample of one prompt counts as a success.

use crate::statistics::{mean, percentile};

/// One-sided 90 % quantile of the standard normal.
const Z_90: f64 = 1.2816;
/// Success rate of the base from which it is kept, as a confidence bound: what a policy can add then is less than the
/// diversity that it loses.
const KEPT_SUCCESS: f64 = 0.9;
/// Samples from which a success rate is told; a few rewards of one mode look like two.
const ENOUGH: usize = 16;

/// Least separability of two modes: variance between the classes over the variance of all rewards. Split in the middle,
/// normal rewards have 2/pi and uniform ones 3/4.
const LEAST_SEPARABILITY: f64 = 0.8;
/// Newest rewards that tell what the policy reaches: those of two batches.
pub const NEWEST: usize = 32;
/// A sample among the lowest of this many in a hundred samples of the policy is below what the policy promises.
const LOWEST_PERCENT: f64 = 10.0;

/// What rewards of base samples say of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseSuccess {
    /// It succeeds so often that a policy has little to gain and diversity to lose.
    Enough,
    /// More base samples will tell, or give more noises that succeed.
    Undecided,
    /// There is something to learn: from the noises that succeeded, or, where failures cannot be told from successes, from
    /// graded rewards.
    TooLittle,
}

impl BaseSuccess {
    /// The verdict over `rewards`, of which those from `threshold` on are successes; without one, no two modes were found.
    /// The base is kept where the one-sided 90 % lower confidence bound of its success rate reaches 0.9. It is sampled
    /// until it gave `successes` noises that succeed, at most `cap` times.
    pub fn of(rewards: &[f64], threshold: Option<f64>, successes: usize, cap: usize) -> Self {
        let count = rewards.len();
        let Some(threshold) = threshold else { return Self::TooLittle };
        let reached = rewards.iter().filter(|&&reward| reward >= threshold).count();
        if count >= ENOUGH && lower_bound(reached as f64 / count as f64, count) >= KEPT_SUCCESS {
            Self::Enough
        } else if reached < successes && count < cap {
            Self::Undecided
        } else {
            Self::TooLittle
        }
    }
}

/// Whether fresh samples are known to succeed often enough: `newest` are rewards of two batches of learnt policies, in
/// each case scored before anything was learnt from them; those from `threshold` on are successes. True where the
/// one-sided 90 % lower confidence bound of the success rate reaches `least`.
pub fn is_success_known(newest: &[f64], threshold: f64, least: f64) -> bool {
    if newest.len() < ENOUGH {
        return false;
    }
    let successes = newest.iter().filter(|&&reward| reward >= threshold).count();
    lower_bound(successes as f64 / newest.len() as f64, newest.len()) >= least
}

/// One-sided 90 % lower confidence bound of the success rate `rate` of `count` samples (Wilson, "Probable inference, the
/// law of succession, and statistical inference", 1927).
pub fn lower_bound(rate: f64, count: usize) -> f64 {
    let (n, square) = (count as f64, Z_90 * Z_90);
    let half = Z_90 * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    (rate + square / (2.0 * n) - half) / (1.0 + square / n)
}

/// The threshold below which a sample is worth another try: that of success by all `rewards` of a run, where there is
/// one, and no lower than the 10 % lowest of the newest ones, so that one in ten samples of a policy that always
/// succeeds is generated again. `rewards` are in the order of their samples; `None` where they do not differ.
pub fn verification_threshold(rewards: &[f64], known: Option<f64>) -> Option<f64> {
    let lowest = percentile(&rewards[rewards.len().saturating_sub(NEWEST)..], LOWEST_PERCENT)?;
    let differ = rewards.iter().any(|&reward| reward != rewards[0]);
    let is_reached = |threshold: &f64| rewards.iter().any(|reward| reward >= threshold);
    let of_success = success_reward(rewards, known).filter(is_reached);
    differ.then(|| of_success.map_or(lowest, |threshold| threshold.max(lowest)))
}

/// The reward from which a sample is a success: `known`, the reward that images which show the prompt usually reach; where
/// it is unknown, or no sample reaches it, what lies between the two modes of `rewards`.
pub fn success_reward(rewards: &[f64], known: Option<f64>) -> Option<f64> {
    let is_reached = |threshold: &f64| rewards.iter().any(|reward| reward >= threshold);
    known.filter(is_reached).or_else(|| success_threshold(rewards)).or(known)
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
        let threshold = verification_threshold(&of_base.chain(of_policy).collect::<Vec<_>>(), None).unwrap();
        assert!((threshold - 0.4).abs() < 1e-12, "{threshold}");
    }

    #[test]
    fn a_policy_that_always_succeeds_is_verified_by_its_own_lowest_rewards() {
        let of_base = (0..16).map(|_| 0.2);
        let of_policy = (0..32).map(|at| 0.6 + 0.001 * f64::from(at));
        let threshold = verification_threshold(&of_base.chain(of_policy).collect::<Vec<_>>(), None).unwrap();
        assert!((threshold - 0.6031).abs() < 1e-9, "{threshold}");
        let graded: Vec<f64> = (0..41).map(f64::from).collect();
        assert_eq!(verification_threshold(&graded, None), Some(12.1), "the newest 32 are 9 to 40");
    }

    fn modes(successes: usize, failures: usize) -> Vec<f64> {
        let of_success = (0..successes).map(|at| 0.6 + 0.01 * (at % 7) as f64);
        of_success.chain((0..failures).map(|at| 0.2 + 0.01 * (at % 7) as f64)).collect()
    }

    fn base(successes: usize, failures: usize) -> BaseSuccess {
        BaseSuccess::of(&modes(successes, failures), Some(0.4), 8, 64)
    }

    #[test]
    fn a_base_that_nearly_always_succeeds_is_kept() {
        assert_eq!(base(16, 0), BaseSuccess::Enough);
        assert_eq!(base(31, 1), BaseSuccess::Enough);
        assert_eq!(base(15, 1), BaseSuccess::TooLittle);
        assert_eq!(base(8, 0), BaseSuccess::TooLittle, "eight do not tell");
    }

    #[test]
    fn a_base_is_sampled_until_enough_noises_succeed() {
        assert_eq!(base(7, 25), BaseSuccess::Undecided);
        assert_eq!(base(8, 24), BaseSuccess::TooLittle);
        assert_eq!(base(0, 64), BaseSuccess::TooLittle, "not for ever");
        assert_eq!(BaseSuccess::of(&modes(4, 4), None, 8, 64), BaseSuccess::TooLittle, "graded rewards");
    }

    #[test]
    fn a_success_reward_that_is_known_wins_over_the_two_modes() {
        assert_eq!(success_reward(&modes(8, 8), Some(0.5)), Some(0.5));
        assert_eq!(success_reward(&modes(16, 0), Some(0.5)), Some(0.5), "all succeed");
        let two = success_reward(&modes(8, 8), Some(0.9)).unwrap();
        assert!((0.26..0.6).contains(&two), "none reaches what is known: {two}");
        assert_eq!(success_reward(&[0.1; 16], Some(0.5)), Some(0.5), "none succeeds");
        assert_eq!(success_reward(&modes(16, 0), None), None);
    }

    #[test]
    fn verification_takes_what_is_known_where_it_is_reached() {
        let rewards: Vec<f64> = modes(0, 8).into_iter().chain(modes(30, 8)).collect();
        assert_eq!(verification_threshold(&rewards, Some(0.5)), Some(0.5));
        let two = verification_threshold(&rewards, Some(0.9)).unwrap();
        assert!((0.26..0.6).contains(&two), "{two}");
    }

    #[test]
    fn wilson_by_hand() {
        assert!((lower_bound(1.0, 16) - 16.0 / (16.0 + Z_90 * Z_90)).abs() < 1e-12);
        assert!((lower_bound(13.0 / 16.0, 16) - 0.661).abs() < 5e-4, "{}", lower_bound(13.0 / 16.0, 16));
    }

    #[test]
    fn rewards_that_do_not_differ_have_no_threshold() {
        assert_eq!(verification_threshold(&[0.3; 20], None), None);
        assert_eq!(verification_threshold(&[], None), None);
    }
}

//! Estimates with their uncertainty: means, success rates, percentiles, paired differences and best-of-n.

use serde::{Deserialize, Serialize};

use crate::noise::SampleKey;
use crate::rng::{Domain, Stream};

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 2000;
/// From this many values on, the normal interval is as good as the bootstrap.
const LARGE: usize = 1000;
/// Two-sided 95 % point of the standard normal.
const Z_95: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Mean and standard deviation of the rewards of the untuned model, `N(0, I)`: the unit of standardised gains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseStatistics {
    /// Mean reward.
    pub mean: f64,
    /// Standard deviation of the rewards, 0 where they are equal.
    #[serde(alias = "spread")]
    pub standard_deviation: f64,
}

impl BaseStatistics {
    /// Of these rewards.
    pub fn of(rewards: &[f64]) -> Self {
        Self { mean: mean(rewards), standard_deviation: standard_deviation(rewards) }
    }

    /// `(reward - mean) / standard deviation`; `None` where the base rewards are equal.
    pub fn standardised(&self, reward: f64) -> Option<f64> {
        (self.standard_deviation > 0.0).then(|| (reward - self.mean) / self.standard_deviation)
    }
}

/// Arithmetic mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation with `n - 1` degrees of freedom; 0 below two values and exactly 0 for equal values.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 || values.iter().all(|&value| value == values[0]) {
        return 0.0;
    }
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Percentile `percent` of 0..=100 by linear interpolation between order statistics; `None` of nothing.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = percent.clamp(0.0, 100.0) / 100.0 * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

/// Mean with its 95 % interval: percentile bootstrap under `seed`, normal from 1000 values on; `None` of
/// nothing.
pub fn mean_estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let value = values.first().map(|_| mean(values))?;
    if values.len() >= LARGE {
        let half = Z_95 * standard_deviation(values) / (values.len() as f64).sqrt();
        return Some(Estimate { value, low: value - half, high: value + half });
    }
    let mut stream = Stream::new(SampleKey { seed, iteration: 0, index: 0 }, Domain::Bootstrap);
    let resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            (0..values.len()).map(|_| values[stream.below(values.len())]).sum::<f64>() / values.len() as f64
        })
        .collect();
    Some(Estimate { value, low: percentile(&resampled, 2.5)?, high: percentile(&resampled, 97.5)? })
}

/// Mean of `tuned - base` over pairs from the same seeds, with its interval; pairs with a missing side drop out.
pub fn paired_difference(base: &[Option<f64>], tuned: &[Option<f64>], seed: u64) -> Option<Estimate> {
    let pairs = base.iter().zip(tuned);
    let differences: Vec<f64> = pairs.filter_map(|(base, tuned)| Some((*tuned)? - (*base)?)).collect();
    mean_estimate(&differences, seed)
}

/// Standardised gain: [`paired_difference`] in standard deviations of the base rewards; `None` where those are equal.
pub fn standardised_gain(base: &[Option<f64>], tuned: &[Option<f64>], seed: u64) -> Option<Estimate> {
    let spread = standard_deviation(&base.iter().flatten().copied().collect::<Vec<_>>());
    let gain = paired_difference(base, tuned, seed).filter(|_| spread > 0.0)?;
    Some(Estimate { value: gain.value / spread, low: gain.low / spread, high: gain.high / spread })
}

/// Success rate with Wilson's 95 % interval (Wilson, 1927, the score interval), which stays inside 0..=1; `None` without
/// trials.
pub fn success_rate(successes: usize, trials: usize) -> Option<Estimate> {
    if trials == 0 {
        return None;
    }
    let (count, rate) = (trials as f64, successes as f64 / trials as f64);
    let square = Z_95 * Z_95;
    let centre = (rate + square / (2.0 * count)) / (1.0 + square / count);
    let half =
        Z_95 / (1.0 + square / count) * (rate * (1.0 - rate) / count + square / (4.0 * count * count)).sqrt();
    Some(Estimate { value: rate, low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

/// Expected maximum of `n` draws without replacement from the pool `rewards`: the unbiased estimate of
/// best-of-n. `None` where the pool has fewer than `n` rewards or `n` is 0.
pub fn expected_best_of_n(rewards: &[f64], n: usize) -> Option<f64> {
    expected_of_best(rewards, rewards, n)
}

/// Expected `outcome` of the sample with the best reward among `n`:
/// `sum_i outcome_(i) C(i - 1, n - 1) / C(m, n)` over the pool sorted by reward; equal rewards split their
/// weight evenly.
pub fn expected_of_best(rewards: &[f64], outcomes: &[f64], n: usize) -> Option<f64> {
    let pool = rewards.len().min(outcomes.len());
    if n == 0 || n > pool {
        return None;
    }
    let mut order: Vec<usize> = (0..pool).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
    let mut weight = n as f64 / pool as f64;
    let mut rank = pool;
    let mut expected = 0.0;
    for tied in order.chunk_by(|&a, &b| rewards[a] == rewards[b]) {
        let mut weights = 0.0;
        for _ in tied {
            weights += weight;
            weight *= (rank as f64 - n as f64).max(0.0) / (rank as f64 - 1.0).max(1.0);
            rank -= 1;
        }
        expected += weights * tied.iter().map(|&at| outcomes[at]).sum::<f64>() / tied.len() as f64;
    }
    Some(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 50.0), Some(2.0));
        assert_eq!(percentile(&[0.0, 10.0], 25.0), Some(2.5));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn bootstrap_agrees_with_the_normal_interval_and_repeats() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(at % 20)).collect();
        let estimate = mean_estimate(&values, 3).unwrap();
        let half = Z_95 * standard_deviation(&values) / 20.0;
        let ends = [(estimate.value - estimate.low) / half, (estimate.high - estimate.value) / half];
        assert!(ends.iter().all(|end| (end - 1.0).abs() < 0.12), "{ends:?}");
        assert_eq!(mean_estimate(&values, 3), Some(estimate));
        assert_ne!(mean_estimate(&values, 4), Some(estimate));
    }

    #[test]
    fn wilson_by_hand() {
        // 8 of 10: the textbook interval is 0.4902 to 0.9433.
        let rate = success_rate(8, 10).unwrap();
        assert!((rate.low - 0.4902).abs() < 1e-4 && (rate.high - 0.9433).abs() < 1e-4);
        assert_eq!(success_rate(0, 5).unwrap().low, 0.0);
        assert_eq!(success_rate(0, 0), None);
    }

    #[test]
    fn best_of_n_by_hand() {
        // Pairs of {1, 2, 4}: maxima 2, 4, 4.
        assert!((expected_best_of_n(&[4.0, 1.0, 2.0], 2).unwrap() - 10.0 / 3.0).abs() < 1e-12);
        assert_eq!(expected_best_of_n(&[4.0, 1.0, 2.0], 1), Some(7.0 / 3.0));
        assert_eq!(expected_best_of_n(&[4.0, 1.0, 2.0], 3), Some(4.0));
        assert_eq!(expected_best_of_n(&[4.0], 2), None);
        // Success of the best when the two best rewards tie and only one of them succeeds.
        assert_eq!(expected_of_best(&[1.0, 1.0], &[1.0, 0.0], 1), Some(0.5));
        assert_eq!(expected_of_best(&[1.0, 1.0, 0.0], &[1.0, 0.0, 0.0], 3), Some(0.5));
    }

    #[test]
    fn missing_sides_drop_their_pair() {
        let gain = paired_difference(&[Some(1.0), None, Some(3.0)], &[Some(2.0), Some(9.0), Some(4.0)], 0);
        assert_eq!(gain, Some(Estimate { value: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(standardised_gain(&[Some(1.0), Some(1.0)], &[Some(2.0), Some(2.0)], 0), None);
    }
}

//! Rewards in standard deviations above their mean, so that the unit of a scorer does not matter.

use crate::statistics::{mean, standard_deviation};

/// `(reward - mean) / standard deviation` of each reward; equal rewards give zeros.
pub(super) fn standardise(rewards: &[f64]) -> Vec<f64> {
    let (centre, spread) = (mean(rewards), standard_deviation(rewards));
    let scaled = |value: &f64| if spread > 0.0 { (value - centre) / spread } else { 0.0 };
    rewards.iter().map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_do_not_matter_and_equal_rewards_give_zero() {
        let scores = standardise(&[3.0, 5.0, -2.0]);
        let same = standardise(&[1030.0, 1050.0, 980.0]);
        assert!(scores.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(scores.iter().sum::<f64>().abs() < 1e-12 && scores[1] > 0.8);
        assert_eq!(standardise(&[0.1; 5]), [0.0; 5]);
        assert_eq!(standardise(&[]), [0.0; 0]);
    }
}

//! From rewards to advantages: what they were better than expected, in standard deviations, so that no unit matters.

use crate::statistics::{mean, standard_deviation};

/// `differences` (reward minus expected reward), centred and over their standard deviation; a flat reward gives zeros.
pub fn advantages(differences: &[f64]) -> Vec<f64> {
    let (centre, spread) = (mean(differences), standard_deviation(differences));
    let scaled = |value: &f64| if spread > 0.0 { (value - centre) / spread } else { 0.0 };
    differences.iter().map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_do_not_matter_and_flat_rewards_give_zero() {
        let scores = advantages(&[3.0, 5.0, -2.0]);
        let same = advantages(&[1030.0, 1050.0, 980.0]);
        assert!(scores.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(scores.iter().sum::<f64>().abs() < 1e-12 && scores[1] > 0.8);
        assert_eq!(advantages(&[0.1; 5]), [0.0; 5]);
        assert_eq!(advantages(&[]), [0.0; 0]);
    }
}

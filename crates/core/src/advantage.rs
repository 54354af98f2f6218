//! From rewards to advantages: an expected reward is subtracted, and the rest is put on a scale.

use crate::config::Utilities;
use crate::statistics::{mean, normal_quantile, standard_deviation};

/// Advantages of `differences` (reward minus expected reward) on the chosen scale. Equal differences give equal
/// advantages; a flat reward gives zeros on every centred scale.
pub fn advantages(differences: &[f64], utilities: Utilities) -> Vec<f64> {
    match utilities {
        Utilities::Raw => differences.to_vec(),
        Utilities::ZScore => z_scores(differences),
        Utilities::Ranks => z_scores(&normal_scores(differences)),
    }
}

fn z_scores(values: &[f64]) -> Vec<f64> {
    let (centre, spread) = (mean(values), standard_deviation(values));
    values.iter().map(|value| if spread > 0.0 { (value - centre) / spread } else { 0.0 }).collect()
}

/// `Phi^-1((rank + 1/2) / n)`; ties share their average rank.
fn normal_scores(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut scores = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let first = order.partition_point(|&at| values[at] < values[tied[0]]);
        let rank = first as f64 + (tied.len() - 1) as f64 / 2.0;
        let score = normal_quantile((rank + 0.5) / values.len() as f64);
        tied.iter().for_each(|&at| scores[at] = score);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_ignore_units_and_outliers() {
        let scores = advantages(&[3.0, 1e9, -7.0], Utilities::Ranks);
        let same = advantages(&[0.3, 0.4, 0.1], Utilities::Ranks);
        assert_eq!(scores, same);
        assert!(scores[0].abs() < 1e-12);
        assert!((scores[1] + scores[2]).abs() < 1e-12 && scores[1] > 0.0);
    }

    #[test]
    fn ties_share_a_score_and_flat_rewards_give_zero() {
        let scores = advantages(&[1.0, 2.0, 1.0, 2.0], Utilities::Ranks);
        assert_eq!(scores[0], scores[2]);
        assert_eq!(scores[1], scores[3]);
        for utilities in [Utilities::ZScore, Utilities::Ranks] {
            assert_eq!(advantages(&[0.1; 5], utilities), [0.0; 5]);
        }
    }
}

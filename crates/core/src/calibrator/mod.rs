//! What reward is to be expected: the comparison that turns a reward into a calibrated one.

mod value_network;

pub use value_network::ValueNetwork;

use crate::config::Baseline;
use crate::statistics::mean;

/// Weight that the running mean keeps from batch to batch.
const RUNNING_DECAY: f64 = 0.8;

/// Expected reward of every sample by `baseline`; `batches` holds the given rewards of each batch, oldest
/// first, and the answer has the same layout.
pub fn expected_rewards(baseline: Baseline, batches: &[Vec<f64>]) -> Vec<Vec<f64>> {
    match baseline {
        Baseline::None => batches.iter().map(|rewards| vec![0.0; rewards.len()]).collect(),
        Baseline::LeaveOneOut => batches.iter().map(|rewards| leave_one_out(rewards)).collect(),
        Baseline::RunningMean => {
            let mut running = batches.first().map_or(0.0, |rewards| mean(rewards));
            let expect = |rewards: &Vec<f64>| {
                let expected = vec![running; rewards.len()];
                running = RUNNING_DECAY * running + (1.0 - RUNNING_DECAY) * mean(rewards);
                expected
            };
            batches.iter().map(expect).collect()
        }
    }
}

/// Mean of the other rewards; a reward alone expects itself and so teaches nothing.
fn leave_one_out(rewards: &[f64]) -> Vec<f64> {
    let sum: f64 = rewards.iter().sum();
    match rewards.len() {
        0 | 1 => rewards.to_vec(),
        count => rewards.iter().map(|reward| (sum - reward) / (count - 1) as f64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_cases() {
        let batches = [vec![1.0, 2.0, 6.0], vec![5.0]];
        assert_eq!(expected_rewards(Baseline::None, &batches), [vec![0.0; 3], vec![0.0]]);
        assert_eq!(expected_rewards(Baseline::LeaveOneOut, &batches), [vec![4.0, 3.5, 1.5], vec![5.0]]);
        let running = expected_rewards(Baseline::RunningMean, &[vec![1.0, 3.0], vec![7.0], vec![0.0]]);
        assert_eq!(running, [vec![2.0, 2.0], vec![2.0], vec![3.0]]);
    }
}

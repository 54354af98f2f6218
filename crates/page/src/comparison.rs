//! Base against tuned as rows that a page can show without knowing where they come from.

use serde::Serialize;

use crate::records::{ArmRecord, ComparisonRecord, Interval};

/// A number with its 95 % interval, where both are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<Interval>,
}

/// One figure of both arms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Of the model as it is.
    pub base: Estimate,
    /// Of the policy.
    pub tuned: Estimate,
    /// Whether it is a fraction that is shown in percent.
    pub is_fraction: bool,
}

/// The comparison of a finished run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonView {
    /// Figures of both arms.
    pub rows: Vec<Row>,
    /// Gain in standard deviations of the baseline.
    pub gain: Estimate,
    /// Diversity of the tuned arm over that of the base arm.
    pub diversity_ratio: Option<f64>,
    /// Divergence of the policy, in nats.
    pub kl_nats: Option<f64>,
    /// Fresh samples an arm.
    pub samples: u64,
    /// Seconds that tuning took.
    pub elapsed_seconds: f64,
    /// The judge of success.
    pub judge: Option<String>,
    /// What the same cost buys without a policy, in one sentence.
    pub best_of_n: Option<String>,
}

impl From<ComparisonRecord> for ComparisonView {
    fn from(record: ComparisonRecord) -> Self {
        let row = |name: &str, of: &dyn Fn(&ArmRecord) -> Estimate, is_fraction| Row {
            name: name.to_owned(),
            base: of(&record.base),
            tuned: of(&record.tuned),
            is_fraction,
        };
        let reward = |arm: &ArmRecord| Estimate { value: arm.reward_mean, interval: arm.reward_ci95 };
        let mut rows = vec![
            row(
                "Success rate",
                &|arm| Estimate { value: arm.success_rate, interval: arm.success_ci95 },
                true,
            ),
            row("Mean reward", &reward, false),
            row("Reward, lowest 5 %", &|arm| Estimate { value: arm.reward_p5, interval: None }, false),
            row("Reward, highest 5 %", &|arm| Estimate { value: arm.reward_p95, interval: None }, false),
            row("Diversity", &|arm| Estimate { value: arm.diversity, interval: None }, false),
        ];
        for (kind, scorers) in [("part of the reward", &record.parts), ("held out", &record.held_out)] {
            rows.extend(scorers.iter().map(|scorer| Row {
                name: format!("{} ({kind})", scorer.scorer),
                base: reward(&scorer.base),
                tuned: reward(&scorer.tuned),
                is_fraction: false,
            }));
        }
        rows.retain(|row| row.base.value.is_some() || row.tuned.value.is_some());
        let best_of_n = record.best_of_n.and_then(|best| {
            let reward = best.reward_mean?;
            let success = best.success_rate.map(|rate| format!(", success rate {:.0} %", 100.0 * rate));
            Some(format!(
                "Best of {} base samples at the same cost: mean reward {reward:.3}{}.",
                best.n,
                success.unwrap_or_default()
            ))
        });
        Self {
            rows,
            gain: Estimate { value: record.standardised_gain, interval: record.standardised_gain_ci95 },
            diversity_ratio: record.diversity_ratio,
            kl_nats: record.kl_nats,
            samples: record.samples,
            elapsed_seconds: record.elapsed_seconds,
            judge: record.judge,
            best_of_n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_row() {
        let record = ComparisonRecord {
            base: ArmRecord { reward_mean: Some(1.0), ..ArmRecord::default() },
            tuned: ArmRecord {
                reward_mean: Some(2.0),
                reward_ci95: Some([1.5, 2.5]),
                ..ArmRecord::default()
            },
            ..ComparisonRecord::default()
        };
        let view = ComparisonView::from(record);
        assert_eq!(view.rows.len(), 1);
        assert_eq!(view.rows[0].name, "Mean reward");
        assert_eq!(view.rows[0].tuned.interval, Some([1.5, 2.5]));
    }
}

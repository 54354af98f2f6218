//! Warnings, each with the setting that helps.

use super::{HeldOutRecord, Progress, RunConfig};
use crate::statistics::standard_deviation;

/// Rewards whose standard deviation is below this fraction of their size are called flat.
const FLAT: f64 = 1e-6;
/// Fraction of a batch that may be missing without a warning.
const MISSING_FRACTION: f64 = 0.25;
/// Below this many evaluations a budget rarely shows anything.
const SMALL_BUDGET: usize = 64;

/// What a user should know after the step that gave `rewards` (`None` is missing, for the `missing_reasons`); `is_told`
/// says whether the method learnt from them.
pub(super) fn warnings(
    config: &RunConfig,
    progress: &Progress,
    rewards: &[Option<f64>],
    missing_reasons: &[String],
    is_told: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let given: Vec<f64> = rewards.iter().flatten().copied().collect();
    let missing = rewards.len() - given.len();
    if missing as f64 > MISSING_FRACTION * rewards.len() as f64 {
        let reasons = missing_reasons.join("; ");
        warnings.push(format!("{missing} of {} rewards are missing: {reasons}", rewards.len()));
    }
    let size = given.iter().fold(0.0f64, |size, reward| size.max(reward.abs()));
    if given.len() >= 2 && standard_deviation(&given) <= FLAT * size {
        warnings.push(format!(
            "the reward is flat: all {} samples got about {}; nothing can be learnt from it, try another scorer",
            given.len(),
            given[0]
        ));
    } else if !is_told {
        warnings.push("nothing was learnt from this batch, which has fewer than two rewards".into());
    }
    if progress.iteration == 1 && config.evaluations < SMALL_BUDGET {
        warnings.push(format!(
            "a budget of {} evaluations is too small to see anything: {SMALL_BUDGET} or more are advised",
            config.evaluations
        ));
    }
    let over = progress.evaluations >= config.evaluations;
    if let (true, Some(base), Some(level)) = (over, progress.base, progress.level) {
        // Standard error of the base mean and of the level that it is compared with.
        let error = (base.standard_deviation.powi(2) / config.batch_size as f64 + level.variance).sqrt();
        if level.mean - base.mean < 2.0 * error {
            warnings.push(format!(
                "the mean reward rose by {:.3}, within two standard errors ({:.3}) of nothing: raise evaluations",
                level.mean - base.mean,
                2.0 * error
            ));
        }
    }
    warnings
}

/// What a user should know of a held-out scorer.
pub fn held_out_warning(record: &HeldOutRecord) -> Option<String> {
    let name = &record.scorer;
    if record.fallen {
        return Some(format!(
            "the held-out scorer {name} fell while the reward was optimised: the result is the policy from before the \
             fall; lower kl_budget_nats or evaluations, or optimise {name} too"
        ));
    }
    let missing = record.rewards.iter().filter(|reward| reward.is_none()).count();
    (missing as f64 > MISSING_FRACTION * record.rewards.len() as f64).then(|| {
        let (all, reasons) = (record.rewards.len(), record.missing_reasons.join("; "));
        format!("{missing} of {all} rewards of the held-out scorer {name} are missing: {reasons}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_names_its_case() {
        let config = RunConfig { evaluations: 32, ..RunConfig::default() };
        let progress = Progress { iteration: 1, evaluations: 4, ..Progress::default() };
        let flat = warnings(&config, &progress, &[Some(0.5); 4], &[], false);
        assert!(flat[0].contains("flat") && flat[1].contains("budget of 32"));
        let missing =
            warnings(&config, &progress, &[None, None, None, Some(1.0)], &["black".to_owned()], false);
        assert!(
            missing[0].contains("3 of 4 rewards are missing: black")
                && missing[1].contains("nothing was learnt")
        );
        let large = RunConfig::default();
        assert_eq!(warnings(&large, &progress, &[Some(0.5), Some(0.7)], &[], true), Vec::<String>::new());
    }

    #[test]
    fn a_spent_budget_without_a_gain_is_said() {
        let config = RunConfig { evaluations: 64, batch_size: 4, ..RunConfig::default() };
        let mut progress = Progress { iteration: 9, evaluations: 64, ..Progress::default() };
        progress.observe(&[0.0, 1.0, 2.0, 3.0]);
        let warnings = warnings(&config, &progress, &[Some(0.0), Some(3.0)], &[], true);
        assert!(warnings[0].contains("within two standard errors"));
    }
}

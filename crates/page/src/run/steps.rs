//! The steps of a run: finished ones from `metrics.jsonl`, the samples of the present one from the journal.

use noisefind_rundir::{Layout, records};
use serde::Serialize;

use crate::comparison::Estimate;
use crate::error::Result;
use crate::folder::{Folder, TEXT_LIMIT};
use crate::records::{HeldOutRecord, JournalLine, MetricsLine};

/// One step of the method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: u32,
    /// Samples generated and scored so far.
    pub evaluations: u64,
    /// Seconds since the run began.
    pub elapsed_seconds: f64,
    /// Mean reward with its 95 % interval by Student's t.
    pub reward: Estimate,
    /// In standard deviations of the baseline above its mean.
    pub standardised_gain: Option<f64>,
    /// Best single reward of the run so far.
    pub best_reward: Option<f64>,
    /// Divergence of the policy, in nats.
    pub kl_nats: Option<f64>,
    /// Mean pairwise distance of the samples of this step, 0 to 1.
    pub diversity: Option<f64>,
    /// Samples generated and scored a second since the step before.
    pub evaluations_per_second: Option<f64>,
    /// Share of the rewards' variance that was predicted before they were learnt from.
    pub predictive_r2: Option<f64>,
    /// Missing rewards of this step.
    pub missing: u64,
    /// The rewards in order of the samples' index; `null` is missing.
    pub rewards: Vec<Option<f64>>,
    /// Each held-out scorer.
    pub held_out: Vec<HeldOutRecord>,
}

/// A sample of the step that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PendingSample {
    /// The step that it will belong to, from 1.
    pub step: u32,
    /// Its number in the step, from 0.
    pub index: u32,
    /// Its reward, where there is one scorer and it gave one.
    pub reward: Option<f64>,
}

/// All whole lines of `metrics.jsonl`.
pub(crate) fn metrics(folder: &Folder) -> Result<Vec<MetricsLine>> {
    let path = Layout::new("").metrics();
    match folder.read(&path, TEXT_LIMIT) {
        Ok(bytes) => Ok(records(&path, &bytes)?),
        Err(error) if error.is_absent() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The samples in the journal that belong to no step of `lines` yet.
pub(crate) fn pending(folder: &Folder, lines: &[MetricsLine]) -> Result<Vec<PendingSample>> {
    let path = Layout::new("").rewards();
    let bytes = match folder.read(&path, TEXT_LIMIT) {
        Err(error) if error.is_absent() => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let done = lines.last().map_or(0, |line| line.step);
    let reward = |rewards: &[serde_json::Value]| match rewards {
        [reward] => reward.as_f64(),
        _ => None,
    };
    let journal = records::<JournalLine>(&path, &bytes)?;
    let of_step = journal.iter().filter(|line| line.phase == "tuning" && line.step == done);
    let sample = |line: &JournalLine| PendingSample {
        step: done + 1,
        index: line.key.index,
        reward: reward(&line.rewards),
    };
    Ok(of_step.map(sample).collect())
}

pub(super) fn steps(lines: &[MetricsLine]) -> Vec<Step> {
    let mut before = (0, 0.0);
    let step = |line: &MetricsLine| {
        let seconds = line.elapsed_seconds - before.1;
        let rate = line.evaluations.saturating_sub(before.0) as f64 / seconds;
        before = (line.evaluations, line.elapsed_seconds);
        Step {
            step: line.step,
            evaluations: line.evaluations,
            elapsed_seconds: line.elapsed_seconds,
            reward: Estimate { value: line.reward_mean, interval: interval(line) },
            standardised_gain: line.standardised_gain,
            best_reward: line.best_reward,
            kl_nats: line.kl_nats,
            diversity: line.diversity,
            evaluations_per_second: Some(rate).filter(|rate| rate.is_finite() && seconds > 0.0),
            predictive_r2: line.predictive_r2,
            missing: line.missing,
            rewards: line.rewards.clone(),
            held_out: line.held_out.clone(),
        }
    };
    lines.iter().map(step).collect()
}

/// Mean plus and minus `t s / sqrt(n)`.
fn interval(line: &MetricsLine) -> Option<[f64; 2]> {
    let (mean, spread) = (line.reward_mean?, line.reward_std?);
    let count = line.rewards.iter().flatten().count();
    let half = student_t_975(count.checked_sub(1)?)? * spread / (count as f64).sqrt();
    half.is_finite().then_some([mean - half, mean + half])
}

/// The 97.5 % quantile of Student's t; exact up to four degrees of freedom, else the expansion around the normal
/// quantile (Abramowitz and Stegun 26.7.5), which is within 0.3 % from five degrees on.
fn student_t_975(degrees: usize) -> Option<f64> {
    const Z: f64 = 1.959_963_984_540_054;
    let v = degrees as f64;
    match degrees {
        0 => None,
        1 => Some(12.706_204_736),
        2 => Some(4.302_652_730),
        3 => Some(3.182_446_305),
        4 => Some(2.776_445_105),
        _ => Some(
            Z + (Z.powi(3) + Z) / (4.0 * v)
                + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * v.powi(2))
                + (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / (384.0 * v.powi(3)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_of_student_are_those_of_the_tables() {
        for (degrees, expected) in [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (15, 2.131), (60, 2.000)]
        {
            let found = student_t_975(degrees).unwrap();
            assert!((found / expected - 1.0).abs() < 3e-3, "{degrees}: {found}");
        }
        assert_eq!(student_t_975(0), None);
    }

    #[test]
    fn samples_of_the_unfinished_step_are_pending() {
        let root = tempfile::tempdir().unwrap();
        let line = |phase: &str, step: u32, index: u32, reward: &str| {
            format!(
                "{{\"phase\":\"{phase}\",\"step\":{step},\"key\":{{\"seed\":0,\"iteration\":{step},\"index\":{index}}},\"rewards\":[{reward}]}}\n"
            )
        };
        let journal =
            [line("tuning", 0, 0, "0.5"), line("tuning", 1, 0, "0.25"), line("tuning", 1, 1, "\"blocked\"")];
        std::fs::write(root.path().join("rewards.jsonl"), journal.concat() + "{\"torn").unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let lines = [MetricsLine { step: 1, ..MetricsLine::default() }];
        let found = pending(&folder, &lines).unwrap();
        let sample = |index, reward| PendingSample { step: 2, index, reward };
        assert_eq!(found, [sample(0, Some(0.25)), sample(1, None)]);
    }

    #[test]
    fn speed_is_told_between_steps() {
        let line = |step, evaluations, elapsed_seconds| MetricsLine {
            step,
            evaluations,
            elapsed_seconds,
            ..MetricsLine::default()
        };
        let steps = steps(&[line(1, 16, 8.0), line(2, 32, 12.0), line(3, 48, 12.0)]);
        let rates = steps.iter().map(|step| step.evaluations_per_second).collect::<Vec<_>>();
        assert_eq!(rates, [Some(2.0), Some(4.0), None]);
    }
}

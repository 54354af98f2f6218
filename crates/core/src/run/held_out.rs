//! Held-out scorers: measured at every step, never optimised. Where one falls while the reward rises, the policy
//! exploits its reward, and the run ends with the policy from before the fall.

use serde::{Deserialize, Serialize};

use super::Level;
use super::record::missing_reasons;
use crate::ports::Reward;
use crate::statistics::{BaseStatistics, mean};

/// A level this many standard errors of the difference below its peak has fallen.
const FALL_ERRORS: f64 = 2.5;
/// Steps in a row below the peak that end a run: a scorer that is nothing but noise ends 2 % of runs of ten steps
/// of 16 samples so, and a fall of 0.3 base standard deviations a step is found after four.
const FALL_STEPS: u32 = 2;

/// What a run remembers of one held-out scorer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Its rewards of the untuned model: the first batch with two given rewards.
    pub base: Option<BaseStatistics>,
    /// Its mean reward, filtered over the iterations.
    pub level: Option<Level>,
    /// The highest level so far.
    pub peak: Option<Level>,
    /// Steps in a row that the level has been clearly below the peak.
    pub steps_fallen: u32,
}

/// What a held-out scorer said of one step's samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecord {
    /// Its name.
    pub scorer: String,
    /// Its rewards in order of the samples' index; `null` is missing.
    pub rewards: Vec<Option<f64>>,
    /// Each different reason why rewards are missing.
    #[serde(default)]
    pub missing_reasons: Vec<String>,
    /// Mean of the given rewards.
    pub reward_mean: Option<f64>,
    /// `(reward_mean - base mean) / base standard deviation`, the base being the first iteration.
    #[serde(alias = "reward_base_sigmas")]
    pub standardised_gain: Option<f64>,
    /// Mean reward, smoothed over the iterations.
    pub reward_smoothed: Option<f64>,
    /// Whether it has fallen far enough, for long enough, to end the run.
    pub fallen: bool,
}

impl HeldOut {
    /// Takes in what the scorer called `name` said of a step's samples.
    pub(super) fn observe(&mut self, name: &str, rewards: &[Reward]) -> HeldOutRecord {
        let missing_reasons = missing_reasons(rewards);
        let rewards: Vec<Option<f64>> = rewards.iter().map(Reward::given).collect();
        let given: Vec<f64> = rewards.iter().flatten().copied().collect();
        if given.len() >= 2 {
            let base_spread = self.base.get_or_insert(BaseStatistics::of(&given)).standard_deviation;
            let level = Level::after(self.level, &given, base_spread);
            self.level = Some(level);
            let peak = *self.peak.get_or_insert(level);
            if level.mean >= peak.mean {
                self.peak = Some(level);
            }
            let fallen = level.mean < peak.mean - FALL_ERRORS * (level.variance + peak.variance).sqrt();
            self.steps_fallen = if fallen { self.steps_fallen + 1 } else { 0 };
        }
        let reward_mean = (!given.is_empty()).then(|| mean(&given));
        HeldOutRecord {
            scorer: name.to_owned(),
            rewards,
            missing_reasons,
            reward_mean,
            standardised_gain: self.base.and_then(|base| base.standardised(reward_mean?)),
            reward_smoothed: self.level.map(|level| level.mean),
            fallen: self.has_fallen(),
        }
    }

    /// Whether it has fallen far enough, for long enough, to end the run.
    pub(super) fn has_fallen(&self) -> bool {
        self.steps_fallen >= FALL_STEPS
    }

    /// Whether its level is as high as it ever was, as far as can be told.
    pub(super) fn is_at_its_best(&self) -> bool {
        match (self.level, self.peak) {
            (Some(level), Some(peak)) => level.mean >= peak.mean - level.variance.sqrt(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(held_out: &mut HeldOut, centre: f64) -> HeldOutRecord {
        let rewards = [-1.0, 1.0, -0.5, 0.5, 0.0, 0.25, -0.25].map(|offset| Reward::Given(centre + offset));
        held_out.observe("taste", &rewards)
    }

    #[test]
    fn a_rise_and_a_wobble_are_no_fall() {
        let mut held_out = HeldOut::default();
        for centre in [0.0, 0.3, 0.8, 0.5, 0.9, 0.6, 0.8] {
            assert!(!observe(&mut held_out, centre).fallen, "at {centre}");
        }
        let record = observe(&mut held_out, 0.0);
        assert!((record.standardised_gain.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn a_fall_is_seen_at_its_second_step_and_missing_rewards_say_nothing() {
        let mut held_out = HeldOut::default();
        [0.0, 0.5, 1.0].into_iter().for_each(|centre| drop(observe(&mut held_out, centre)));
        assert!(held_out.is_at_its_best());
        assert!(!observe(&mut held_out, -2.0).fallen);
        assert!(!held_out.is_at_its_best());
        let silent = held_out.observe("taste", &[Reward::Missing("late".into()), Reward::Given(9.0)]);
        assert_eq!((silent.rewards, silent.fallen), (vec![None, Some(9.0)], false));
        assert_eq!(silent.missing_reasons, ["late"]);
        assert!(observe(&mut held_out, -2.0).fallen);
    }
}

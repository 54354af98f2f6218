//! One step of a run, for a caller that needs nothing in between.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::evaluation::Evaluation;
use crate::media::Media;
use crate::ports::Reward;
use crate::rollout::Rollout;
use crate::run::{Run, StepRecord};

/// What a step gives back: its figures, its samples and what they look like, in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The figures.
    pub record: StepRecord,
    /// Noise and reward of each sample.
    pub evaluations: Vec<Evaluation>,
    /// Image or clip of each sample.
    pub media: Vec<Media>,
}

/// Asks, generates, scores and tells one batch. The reward is that of the first scorer of `rollout`; a sum of several is
/// the caller's.
///
/// # Errors
/// Where the generator or the scorer fails or answers with the wrong number of things; the run is then as it
/// was before and the step can be tried again.
pub fn step(run: &mut Run, rollout: &mut Rollout<'_>) -> Result<Step> {
    let (mut evaluations, mut media) = (Vec::new(), Vec::new());
    rollout.run(run.ask(), |sample| {
        let reward = sample.scores.rewards.into_iter().next();
        let reward = reward.unwrap_or_else(|| Reward::Missing("the rollout has no scorer".to_owned()));
        evaluations.push(Evaluation { noise: sample.noise, reward });
        media.push(sample.media);
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    let record = run.tell(evaluations.clone())?;
    Ok(Step { record, evaluations, media })
}

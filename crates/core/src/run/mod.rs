//! One run of a method on one prompt: budget, progress, the best policy, when to stop, and what is saved.

mod config;
mod diagnostics;
mod held_out;
mod progress;
mod record;
mod state;
mod step;

pub use crate::stop_reason::StopReason;
pub use config::{ResultPolicy, RunConfig};
pub use diagnostics::held_out_warning;
pub use held_out::{HeldOut, HeldOutRecord};
pub use progress::{Level, PredictiveR2, Progress};
pub use record::StepRecord;
pub use state::{RunHeader, RunState};
pub use step::{Step, step};

use crate::error::{Error, Result};
use crate::evaluation::{Batch, Evaluation};
use crate::method::{BatchRequest, Method, Update};
use crate::noise::{Noise, NoiseShape};
use crate::policy::NoisePolicy;
use crate::ports::Reward;
use crate::state::{MethodState, NamedTensor, ScoredKey, policy_tensors, read_policy};

/// What the names of the method's tensors begin with in a [`RunState`].
const METHOD_PREFIX: &str = "method.";

/// A run between two steps: [`ask`](Self::ask) for noises, [`tell`](Self::tell) their rewards.
pub struct Run {
    config: RunConfig,
    progress: Progress,
    method: Box<dyn Method>,
    best: NoisePolicy,
    /// The last policy that was best for the reward and for every held-out scorer.
    before_fall: NoisePolicy,
}

impl Run {
    /// A run of `method`, which was told nothing yet.
    ///
    /// # Errors
    /// Where a setting is out of range.
    pub fn new(config: RunConfig, method: Box<dyn Method>) -> Result<Self> {
        config.validate()?;
        let best = method.policy().clone();
        let before_fall = best.clone();
        Ok(Self { config, progress: Progress::default(), method, best, before_fall })
    }

    /// Goes on from a saved state with a new `method` of the same settings; the steps that follow have the bits that
    /// they would have had without a stop.
    ///
    /// # Errors
    /// Where the state is incomplete or does not fit the method.
    pub fn resume(method: Box<dyn Method>, state: &RunState) -> Result<Self> {
        let RunHeader { config, shape, progress, method: header } = &state.header;
        let mut run = Self::new(config.clone(), method)?;
        if run.shape() != *shape {
            return Err(Error::NoiseShape { expected: shape.dims(), found: run.shape().dims() });
        }
        let of_method = state.tensors.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(METHOD_PREFIX)?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        });
        let of_method = MethodState { header: header.clone(), tensors: of_method.collect() };
        run.method.restore(read_policy(&state.tensors, "", *shape)?, &of_method)?;
        run.best = read_policy(&state.tensors, "best.", *shape)?;
        if !progress.held_out.is_empty() {
            run.before_fall = read_policy(&state.tensors, "before_fall.", *shape)?;
        }
        run.progress = progress.clone();
        Ok(run)
    }

    /// Everything that [`resume`](Self::resume) needs.
    pub fn state(&self) -> RunState {
        let MethodState { header: method, tensors } = self.method.save();
        let prefixed =
            |tensor: NamedTensor| NamedTensor { name: format!("{METHOD_PREFIX}{}", tensor.name), ..tensor };
        let mut tensors: Vec<NamedTensor> = tensors.into_iter().map(prefixed).collect();
        tensors.extend(policy_tensors("", self.policy()));
        tensors.extend(policy_tensors("best.", &self.best));
        if !self.progress.held_out.is_empty() {
            tensors.extend(policy_tensors("before_fall.", &self.before_fall));
        }
        let (config, progress) = (self.config.clone(), self.progress.clone());
        RunState { header: RunHeader { config, shape: self.shape(), progress, method }, tensors }
    }

    /// The settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Shape of the noise.
    pub fn shape(&self) -> NoiseShape {
        self.policy().shape()
    }

    /// Counters and running figures.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The policy that the next batch is sampled from.
    pub fn policy(&self) -> &NoisePolicy {
        self.method.policy()
    }

    /// The result: the best of the policies that were sampled from, by the smoothed reward. Nobody saw a sample of what
    /// the last update made, so that is no candidate. Where a held-out scorer fell, the last policy that was best for
    /// the reward and for all of them.
    pub fn best_policy(&self) -> &NoisePolicy {
        let fell = self.stop_reason() == Some(StopReason::HeldOutFell);
        if fell { &self.before_fall } else { &self.best }
    }

    /// The best samples, best first: best-of-n at no extra cost.
    pub fn best_samples(&self) -> &[ScoredKey] {
        &self.progress.best_samples
    }

    /// Whether the run is over, and why.
    pub fn stop_reason(&self) -> Option<StopReason> {
        let is_early = self.progress.evaluations < self.config.min_evaluations;
        let is_done = self.method.is_done().filter(|reason| *reason == StopReason::BaseSucceeds || !is_early);
        self.progress.stop_reason(&self.config).or(is_done)
    }

    /// The noises of the next batch, never more than the budget has left. The same until the batch is told.
    pub fn ask(&self) -> Vec<Noise> {
        let left = self.config.evaluations.saturating_sub(self.progress.evaluations);
        self.method.ask(BatchRequest {
            source: self.config.noise_rng,
            seed: self.config.seed,
            iteration: self.progress.iteration,
            count: self.config.batch_size.min(left) as u32,
        })
    }

    /// Takes in what came of the noises of [`ask`](Self::ask) and lets the method learn from it; -> the figures of the
    /// step.
    ///
    /// # Errors
    /// Where a noise has another shape than the run's, or is not one that was asked for.
    pub fn tell(&mut self, evaluations: Vec<Evaluation>) -> Result<StepRecord> {
        if let Some(other) = evaluations.iter().find(|one| one.noise.shape() != self.shape()) {
            let (expected, found) = (self.shape().dims(), other.noise.shape().dims());
            return Err(Error::NoiseShape { expected, found });
        }
        let (iteration, policy) = (self.progress.iteration, self.policy().clone());
        let batch = Batch { iteration, policy, evaluations };
        let given = batch.given_rewards();
        // One reward alone has nothing to be compared with, unless the user asked for batches of one.
        let is_told = given.len() >= self.config.batch_size.min(2);
        let (predicted, update) = if is_told {
            (self.method.predict(&batch), self.method.tell(&batch)?)
        } else {
            (None, Update::default())
        };
        self.progress.count(&batch, self.config.best_noises);
        if is_told {
            self.progress.predictive_r2.add(&predicted.unwrap_or_default(), &given);
            if self.progress.observe(&given) || self.config.result == ResultPolicy::Newest {
                self.best = batch.policy.clone();
            }
        }
        Ok(record::step_record(self, &batch, update, is_told))
    }

    /// Takes in what held-out scorers, by name and always in the same order, said of the newest step's samples.
    /// They decide when the run ends and which policy is its result, never where the policy goes.
    pub fn observe_held_out(&mut self, answers: &[(&str, Vec<Reward>)]) -> Vec<HeldOutRecord> {
        let held_out = &mut self.progress.held_out;
        held_out.resize_with(answers.len(), HeldOut::default);
        let records =
            held_out.iter_mut().zip(answers).map(|(one, (name, rewards))| one.observe(name, rewards));
        let records = records.collect();
        if self.progress.is_at_its_best() && self.progress.held_out.iter().all(HeldOut::is_at_its_best) {
            self.before_fall = self.best.clone();
        }
        records
    }

    /// Gives a run that ended because rewards were missing another try.
    pub fn forgive_missing(&mut self) {
        if self.stop_reason() == Some(StopReason::RewardsMissing) {
            self.progress.missing_in_a_row = 0;
        }
    }
}

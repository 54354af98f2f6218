//! One run of a method on one prompt: what lives between the steps, and what a step needs of it.

use crate::config::{MethodConfig, ResultPolicy, RunConfig};
use crate::error::Result;
use crate::evaluation::{Batch, Evaluation};
use crate::method::{Find, Learner, Paper, Update};
use crate::noise::{Noise, NoiseShape};
use crate::policy::NoisePolicy;
use crate::ports::Reward;
use crate::progress::Progress;
use crate::record::StopReason;
use crate::state::{NamedTensor, RunHeader, RunState, policy_tensors, read_policy, read_tensor};
use crate::watch::{WatchRecord, Watched};

/// A run between two steps; [`step`](crate::step::step) moves it on.
pub struct Run {
    pub(crate) config: RunConfig,
    pub(crate) shape: NoiseShape,
    pub(crate) progress: Progress,
    pub(crate) learner: Box<dyn Learner>,
    best: NoisePolicy,
    /// The last policy that was best for the reward and for every held-out scorer.
    before_fall: NoisePolicy,
    kept: Vec<Evaluation>,
}

impl Run {
    /// A run that starts at `N(0, I)`; `prompt_embedding` is what the value network sees of the prompt.
    ///
    /// # Errors
    /// Where a setting is out of range.
    pub fn new(config: RunConfig, shape: NoiseShape, prompt_embedding: Vec<f32>) -> Result<Self> {
        config.validate()?;
        let learner: Box<dyn Learner> = match &config.method {
            MethodConfig::Find(find) => Box::new(Find::new(find.clone(), shape)),
            MethodConfig::Paper(paper) => {
                Box::new(Paper::new(paper.clone(), shape, prompt_embedding, config.seed))
            }
        };
        let best = NoisePolicy::standard(shape);
        let before_fall = best.clone();
        Ok(Self {
            config,
            shape,
            progress: Progress::default(),
            learner,
            best,
            before_fall,
            kept: Vec::new(),
        })
    }

    /// Goes on from a saved state; the steps that follow have the bits that they would have had without a stop.
    ///
    /// # Errors
    /// Where the state is incomplete or does not fit its own settings.
    pub fn resume(state: &RunState, prompt_embedding: Vec<f32>) -> Result<Self> {
        let RunHeader { config, shape, progress, memory } = &state.header;
        let (tensors, shape) = (&state.tensors, *shape);
        let mut run = Self::new(config.clone(), shape, prompt_embedding)?;
        run.learner.restore(read_policy(tensors, "", shape)?, memory, tensors)?;
        run.best = read_policy(tensors, "best.", shape)?;
        if !progress.watched.is_empty() {
            run.before_fall = read_policy(tensors, "before_fall.", shape)?;
        }
        let kept = read_tensor(tensors, "kept.noise", progress.kept.len() * shape.numel())?;
        let rows = kept.chunks_exact(shape.numel().max(1));
        run.kept = progress
            .kept
            .iter()
            .zip(rows)
            .filter_map(|(&(key, reward), row)| {
                let noise = Noise::new(key, shape, row.to_vec())?;
                Some(Evaluation { noise, reward: Reward::Given(reward) })
            })
            .collect();
        run.progress = progress.clone();
        Ok(run)
    }

    /// Everything that [`resume`](Self::resume) needs.
    pub fn state(&self) -> RunState {
        let (memory, mut tensors) = self.learner.save();
        tensors.extend(policy_tensors("", self.learner.policy()));
        tensors.extend(policy_tensors("best.", &self.best));
        if !self.progress.watched.is_empty() {
            tensors.extend(policy_tensors("before_fall.", &self.before_fall));
        }
        let kept: Vec<f32> = self.kept.iter().flat_map(|one| one.noise.values().iter().copied()).collect();
        tensors.push(NamedTensor::new("kept.noise", vec![self.kept.len(), self.shape.numel()], kept));
        let (config, progress) = (self.config.clone(), self.progress.clone());
        RunState { header: RunHeader { config, shape: self.shape, progress, memory }, tensors }
    }

    /// The settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Shape of the noise.
    pub fn shape(&self) -> NoiseShape {
        self.shape
    }

    /// Counters and running figures.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The policy that the next batch is drawn from.
    pub fn policy(&self) -> &NoisePolicy {
        self.learner.policy()
    }

    /// The result: the best of the policies that were drawn from, by the smoothed reward. What the last update
    /// made of it was never seen, so it is not trusted. Where a held-out scorer fell, the last policy that was best
    /// for the reward and for all of them.
    pub fn best_policy(&self) -> &NoisePolicy {
        let fell = self.progress.stop_reason(&self.config) == Some(StopReason::HeldOutFell);
        if fell { &self.before_fall } else { &self.best }
    }

    /// The best samples seen, best first: best-of-n at no extra cost.
    pub fn best_samples(&self) -> &[Evaluation] {
        &self.kept
    }

    /// Whether the run is over, and why; seconds are for the caller to watch.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.progress.stop_reason(&self.config)
    }

    /// Takes in what held-out scorers, by name and always in the same order, said of the newest step's samples.
    /// They decide when the run ends and which policy is kept, never where the policy goes.
    pub fn watch(&mut self, answers: &[(&str, Vec<Reward>)]) -> Vec<WatchRecord> {
        let watched = &mut self.progress.watched;
        watched.resize_with(answers.len(), Watched::default);
        let records =
            watched.iter_mut().zip(answers).map(|(one, (name, rewards))| one.observe(name, rewards));
        let records = records.collect();
        if self.progress.is_at_its_best() && self.progress.watched.iter().all(Watched::is_at_its_best) {
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

    /// Draws the next batch, never more than the budget has left.
    pub(crate) fn ask(&self) -> Vec<Noise> {
        let left = self.config.evaluations.saturating_sub(self.progress.evaluations);
        let count = self.config.batch_size.min(left) as u32;
        self.learner.policy().draw_batch(
            self.config.noise_rng,
            self.config.seed,
            self.progress.iteration,
            count,
        )
    }

    /// Counts `batch` and takes it into the method's memory; the expected reward of every sample in that memory,
    /// the newest last. Empty where the batch has too few given rewards to teach anything: then it is forgotten.
    pub(crate) fn calibrate(&mut self, batch: &Batch) -> Vec<f64> {
        let rewards: Vec<Option<f64>> = batch.evaluations.iter().map(|one| one.reward.given()).collect();
        self.progress.count(&rewards);
        self.keep_best(batch);
        let given = batch.given_rewards();
        // One reward alone has nothing to be compared with, unless the user asked for batches of one.
        if given.len() < self.config.batch_size.min(2) {
            return Vec::new();
        }
        self.progress.explained.add(&self.learner.predict(batch), &given);
        if self.progress.observe(&given) || self.config.result == ResultPolicy::Newest {
            self.best = batch.policy.clone();
        }
        self.learner.remember(batch.clone());
        self.learner.calibrate()
    }

    /// What each sample in the method's memory was better than expected.
    pub(crate) fn advantages(&self, expected: &[f64]) -> Vec<f64> {
        if expected.is_empty() { Vec::new() } else { self.learner.advantages(expected) }
    }

    /// Updates the policy; without advantages it stays as it is.
    pub(crate) fn tell(&mut self, advantages: &[f64]) -> Result<Update> {
        if advantages.is_empty() { Ok(Update::default()) } else { self.learner.tell(advantages) }
    }

    fn keep_best(&mut self, batch: &Batch) {
        self.kept.extend(batch.given().map(|(sample, _)| sample.clone()));
        // A stable sort keeps the earlier of two equal samples.
        self.kept.sort_by(|a, b| {
            b.reward.given().partial_cmp(&a.reward.given()).unwrap_or(std::cmp::Ordering::Equal)
        });
        self.kept.truncate(self.config.kept_noises);
        self.progress.kept =
            self.kept.iter().filter_map(|sample| Some((sample.key(), sample.reward.given()?))).collect();
    }
}

//! A run whose samples another process evaluates: it asks for the rewards of noises and is told them, in any order, over
//! the same run folder that tuning leaves. Bindings for other languages build on it.

mod comparison;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Instant;

use noisefind_core::evaluation::Evaluation;
use noisefind_core::media::Media;
use noisefind_core::method::{Method, Start};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::Reward;
use noisefind_core::rollout::Scores;
use noisefind_core::run::{Run, StopReason, held_out_warning};
use noisefind_rundir::{EventFile, IfOccupied, PolicyFile, Resumed, RunReader, RunWriter, TensorFile};

use crate::artifacts::best::{self, BestNoises};
use crate::artifacts::samples;
use crate::config::{ModelDefaults, TuneConfig, TuneOptions};
use crate::error::{Error, Result};
use crate::evaluate::diversity::mean_pairwise_distance;
use crate::images::read_frames;
use crate::models::hashes::ModelHashes;
use crate::models::registry::steps_and_guidance;
use crate::record::{Environment, MetricsLine, Phase, SampleLine, Saved, state_of, to_file};
use crate::run::journal::Journaled;
use crate::run::prior::Prior;
use crate::run::session::provenance;
use crate::run::tune::{claim, events, rewards_up_to};

pub use crate::models::registry::OUTSIDE;
pub use comparison::ComparisonArm;

/// What an evaluation gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of which sample.
    pub key: SampleKey,
    /// What is optimised.
    pub reward: Reward,
    /// What the judge says; for samples of the comparison only.
    pub judgement: Option<Reward>,
    /// What each held-out scorer says, in the order of the config.
    pub held_out: Vec<Reward>,
    /// The image or clip, where the caller has it.
    pub media: Option<Media>,
}

/// A run between two answers.
pub struct AskTell {
    config: TuneConfig,
    writer: RunWriter,
    run: Run,
    events: EventFile,
    best: BestNoises,
    metrics: Vec<MetricsLine>,
    /// Samples after the last saved step that are recorded.
    journaled: Journaled,
    /// Their media, where they came with the answers.
    media: Vec<(SampleKey, Media)>,
    /// Seconds of the resumed parts.
    elapsed_before: f64,
    started: Instant,
}

impl AskTell {
    /// A new run in `out`, or in a new folder below `runs/`, evaluated on `device` in the numbers `dtype`.
    ///
    /// # Errors
    /// Where the model is not one of outside, an option is out of range, or the folder is taken or cannot be written.
    pub fn start(
        options: &TuneOptions,
        shape: NoiseShape,
        (device, dtype): (&str, &str),
        out: Option<&Path>,
        if_occupied: IfOccupied,
    ) -> Result<Self> {
        check_model(options.model_name())?;
        let config = options.resolve(&defaults())?;
        let prior = Prior::of(&config, &ModelHashes::of_none().model, shape)?;
        let run = Run::new(config.run.clone(), start_method(&config, shape, prior)?)?;
        let now = Environment::now(device, dtype, &ModelHashes::of_none());
        let environment = Environment { noise_shape: Some(shape), ..now };
        let claim = claim(out, if_occupied, &config.prompt, config.run.seed)?;
        let writer = RunWriter::create(claim, &config.to_toml()?, &environment)?;
        Ok(Self {
            events: events(writer.layout(), Some(&environment), &[])?,
            config,
            writer,
            run,
            best: BestNoises::default(),
            metrics: Vec::new(),
            journaled: Journaled::default(),
            media: Vec::new(),
            elapsed_before: 0.0,
            started: Instant::now(),
        })
    }

    /// Continues the run in `root`; answers that were given before are known.
    ///
    /// # Errors
    /// Where it is no run, another process writes it, or its model is one that this process runs itself.
    pub fn resume(root: &Path) -> Result<Self> {
        let Resumed { writer, config, checkpoint } = RunWriter::resume::<Saved>(root)?;
        let options = TuneOptions::parse(&writer.layout().config(), &config)?;
        check_model(options.model_name())?;
        let config = options.resolve(&defaults())?;
        let reader = RunReader::open(root)?;
        let environment = reader.json::<Environment>(&writer.layout().environment())?;
        let shape = environment.as_ref().and_then(|it| it.noise_shape).ok_or_else(|| Error::Config {
            path: writer.layout().environment(),
            reason: "no noise_shape; start the run anew".to_owned(),
        })?;
        let prior = match &checkpoint {
            Some(_) => None,
            None => Prior::of(&config, &ModelHashes::of_none().model, shape)?,
        };
        let method = start_method(&config, shape, prior)?;
        let run = match checkpoint {
            Some((_, TensorFile { tensors, metadata })) => {
                let mut run = Run::resume(method, &state_of(tensors, metadata.header))?;
                run.forgive_missing();
                run
            }
            None => Run::new(config.run.clone(), method)?,
        };
        let metrics = reader.metrics::<MetricsLine>()?;
        let journaled = Journaled::read(&reader, run.progress().iteration)?;
        let saved = metrics.last().map_or(0.0, |line| line.elapsed_seconds);
        let mut resumed = Self {
            events: events(writer.layout(), environment.as_ref(), &metrics)?,
            best: BestNoises::read(writer.layout(), shape)?,
            elapsed_before: saved.max(journaled.elapsed_seconds()),
            config,
            writer,
            run,
            metrics,
            journaled,
            media: Vec::new(),
            started: Instant::now(),
        };
        for noise in resumed.ask() {
            let line = resumed.journaled.find(Phase::Tuning, resumed.step(), noise.key);
            if let Some(reward) = line.and_then(|line| line.scores.rewards.first().cloned()) {
                resumed.best.observe(&resumed.run, Some(&reward));
            }
        }
        // A kill between the last answer of a step and its checkpoint leaves a step of which everything is known.
        resumed.learn_if_complete()?;
        Ok(resumed)
    }

    /// Every value of the run.
    pub fn config(&self) -> &TuneConfig {
        &self.config
    }

    /// The run folder.
    pub fn root(&self) -> &Path {
        self.writer.layout().root()
    }

    /// Shape of one noise.
    pub fn shape(&self) -> NoiseShape {
        self.run.shape()
    }

    /// Evaluations of the steps that are done.
    pub fn evaluations(&self) -> usize {
        self.run.progress().evaluations
    }

    /// The result so far.
    pub fn policy(&self) -> &NoisePolicy {
        self.run.best_policy()
    }

    /// Whether the run is over, and why. The budget of seconds ends it between two steps.
    pub fn stop_reason(&self) -> Option<StopReason> {
        let seconds_used = self.journaled.tuning_samples() == 0
            && self.config.max_seconds.is_some_and(|limit| self.elapsed_seconds() >= limit);
        self.run.stop_reason().or(seconds_used.then_some(StopReason::SecondsUsed))
    }

    /// All noises of this step, in the order of their keys; none where the run is over.
    pub fn ask(&self) -> Vec<Noise> {
        if self.stop_reason().is_some() { Vec::new() } else { self.run.ask() }
    }

    /// Whether the answer to a noise of this step, or of an arm of the comparison, is known.
    pub fn is_known(&self, arm: Option<ComparisonArm>, key: SampleKey) -> bool {
        let phase = arm.map_or(Phase::Tuning, ComparisonArm::phase);
        self.journaled.find(phase, self.step(), key).is_some()
    }

    /// Takes in answers, in any order; each is saved before the next, and the first one for a key counts. With the last
    /// missing answer of a step the method learns, and the figures of the step are given back.
    ///
    /// # Errors
    /// Where a key is not one of this step's or an answer has another number of held-out rewards than the config; or the
    /// disk fails.
    pub fn tell(&mut self, answers: Vec<Answer>) -> Result<Option<MetricsLine>> {
        let noises = self.ask();
        for answer in &answers {
            self.check(answer, &noises, "this step")?;
        }
        let layout = self.writer.layout().clone();
        for answer in answers {
            let Answer { key, reward, held_out, media, .. } = answer;
            if self.is_known(None, key) {
                continue;
            }
            let is_best = self.best.observe(&self.run, Some(&reward));
            if let Some(media) = media {
                let save = |folder: &Path, prefix: &str| {
                    samples::save_image(folder, prefix, &self.config, key, &media, Some(&reward))
                };
                if is_best {
                    save(&layout.images(), best::PREFIX)?;
                }
                save(&layout.samples(), "")?;
                self.media.push((key, media));
            }
            let scores = Scores { rewards: vec![reward], judgement: None, held_out };
            let line = SampleLine {
                phase: Phase::Tuning,
                step: self.step(),
                key,
                scores,
                fps: None,
                elapsed_seconds: self.elapsed_seconds(),
            };
            self.writer.save_sample(&line)?;
            self.journaled.push(line);
        }
        self.learn_if_complete()
    }

    /// Writes the policy of a run that is over.
    ///
    /// # Errors
    /// Where it goes on, or learnt nothing because rewards were missing.
    pub fn save_policy(&self) -> Result<PathBuf> {
        let reason = self.finished()?;
        let policy = self.policy();
        let (shape, kl_nats, evaluations) = (policy.shape(), policy.kl_nats(), self.evaluations());
        let rewards = rewards_up_to(self.run.progress().best_iteration, &self.metrics);
        let provenance = provenance(&self.config, shape, kl_nats, evaluations, reason, &rewards);
        let file = PolicyFile { mu: policy.stacked_mean(), sigma: policy.stacked_sigma(), provenance };
        self.writer.save_policy(&file)?;
        Ok(self.writer.layout().policy())
    }

    /// Steps that are saved.
    fn step(&self) -> u32 {
        self.run.progress().iteration
    }

    /// The noise that an answer is for.
    fn check(&self, answer: &Answer, noises: &[Noise], of: &str) -> Result<Noise> {
        let (expected, found) = (self.config.holdout.len(), answer.held_out.len());
        if expected != found {
            return Err(Error::Usage(format!("an answer has {found} held-out rewards, expected {expected}")));
        }
        noises.iter().find(|noise| noise.key == answer.key).cloned().ok_or_else(|| {
            let SampleKey { seed, iteration, index } = answer.key;
            let count = noises.len();
            Error::Usage(format!("({seed}, {iteration}, {index}) is not one of the {count} keys of {of}"))
        })
    }

    fn learn_if_complete(&mut self) -> Result<Option<MetricsLine>> {
        let (noises, step) = (self.ask(), self.step());
        let known = |noise: &Noise| {
            self.journaled.find(Phase::Tuning, step, noise.key).map(|line| line.scores.clone())
        };
        let Some(scores) = noises.iter().map(known).collect::<Option<Vec<Scores>>>() else { return Ok(None) };
        if scores.is_empty() {
            return Ok(None);
        }
        let evaluation = |(noise, scores): (&Noise, &Scores)| {
            let reward = scores.rewards.first().cloned();
            let missing = || Reward::Missing("no reward is recorded".to_owned());
            Evaluation { noise: noise.clone(), reward: reward.unwrap_or_else(missing) }
        };
        let mut record = self.run.tell(noises.iter().zip(&scores).map(evaluation).collect())?;
        let answers = self.config.holdout.iter().enumerate().map(|(at, name)| {
            let rewards = scores.iter().filter_map(|one| one.held_out.get(at).cloned()).collect();
            (name.as_str(), rewards)
        });
        let held_out = self.run.observe_held_out(&answers.collect::<Vec<_>>());
        record.warnings.extend(held_out.iter().filter_map(held_out_warning));
        let layout = self.writer.layout().clone();
        self.best.add(&layout, &self.run, &noises)?;
        let told = std::mem::take(&mut self.media);
        let media = |noise: &Noise| {
            let told = told.iter().find(|(key, _)| *key == noise.key).map(|(_, media)| media.clone());
            told.or_else(|| read_frames(&layout.samples(), &samples::name(noise.key)))
        };
        let diversity = mean_pairwise_distance(&noises.iter().filter_map(media).collect::<Vec<_>>());
        let (step, elapsed_seconds) = (self.step(), self.elapsed_seconds());
        let line = MetricsLine { step, elapsed_seconds, record, diversity, parts: Vec::new(), held_out };
        let best_step = self.run.progress().best_iteration;
        self.writer.save_step(step, &line, &to_file(self.run.state(), None), Some(best_step))?;
        self.best.prune(&layout, &self.run)?;
        self.events.append(&line.event())?;
        self.journaled = Journaled::default();
        self.metrics.push(line.clone());
        Ok(Some(line))
    }

    fn finished(&self) -> Result<StopReason> {
        let root = self.root().display();
        match self.run.stop_reason().or_else(|| self.stop_reason()) {
            Some(reason) if reason != StopReason::RewardsMissing && self.run.progress().base.is_some() => {
                Ok(reason)
            }
            Some(_) => {
                Err(Error::Usage(format!("the run in {root} has too few rewards to have learnt anything")))
            }
            None => Err(Error::Usage(format!("the run in {root} is not over; evaluate what it asks for"))),
        }
    }

    fn elapsed_seconds(&self) -> f64 {
        self.elapsed_before + self.started.elapsed().as_secs_f64()
    }
}

fn start_method(config: &TuneConfig, shape: NoiseShape, prior: Option<Prior>) -> Result<Box<dyn Method>> {
    let prior = prior.map(|prior| prior.policy);
    let start = Start { source: config.run.noise_rng, prior, ..Start::new(shape, config.run.seed) };
    Ok(config.method.start(start)?)
}

/// What is recorded where the caller says nothing: the model is unknown.
fn defaults() -> ModelDefaults {
    ModelDefaults { generation: steps_and_guidance(1, 1.0), ..ModelDefaults::default() }
}

fn check_model(name: &str) -> Result<()> {
    if name.starts_with(OUTSIDE) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "model {name:?} is run by noisefind itself, expected a name that begins with {OUTSIDE:?}; \
         `noisefind tune` starts and resumes its runs"
    )))
}

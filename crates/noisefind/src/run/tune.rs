//! Tuning: the caller's loop around the method, with everything saved after every step.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use noisefind_core::evaluation::Evaluation;
use noisefind_core::media::Media;
use noisefind_core::method::{Method, Start};
use noisefind_core::noise::Noise;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::Reward;
use noisefind_core::rollout::{Rollout, Scores};
use noisefind_core::run::{Run, StopReason, held_out_warning};
use noisefind_rundir::{
    Claim, EventFile, IfOccupied, Layout, PolicyFile, Resumed, RunReader, RunWriter, TensorFile,
    file_name_from_prompt,
};
use serde::Serialize;

use crate::artifacts::best::{self, BestNoises};
use crate::artifacts::{finish, samples};
use crate::config::reward::sum_name;
use crate::config::{LoadingConfig, TuneOptions};
use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arms, Comparison, Cost};
use crate::evaluate::diversity::mean_pairwise_distance;
use crate::images::read_frames;
use crate::machine;
use crate::observer::{Header, Observer};
use crate::record::{Environment, MetricsLine, Phase, Saved, state_of, to_file};
use crate::run::clock::Clock;
use crate::run::journal::{ArmJournal, Journaled, line};
use crate::run::prior::{Prior, PriorRun};
use crate::run::session::{Session, borrowed};

/// What to tune.
#[derive(Clone, Debug)]
pub enum TuneRequest {
    /// A new run.
    New {
        /// Prompt, model, method; what is absent takes its default.
        options: Box<TuneOptions>,
        /// The run folder; `None`: a new one under `runs/`, named by day, prompt and seed.
        out: Option<PathBuf>,
        /// What to do with a run that is there already.
        if_occupied: IfOccupied,
    },
    /// A run that was stopped; its config decides everything that changes results.
    Resume {
        /// The run folder.
        run: PathBuf,
        /// Where the same weights are now, and how the model runs; where this is silent, as before.
        loading: Box<LoadingConfig>,
    },
}

/// A run that is over; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// The run folder.
    pub run: PathBuf,
    /// The policy file; `null` where the run was interrupted before its end.
    pub policy: Option<PathBuf>,
    /// Images generated and scored.
    pub evaluations: usize,
    /// Seconds that tuning took, resumed parts added up, without the final comparison.
    pub elapsed_seconds: f64,
    /// Why tuning stopped.
    pub stop_reason: StopReason,
    /// Base against tuned; `null` where interrupted.
    pub comparison: Option<Comparison>,
}

/// Tunes a policy, then compares it with the model as it is and leaves everything in the run folder.
///
/// # Errors
/// Where the request cannot be met, the model, the scorer or the disk fails, or too many rewards in a row are
/// missing. What was saved before can be resumed.
pub fn tune(request: &TuneRequest, observer: &mut dyn Observer) -> Result<Tuned> {
    let mut tuning = match request {
        TuneRequest::New { options, out, if_occupied } => {
            Tuning::start(options, out.as_deref(), *if_occupied)?
        }
        TuneRequest::Resume { run, loading } => Tuning::resume(run, loading)?,
    };
    observer.started(&tuning.header());
    tuning.session.warn(observer);
    tuning.warn_without_prior(observer);
    let stop_reason = tuning.run_steps(observer)?;
    tuning.finish(stop_reason, observer)
}

/// A run in the making.
struct Tuning {
    session: Session,
    writer: RunWriter,
    run: Run,
    events: EventFile,
    best: BestNoises,
    /// The steps that are saved.
    metrics: Vec<MetricsLine>,
    /// Samples after them that are recorded.
    journaled: Journaled,
    /// The earlier runs that it begins with.
    prior: Vec<PriorRun>,
    clock: Clock,
}

impl Tuning {
    fn start(options: &TuneOptions, out: Option<&Path>, if_occupied: IfOccupied) -> Result<Self> {
        // A taken folder is told at once, before a large model is read.
        let prompt = options.prompt.as_deref().unwrap_or_default();
        let claim = claim(out, if_occupied, prompt, options.seed.unwrap_or_default())?;
        let mut session = Session::open(options, Some(&Layout::new(claim.root()).answers()))?;
        let config = session.config.clone();
        let prior = Prior::of(&config, &session.hashes.model, session.noise_shape())?;
        let runs = prior.as_ref().map(|prior| prior.runs.clone()).unwrap_or_default();
        let run = Run::new(config.run.clone(), start_method(&mut session, prior)?)?;
        let environment = session.environment();
        let writer = RunWriter::create(claim, &config.to_toml()?, &environment)?;
        let events = events(writer.layout(), Some(&environment), &[])?;
        Ok(Self {
            clock: Clock::start(0.0, config.max_seconds),
            session,
            writer,
            run,
            events,
            best: BestNoises::default(),
            metrics: Vec::new(),
            journaled: Journaled::default(),
            prior: runs,
        })
    }

    fn resume(root: &Path, loading: &LoadingConfig) -> Result<Self> {
        let Resumed { writer, config, checkpoint } = RunWriter::resume::<Saved>(root)?;
        let mut options = TuneOptions::parse(&writer.layout().config(), &config)?;
        options.generation.loading = loading.clone().or(options.generation.loading);
        let mut session = Session::open(&options, Some(&writer.layout().answers()))?;
        let reader = RunReader::open(root)?;
        let environment = reader.json::<Environment>(&writer.layout().environment())?;
        check_weights(&session, environment.as_ref())?;
        // A saved state holds the prior; before the first step nothing was sampled from it.
        let prior = match &checkpoint {
            Some(_) => None,
            None => Prior::of(&session.config, &session.hashes.model, session.noise_shape())?,
        };
        let runs = prior.as_ref().map(|prior| prior.runs.clone()).unwrap_or_default();
        let method = start_method(&mut session, prior)?;
        let run = match checkpoint {
            Some((_, TensorFile { tensors, metadata })) => {
                session.use_base(metadata.base)?;
                let mut run = Run::resume(method, &state_of(tensors, metadata.header))?;
                run.forgive_missing();
                run
            }
            None => Run::new(session.config.run.clone(), method)?,
        };
        let metrics = reader.metrics::<MetricsLine>()?;
        let events = events(writer.layout(), environment.as_ref(), &metrics)?;
        let journaled = Journaled::read(&reader, run.progress().iteration)?;
        let saved = metrics.last().map_or(0.0, |line| line.elapsed_seconds);
        let clock = Clock::start(saved.max(journaled.elapsed_seconds()), session.config.max_seconds);
        let best = BestNoises::read(writer.layout(), run.shape())?;
        Ok(Self { session, writer, run, events, best, metrics, journaled, prior: runs, clock })
    }

    fn header(&self) -> Header {
        let config = &self.session.config;
        Header {
            prompt: config.prompt.clone(),
            model: config.generation.model().to_owned(),
            noise_shape: self.run.shape().dims(),
            reward: sum_name(&config.reward),
            held_out: config.holdout.clone(),
            method: config.method.name().to_owned(),
            device: self.session.model.device.clone(),
            dtype: self.session.model.dtype.clone(),
            threads: machine::threads(),
            evaluations: config.run.evaluations,
            evaluations_done: self.run.progress().evaluations + self.journaled.tuning_samples(),
            prior: self.prior.clone(),
            run: self.writer.layout().root().display().to_string(),
        }
    }

    fn warn_without_prior(&self, observer: &mut dyn Observer) {
        let Some(folder) = &self.session.config.prior else { return };
        if self.prior.is_empty() && self.run.progress().iteration == 0 {
            let folder = folder.display();
            observer.warned(&format!(
                "no tuned run in {folder} has a similar prompt: the run begins without a prior"
            ));
        }
    }

    fn run_steps(&mut self, observer: &mut dyn Observer) -> Result<StopReason> {
        loop {
            match self.run.stop_reason() {
                Some(StopReason::RewardsMissing) => return Err(self.rewards_missing()),
                Some(reason) => return Ok(reason),
                None => {}
            }
            if let Some(reason) = self.clock.stop_reason(observer) {
                return Ok(reason);
            }
            match self.step(observer)? {
                ControlFlow::Continue(line) => {
                    observer.stepped(&line);
                    line.record.warnings.iter().for_each(|warning| observer.warned(warning));
                    self.metrics.push(line);
                }
                ControlFlow::Break(reason) => return Ok(reason),
            }
        }
    }

    /// One step of the method, saved; or why it ended before all samples were scored. Those that were are recorded.
    fn step(&mut self, observer: &mut dyn Observer) -> Result<ControlFlow<StopReason, MetricsLine>> {
        let noises = self.run.ask();
        let (scores, media) = match self.evaluate(&noises, observer)? {
            ControlFlow::Continue(evaluated) => evaluated,
            ControlFlow::Break(reason) => return Ok(ControlFlow::Break(reason)),
        };
        let layout = self.writer.layout().clone();
        let sum = &mut self.session.reward;
        let rewards: Vec<&[Reward]> = scores.iter().map(|one| one.rewards.as_slice()).collect();
        sum.measure(&rewards)
            .map_err(|source| Error::reward(&sum_name(&self.session.config.reward), source))?;
        let evaluation = |(noise, rewards): (&Noise, &[Reward])| Evaluation {
            noise: noise.clone(),
            reward: sum.reward(rewards),
        };
        let evaluations = noises.iter().zip(rewards).map(evaluation).collect();
        let mut record = self.run.tell(evaluations)?;
        let answers = self.session.held_out.iter().enumerate().map(|(at, scorer)| {
            let rewards = scores.iter().filter_map(|one| one.held_out.get(at).cloned()).collect();
            (scorer.name(), rewards)
        });
        let held_out = self.run.observe_held_out(&answers.collect::<Vec<_>>());
        record.warnings.extend(held_out.iter().filter_map(held_out_warning));
        self.best.add(&layout, &self.run, &noises)?;
        let step = self.run.progress().iteration;
        let elapsed_seconds = self.clock.elapsed_seconds();
        let parts = self.session.part_records(&scores);
        let diversity = mean_pairwise_distance(&media);
        let line = MetricsLine { step, elapsed_seconds, record, diversity, parts, held_out };
        let base = self.session.reward.base().map(<[_]>::to_vec);
        let state = to_file(self.run.state(), base);
        // The policy of iteration `k` is what step `k` left.
        self.writer.save_step(step, &line, &state, Some(self.run.progress().best_iteration))?;
        self.best.prune(&layout, &self.run)?;
        self.events.append(&line.event())?;
        self.journaled = Journaled::default();
        Ok(ControlFlow::Continue(line))
    }

    /// What the scorers say of each noise, and the media. Samples that an earlier process recorded are not generated again; every other
    /// is recorded before the next is scored.
    fn evaluate(
        &mut self,
        noises: &[Noise],
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<StopReason, EvaluatedStep>> {
        let step = self.run.progress().iteration;
        let generation_batch = self.session.generation_batch();
        let Self { session, writer, run, best, journaled, clock, .. } = self;
        let Session { model, scorers, held_out, reward: sum, config, .. } = session;
        let layout = writer.layout().clone();
        let known =
            |noise: &Noise| journaled.find(Phase::Tuning, step, noise.key).map(|line| line.scores.clone());
        let mut scores: Vec<Option<Scores>> = noises.iter().map(known).collect();
        let reward_of = |scores: &Scores| sum.is_measured().then(|| sum.reward(&scores.rewards));
        let of_earlier = |(noise, scores): (&Noise, &Option<Scores>)| {
            scores.as_ref().and_then(|_| read_frames(&layout.samples(), &samples::name(noise.key)))
        };
        let mut media: Vec<Option<Media>> = noises.iter().zip(&scores).map(of_earlier).collect();
        for known in scores.iter().flatten() {
            best.observe(run, reward_of(known).as_ref());
        }
        let gaps: Vec<usize> = (0..noises.len()).filter(|&at| scores[at].is_none()).collect();
        let mut rollout = Rollout::new(&config.prompt, &mut *model.generator);
        rollout.rewards = borrowed(scorers);
        rollout.held_out = borrowed(held_out);
        rollout.generation_batch = generation_batch;
        let (mut stop_reason, mut done) = (None, 0);
        rollout.run(gaps.iter().map(|&at| noises[at].clone()).collect(), |sample| {
            let (key, reward) = (sample.noise.key, reward_of(&sample.scores));
            if best.observe(run, reward.as_ref()) {
                let folder = layout.images();
                samples::save_image(&folder, best::PREFIX, config, key, &sample.media, reward.as_ref())?;
            }
            samples::save_image(&layout.samples(), "", config, key, &sample.media, reward.as_ref())?;
            writer.save_sample(&line(Phase::Tuning, step, &sample, clock.elapsed_seconds()))?;
            observer.sampled(key, &sample.media, reward.as_ref());
            // Samples come in the order of their noises.
            scores[gaps[done]] = Some(sample.scores);
            media[gaps[done]] = Some(sample.media);
            done += 1;
            stop_reason = clock.stop_reason(observer);
            let is_over = stop_reason.is_some();
            Ok::<_, Error>(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let all: Option<Vec<Scores>> = scores.into_iter().collect();
        Ok(match (all, stop_reason) {
            (Some(all), _) => ControlFlow::Continue((all, media.into_iter().flatten().collect())),
            (None, reason) => ControlFlow::Break(reason.unwrap_or(StopReason::Interrupted)),
        })
    }

    fn finish(mut self, stop_reason: StopReason, observer: &mut dyn Observer) -> Result<Tuned> {
        let layout = self.writer.layout().clone();
        let mut tuned = Tuned {
            run: layout.root().to_owned(),
            policy: None,
            evaluations: self.run.progress().evaluations,
            elapsed_seconds: self.metrics.last().map_or(0.0, |line| line.elapsed_seconds),
            stop_reason,
            comparison: None,
        };
        if stop_reason == StopReason::Interrupted {
            return Ok(tuned);
        }
        if self.run.progress().base.is_none() {
            return Err(self.rewards_missing());
        }
        let policy = self.run.best_policy().clone();
        let file = PolicyFile {
            mu: policy.stacked_mean(),
            sigma: policy.stacked_sigma(),
            provenance: self.session.provenance(
                policy.kl_nats(),
                tuned.evaluations,
                stop_reason,
                &rewards_up_to(self.run.progress().best_iteration, &self.metrics),
            ),
        };
        self.writer.save_policy(&file)?;
        tuned.policy = Some(layout.policy());
        match self.compare(&policy, &tuned, observer)? {
            Some(arms) => {
                let overview = finish::write(&layout, &self.session.config, &self.metrics, &arms, observer)?;
                self.events.append(&overview.event(self.run.progress().iteration, tuned.elapsed_seconds))?;
                tuned.comparison = Some(arms.comparison);
            }
            None => tuned.stop_reason = StopReason::Interrupted,
        }
        Ok(tuned)
    }

    /// Base against tuned on fresh seeds, every sample recorded; `None` where the observer interrupted.
    fn compare(
        &mut self,
        policy: &NoisePolicy,
        tuned: &Tuned,
        observer: &mut dyn Observer,
    ) -> Result<Option<Arms>> {
        let cost = Cost {
            kl_nats: policy.kl_nats(),
            evaluations: tuned.evaluations,
            elapsed_seconds: tuned.elapsed_seconds,
        };
        let (layout, config) = (self.writer.layout().clone(), self.session.config.clone());
        let seeds = self.session.fresh_seeds();
        let writer = RefCell::new(&mut self.writer);
        let elapsed_seconds = || self.clock.elapsed_seconds();
        let arm = |phase| ArmJournal {
            phase,
            step: self.run.progress().iteration,
            journaled: &self.journaled,
            config: &config,
            layout: &layout,
            writer: &writer,
            elapsed_seconds: &elapsed_seconds,
        };
        let (mut base, mut tuned) = (arm(Phase::Base), arm(Phase::Tuned));
        self.session.compare(policy, &seeds, cost, observer, [&mut base, &mut tuned])
    }

    /// The run is over without a result, with the reasons of its last step.
    fn rewards_missing(&self) -> Error {
        let last = self.metrics.last();
        Error::RewardsMissing {
            run: self.writer.layout().root().to_owned(),
            evaluations: self.run.progress().evaluations,
            in_a_row: self.run.progress().missing_in_a_row,
            reasons: last.map(|line| line.record.missing_reasons.clone()).unwrap_or_default(),
            can_go_on: self.run.stop_reason() == Some(StopReason::RewardsMissing),
        }
    }
}

/// What the scorers say of each sample of a step, and the media.
type EvaluatedStep = (Vec<Scores>, Vec<Media>);

/// The method of a run, which was told nothing yet.
fn start_method(session: &mut Session, prior: Option<Prior>) -> Result<Box<dyn Method>> {
    let prompt_embedding = session.prompt_embedding()?;
    let run = &session.config.run;
    let (shape, seed, source) = (session.noise_shape(), run.seed, run.noise_rng);
    let prior = prior.map(|prior| prior.policy);
    Ok(session.config.method.start(Start { shape, seed, source, prompt_embedding, prior })?)
}

/// The given rewards of all steps up to `iteration`, that of the policy that is the result.
pub(crate) fn rewards_up_to(iteration: u32, metrics: &[MetricsLine]) -> Vec<f64> {
    let steps = metrics.iter().map(|line| &line.record).filter(|record| record.iteration <= iteration);
    steps.flat_map(|record| record.rewards.iter().flatten().copied()).collect()
}

/// The event file of a run that did the steps of `lines`.
pub(crate) fn events(
    layout: &Layout,
    environment: Option<&Environment>,
    lines: &[MetricsLine],
) -> Result<EventFile> {
    let started = environment.map_or(0.0, Environment::started_unix_seconds);
    let done = lines.iter().map(MetricsLine::event).collect::<Vec<_>>();
    Ok(EventFile::rewrite(layout.tensorboard(), started, &done)?)
}

/// Takes the folder `out` for a new run, or a new one such as `runs/2026-01-31-a-green-dog-7`.
pub(crate) fn claim(out: Option<&Path>, if_occupied: IfOccupied, prompt: &str, seed: u64) -> Result<Claim> {
    let Some(root) = out else {
        let day = jiff::ZonedDateTime::now().date();
        let name = format!("{day}-{}-{seed}", file_name_from_prompt(prompt));
        return Ok(Claim::free(Path::new("runs"), &name)?);
    };
    Ok(Claim::take(root, if_occupied)?)
}

/// A run goes on only with the weights that it began with, of its model and of its scorers.
fn check_weights(session: &Session, began_with: Option<&Environment>) -> Result<()> {
    let Some(environment) = began_with else { return Ok(()) };
    let changed = |name: &str| {
        format!(
            "the weights of {name} are not those that the run began with; bring them back, or start a new run"
        )
    };
    if environment.model_sha256 != session.hashes.model {
        return Err(Error::model(&session.source.name, changed(&session.source.name)));
    }
    let began_with = |name| environment.scorers_sha256.get(name);
    let other =
        session.scorer_hashes.iter().find(|(name, now)| began_with(*name).is_some_and(|then| then != *now));
    other.map_or(Ok(()), |(name, _)| Err(Error::reward(name, changed(name))))
}

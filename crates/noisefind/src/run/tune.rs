//! Tuning: the caller's loop around the method, with everything saved after every step.

use std::path::{Path, PathBuf};
use std::time::Instant;

use noisefind_core::method::{Method, Start};
use noisefind_core::run::{Run, Step, StopReason, held_out_warning, step};
use noisefind_rundir::{
    EventFile, IfOccupied, Layout, PolicyFile, Resumed, RunReader, RunWriter, TensorFile,
    file_name_from_prompt,
};
use serde::Serialize;

use crate::artifacts::best::BestNoises;
use crate::artifacts::finish;
use crate::config::TuneOptions;
use crate::config::reward::sum_name;
use crate::error::{Error, Result};
use crate::evaluate::comparison::{Comparison, Cost};
use crate::evaluate::draw::score;
use crate::machine;
use crate::observer::{Header, Observer};
use crate::record::{Environment, MetricsLine, Saved, state_of, to_file};
use crate::run::session::Session;

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
    /// A run that was stopped; its config decides everything.
    Resume {
        /// The run folder.
        run: PathBuf,
    },
}

/// A run that is over; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// The run folder.
    pub run: PathBuf,
    /// The policy file; `null` where the run was interrupted before its end.
    pub policy: Option<PathBuf>,
    /// Pictures generated and scored.
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
        TuneRequest::Resume { run } => Tuning::resume(run)?,
    };
    observer.started(&tuning.header());
    tuning.session.warn(observer);
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
    best_step: u32,
    /// Seconds of the resumed parts.
    elapsed_before: f64,
    /// Seconds up to the last saved step: what a later reader finds in the run folder.
    elapsed_saved: f64,
    started: Instant,
}

impl Tuning {
    fn start(options: &TuneOptions, out: Option<&Path>, if_occupied: IfOccupied) -> Result<Self> {
        // A taken folder is told at once, before a large model is read.
        if let Some(root) = out {
            RunWriter::check(root, if_occupied)?;
        }
        let prompt = options.prompt.as_deref().unwrap_or_default();
        let root = out.map_or_else(|| free_folder(prompt, options.seed.unwrap_or_default()), Path::to_owned);
        let mut session = Session::open(options, Some(&Layout::new(&root).answers()))?;
        let config = session.config.clone();
        let run = Run::new(config.run.clone(), start_method(&mut session)?)?;
        let environment = session.environment();
        let writer = RunWriter::create(&root, if_occupied, &config.to_toml()?, &environment)?;
        let events = events(writer.layout(), Some(&environment), &[])?;
        Ok(Self {
            session,
            writer,
            run,
            events,
            best: BestNoises::default(),
            best_step: 0,
            elapsed_before: 0.0,
            elapsed_saved: 0.0,
            started: Instant::now(),
        })
    }

    fn resume(root: &Path) -> Result<Self> {
        let Resumed { writer, config, checkpoint } = RunWriter::resume::<Saved>(root)?;
        let options = TuneOptions::parse(&writer.layout().config(), &config)?;
        let mut session = Session::open(&options, Some(&writer.layout().answers()))?;
        let reader = RunReader::open(root)?;
        let environment = reader.json::<Environment>(&writer.layout().environment())?;
        check_weights(&session, environment.as_ref())?;
        let method = start_method(&mut session)?;
        let (run, best_step) = match checkpoint {
            Some((_, TensorFile { tensors, metadata })) => {
                session.use_standards(metadata.standards)?;
                let mut run = Run::resume(method, &state_of(tensors, metadata.header))?;
                run.forgive_missing();
                (run, metadata.best_step)
            }
            None => (Run::new(session.config.run.clone(), method)?, 0),
        };
        let lines = reader.metrics::<MetricsLine>()?;
        let events = events(writer.layout(), environment.as_ref(), &lines)?;
        let elapsed_before = lines.last().map_or(0.0, |line| line.elapsed_seconds);
        let elapsed_saved = elapsed_before;
        let started = Instant::now();
        let best = BestNoises::read(writer.layout(), run.shape())?;
        Ok(Self { session, writer, run, events, best, best_step, elapsed_before, elapsed_saved, started })
    }

    fn header(&self) -> Header {
        let config = &self.session.config;
        Header {
            prompt: config.prompt.clone(),
            model: config.generation.model.clone(),
            noise_shape: self.run.shape().dims(),
            reward: sum_name(&config.reward),
            watched: config.watch.clone(),
            method: config.method.name().to_owned(),
            device: self.session.model.device.clone(),
            dtype: self.session.model.dtype.clone(),
            threads: machine::threads(),
            evaluations: config.run.evaluations,
            evaluations_done: self.run.progress().evaluations,
            run: self.writer.layout().root().display().to_string(),
        }
    }

    fn run_steps(&mut self, observer: &mut dyn Observer) -> Result<StopReason> {
        loop {
            match self.run.stop_reason() {
                Some(StopReason::RewardsMissing) => return Err(self.rewards_missing()?),
                Some(reason) => return Ok(reason),
                None => {}
            }
            if observer.interrupted() {
                return Ok(StopReason::Interrupted);
            }
            if self.session.config.max_seconds.is_some_and(|limit| self.elapsed_seconds() >= limit) {
                return Ok(StopReason::SecondsUsed);
            }
            let line = self.step()?;
            observer.stepped(&line);
            line.record.warnings.iter().for_each(|warning| observer.warned(warning));
        }
    }

    /// One step of the method, saved.
    fn step(&mut self) -> Result<MetricsLine> {
        let Session { model, reward, config, watched, .. } = &mut self.session;
        let stepped = step(&mut self.run, &config.prompt, &mut *model.generator, reward)?;
        self.best.add(self.writer.layout(), config, &self.run, &stepped)?;
        let Step { mut record, media, .. } = stepped;
        let answers = watched
            .iter_mut()
            .map(|scorer| {
                let rewards = score(&mut **scorer, &config.prompt, &media)?;
                Ok((scorer.name(), rewards))
            })
            .collect::<Result<Vec<_>>>()?;
        let watched = self.run.observe_held_out(&answers);
        record.warnings.extend(watched.iter().filter_map(held_out_warning));
        let step = self.run.progress().iteration;
        // The policy of iteration `k` is what step `k` left.
        self.best_step = self.run.progress().best_iteration;
        let (elapsed_seconds, parts) = (self.elapsed_seconds(), self.session.part_records());
        let line = MetricsLine { step, elapsed_seconds, record, parts, watched };
        let state = to_file(self.run.state(), self.best_step, self.session.standards());
        self.writer.save_step(step, &line, &state, Some(self.best_step))?;
        self.best.prune(self.writer.layout(), &self.run)?;
        self.events.append(&line.event())?;
        self.elapsed_saved = elapsed_seconds;
        Ok(line)
    }

    fn finish(mut self, stop_reason: StopReason, observer: &mut dyn Observer) -> Result<Tuned> {
        let layout = self.writer.layout().clone();
        let mut tuned = Tuned {
            run: layout.root().to_owned(),
            policy: None,
            evaluations: self.run.progress().evaluations,
            elapsed_seconds: self.elapsed_saved,
            stop_reason,
            comparison: None,
        };
        if stop_reason == StopReason::Interrupted {
            return Ok(tuned);
        }
        if self.run.progress().base.is_none() {
            return Err(self.rewards_missing()?);
        }
        let policy = self.run.best_policy().clone();
        let file = PolicyFile {
            mu: policy.stacked_mean(),
            sigma: policy.stacked_sigma(),
            provenance: self.session.provenance(policy.kl_nats(), tuned.evaluations, stop_reason),
        };
        self.writer.save_policy(&file)?;
        tuned.policy = Some(layout.policy());
        let cost = Cost {
            kl_nats: policy.kl_nats(),
            evaluations: tuned.evaluations,
            elapsed_seconds: tuned.elapsed_seconds,
        };
        let seeds = self.session.fresh_seeds();
        match self.session.compare(&policy, &seeds, cost, observer)? {
            Some(arms) => {
                let pictures = finish::write(&layout, &self.session.config, stop_reason, &arms)?;
                self.events.append(&pictures.event(self.run.progress().iteration, tuned.elapsed_seconds))?;
                tuned.comparison = Some(arms.comparison);
            }
            None => tuned.stop_reason = StopReason::Interrupted,
        }
        Ok(tuned)
    }

    /// The run is over without a result, with the reasons of its last step.
    fn rewards_missing(&self) -> Result<Error> {
        let root = self.writer.layout().root();
        let last = RunReader::open(root)?.metrics::<MetricsLine>()?.pop();
        Ok(Error::RewardsMissing {
            run: root.to_owned(),
            evaluations: self.run.progress().evaluations,
            in_a_row: self.run.progress().missing_in_a_row,
            reasons: last.map(|line| line.record.missing_reasons).unwrap_or_default(),
            can_go_on: self.run.stop_reason() == Some(StopReason::RewardsMissing),
        })
    }

    fn elapsed_seconds(&self) -> f64 {
        self.elapsed_before + self.started.elapsed().as_secs_f64()
    }
}

/// The method of a run, which was told nothing yet.
fn start_method(session: &mut Session) -> Result<Box<dyn Method>> {
    let prompt_embedding = session.prompt_embedding()?;
    let run = &session.config.run;
    let (shape, seed, source) = (session.noise_shape(), run.seed, run.noise_rng);
    Ok(session.config.method.start(Start { shape, seed, source, prompt_embedding })?)
}

/// The event file of a run that did the steps of `lines`.
fn events(layout: &Layout, environment: Option<&Environment>, lines: &[MetricsLine]) -> Result<EventFile> {
    let started = environment.map_or(0.0, Environment::started_unix_seconds);
    let done = lines.iter().map(MetricsLine::event).collect::<Vec<_>>();
    Ok(EventFile::rewrite(layout.tensorboard(), started, &done)?)
}

/// `runs/2026-01-31-a-green-dog-7`, or with `-2`, `-3` and so on where that exists.
fn free_folder(prompt: &str, seed: u64) -> PathBuf {
    let day = jiff::Zoned::now().date();
    let name = format!("{day}-{}-{seed}", file_name_from_prompt(prompt));
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone())
        .chain(numbered)
        .map(|name| Path::new("runs").join(name))
        .find(|folder| !folder.exists())
        .unwrap_or_else(|| Path::new("runs").join(name))
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

//! Tuning: the caller's loop around the method, with everything saved after every step.

use std::path::{Path, PathBuf};
use std::time::Instant;

use noisefind_core::record::StopReason as MethodStop;
use noisefind_core::run::Run;
use noisefind_core::step::step;
use noisefind_rundir::{
    IfOccupied, PolicyFile, Provenance, Resumed, RunReader, RunWriter, file_name_from_prompt,
};
use serde::Serialize;

use crate::comparison::{Comparison, Cost};
use crate::config::{TuneOptions, method_name};
use crate::error::{Error, Result};
use crate::finish;
use crate::machine;
use crate::observer::{Header, Observer};
use crate::record::{Environment, MetricsLine, Saved, from_file, to_file};
use crate::session::Session;

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

/// Why tuning stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The budget of evaluations is used up.
    EvaluationsUsed,
    /// The mean reward stopped rising.
    Plateau,
    /// Too many rewards in a row were missing.
    RewardsMissing,
    /// The budget of seconds is used up.
    SecondsUsed,
    /// The observer asked to stop.
    Interrupted,
}

/// Tunes a policy, then compares it with the model as it is and leaves everything in the run folder.
///
/// # Errors
/// Where the request cannot be met, or the model, the scorer or the disk fails. What was saved before can be
/// resumed.
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
        let mut session = Session::open(options)?;
        let (prompt, config) = (session.config.prompt.clone(), session.config.run.clone());
        let embedding =
            session.model.generator.prompt_embedding(&prompt).map_err(noisefind_core::Error::Generator)?;
        let run = Run::new(config, session.model.generator.noise_shape(), embedding)?;
        let root = out.map_or_else(|| free_folder(&prompt, session.config.run.seed), Path::to_owned);
        let writer =
            RunWriter::create(&root, if_occupied, &session.config.to_toml()?, &session.environment())?;
        Ok(Self {
            session,
            writer,
            run,
            best_step: 0,
            elapsed_before: 0.0,
            elapsed_saved: 0.0,
            started: Instant::now(),
        })
    }

    fn resume(root: &Path) -> Result<Self> {
        let Resumed { writer, config, checkpoint } = RunWriter::resume::<Saved>(root)?;
        let options = TuneOptions::parse(&writer.layout().config(), &config)?;
        let mut session = Session::open(&options)?;
        let reader = RunReader::open(root)?;
        check_model(&session, reader.json(&writer.layout().environment())?)?;
        let prompt = &session.config.prompt;
        let embedding =
            session.model.generator.prompt_embedding(prompt).map_err(noisefind_core::Error::Generator)?;
        let (run, best_step) = match checkpoint {
            Some((_, file)) => {
                let (state, best_step) = from_file(file);
                (Run::resume(&state, embedding)?, best_step)
            }
            None => {
                (Run::new(session.config.run.clone(), session.model.generator.noise_shape(), embedding)?, 0)
            }
        };
        let elapsed_before = reader.metrics::<MetricsLine>()?.last().map_or(0.0, |line| line.elapsed_seconds);
        let elapsed_saved = elapsed_before;
        Ok(Self { session, writer, run, best_step, elapsed_before, elapsed_saved, started: Instant::now() })
    }

    fn header(&self) -> Header {
        let config = &self.session.config;
        Header {
            prompt: config.prompt.clone(),
            model: config.generation.model.clone(),
            noise_shape: self.run.shape().dims(),
            reward: config.reward.clone(),
            method: method_name(&config.run.method).to_owned(),
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
            if let Some(reason) = self.run.stop_reason() {
                return Ok(reason.into());
            }
            if observer.interrupted() {
                return Ok(StopReason::Interrupted);
            }
            if self.session.config.max_seconds.is_some_and(|limit| self.elapsed_seconds() >= limit) {
                return Ok(StopReason::SecondsUsed);
            }
            let Session { model, scorer, config, .. } = &mut self.session;
            let record = step(&mut self.run, &config.prompt, &mut *model.generator, &mut **scorer)?.record;
            let step = self.run.progress().iteration;
            if self.run.progress().at_its_best {
                self.best_step = step;
            }
            let line = MetricsLine { step, elapsed_seconds: self.elapsed_seconds(), record };
            self.writer.save_step(
                step,
                &line,
                &to_file(self.run.state(), self.best_step),
                Some(self.best_step),
            )?;
            self.elapsed_saved = line.elapsed_seconds;
            observer.stepped(&line.record, line.elapsed_seconds);
            line.record.warnings.iter().for_each(|warning| observer.warned(warning));
        }
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
        let policy = self.run.best_policy().clone();
        let file = PolicyFile {
            mu: policy.mean().to_vec(),
            sigma: policy.sigma().to_vec(),
            provenance: self.provenance(policy.kl_nats()),
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
                finish::write(&layout, &self.session.config, &arms)?;
                tuned.comparison = Some(arms.comparison);
            }
            None => tuned.stop_reason = StopReason::Interrupted,
        }
        Ok(tuned)
    }

    fn provenance(&self, kl_nats: f64) -> Provenance {
        let config = &self.session.config;
        Provenance {
            format: Provenance::FORMAT.to_owned(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            prompt: config.prompt.clone(),
            negative_prompt: config.generation.negative_prompt.clone(),
            model: config.generation.model.clone(),
            model_sha256: self.session.model_sha256.clone(),
            noise_shape: self.run.shape().dims(),
            num_inference_steps: config.generation.num_inference_steps,
            guidance_scale: config.generation.guidance_scale,
            eta: config.generation.eta,
            scheduler: config.generation.scheduler.clone(),
            height: config.generation.height,
            width: config.generation.width,
            lora: config.generation.lora.clone(),
            vae: config.generation.vae.clone(),
            clip_skip: config.generation.clip_skip,
            method: method_name(&config.run.method).to_owned(),
            seed: config.run.seed,
            evaluations: self.run.progress().evaluations,
            reward: config.reward.clone(),
            kl_nats,
        }
    }

    fn elapsed_seconds(&self) -> f64 {
        self.elapsed_before + self.started.elapsed().as_secs_f64()
    }
}

impl From<MethodStop> for StopReason {
    fn from(reason: MethodStop) -> Self {
        match reason {
            MethodStop::EvaluationsUsed => Self::EvaluationsUsed,
            MethodStop::Plateau => Self::Plateau,
            MethodStop::RewardsMissing => Self::RewardsMissing,
        }
    }
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

/// A run goes on only with the weights that it began with.
fn check_model(session: &Session, began_with: Option<Environment>) -> Result<()> {
    match began_with {
        Some(environment) if environment.model_sha256 != session.model_sha256 => Err(Error::Model {
            name: session.source.name.clone(),
            source: "its weights are not those that the run began with; bring them back, or start a new run"
                .into(),
        }),
        _ => Ok(()),
    }
}

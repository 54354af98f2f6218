//! What is inside a run folder, a policy file or a model, verified.

use std::path::Path;

use noisefind_core::noise::NoiseShape;
use noisefind_diffusion::pipeline::PartInfo;
use noisefind_diffusion::{ModelFiles, ModelInfo, single_file};
use noisefind_rundir::{PolicyFile, Provenance, RunReader};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::evaluate::comparison::Comparison;
use crate::models::registry::{ModelSource, Place};
use crate::models::sha256;
use crate::record::{Environment, MetricsLine};

/// What was found; the keys are those that `--json` prints, with the word for the kind under "kind".
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Inspected {
    /// A run folder.
    Run(Box<RunReport>),
    /// A policy file.
    Policy(Box<PolicyReport>),
    /// A model.
    Model(Box<ModelReport>),
}

/// A run, finished or not.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Steps done.
    pub steps: u32,
    /// Images generated and scored.
    pub evaluations: usize,
    /// Seconds that tuning took so far.
    pub elapsed_seconds: f64,
    /// Whether the policy is there.
    pub finished: bool,
    /// Where and with what it ran.
    pub environment: Option<Environment>,
    /// The policy's provenance.
    pub policy: Option<Provenance>,
    /// Base against tuned.
    pub comparison: Option<Comparison>,
    /// What is wrong with it; empty where nothing is.
    pub problems: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyReport {
    /// `[channels, (frames,) height, width]`.
    pub noise_shape: Vec<usize>,
    /// Gaussians that take turns.
    pub components: usize,
    /// Numbers in it: mean and standard deviation of each number of the noise, for each Gaussian.
    pub parameters: usize,
    /// Root mean square of the mean.
    pub mu_rms: f64,
    /// Smallest and largest standard deviation.
    pub sigma_range: [f32; 2],
    /// Where it came from.
    pub provenance: Provenance,
    /// What is wrong with it; a file with problems is refused, so this is empty.
    pub problems: Vec<String>,
}

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// As the user named it.
    pub name: String,
    /// The kind of pipeline.
    pub family: String,
    /// Its parts.
    pub parts: Vec<PartReport>,
    /// `[channels, (frames,) height, width]`; `null` where the model cannot be opened.
    pub noise_shape: Option<Vec<usize>>,
    /// Rows and columns of an image in pixels where nothing else is asked for.
    pub native_size: Option<[usize; 2]>,
    /// Numbers in the files of all parts.
    pub parameters: usize,
    /// About how much memory an image of native size takes with weights and numbers in this format.
    pub memory_bytes: Option<MemoryReport>,
    /// What the denoiser predicts.
    pub prediction_type: Option<String>,
    /// The scheduler's class.
    pub scheduler: Option<String>,
    /// SHA-256 over the model's files.
    pub sha256: String,
    /// What is wrong with it; empty where nothing is.
    pub problems: Vec<String>,
}

/// Bytes in each number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// With `--dtype f32`.
    pub f32: usize,
    /// With `--dtype bf16`.
    pub bf16: usize,
}

/// One part of a model.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    /// Its folder.
    pub name: String,
    /// Numbers in it.
    pub parameters: usize,
    /// Number formats that its weights are stored in.
    pub dtypes: Vec<String>,
}

/// Looks at a run folder, a policy file, a model that is a folder or one file, or a model by name.
///
/// # Errors
/// Where `what` is none of these, or a policy does not verify.
pub fn inspect(what: &str) -> Result<Inspected> {
    let path = Path::new(what);
    if path.is_file() {
        return match PolicyFile::read(path) {
            Ok(policy) => Ok(Inspected::Policy(Box::new(policy_report(policy)))),
            // A file of weights is a model or says what it is; anything else was meant as a policy.
            Err(_) if single_file::is_checkpoint(path) => {
                Ok(Inspected::Model(Box::new(ModelSource::find(what)?.report()?)))
            }
            Err(error) => Err(error.into()),
        };
    }
    if path.join("config.toml").is_file() {
        return Ok(Inspected::Run(Box::new(run_report(path)?)));
    }
    Ok(Inspected::Model(Box::new(ModelSource::find(what)?.report()?)))
}

impl ModelSource {
    /// What is inside the model, every config parsed and every weight read.
    ///
    /// # Errors
    /// Where a folder is no model at all; everything else is among the problems.
    pub fn report(&self) -> Result<ModelReport> {
        let mut report = ModelReport {
            name: self.name.clone(),
            family: String::new(),
            parts: Vec::new(),
            noise_shape: None,
            native_size: None,
            parameters: 0,
            memory_bytes: None,
            prediction_type: None,
            scheduler: None,
            sha256: self.sha256()?,
            problems: Vec::new(),
        };
        match &self.place {
            Place::Files(files) => {
                let info = ModelInfo::read(files).map_err(|source| Error::model(&self.name, source))?;
                report.memory_bytes = info
                    .memory_bytes(4)
                    .zip(info.memory_bytes(2))
                    .map(|(f32, bf16)| MemoryReport { f32, bf16 });
                report.native_size = info.native_size;
                report.family = info.family;
                // A model may recommend another number of frames than its pipeline's class.
                let (frames, unreadable) = match self.defaults() {
                    Ok(defaults) => (defaults.generation.num_frames, None),
                    Err(error) => (None, Some(error.to_string())),
                };
                let recommended = |shape: NoiseShape| {
                    let frames = shape.frames.map(|own| frames.unwrap_or(own));
                    NoiseShape { frames, ..shape }.dims()
                };
                report.noise_shape = info.noise_shape.map(recommended);
                report.parameters = info.parameters;
                report.prediction_type = info.prediction_type.map(|kind| kind.name().to_owned());
                report.scheduler = info.scheduler.map(|class| class.name.to_owned());
                report.problems = info.problems;
                report.problems.extend(unreadable);
                report.problems.extend(changed_files(files));
                let part = |part: PartInfo| PartReport {
                    name: part.name,
                    parameters: part.parameters,
                    dtypes: part.stored_dtypes,
                };
                report.parts = info.parts.into_iter().map(part).collect();
            }
            Place::External(_) => report.family = "external process".to_owned(),
            Place::TestDouble(double) => {
                report.family = "test double".to_owned();
                report.noise_shape = Some((double.generator)().noise_shape().dims());
            }
        }
        Ok(report)
    }
}

/// What differs from the list of hashes that the model's makers put beside it, where they did.
fn changed_files(files: &ModelFiles) -> Vec<String> {
    let Ok(listed) = files.read("SHA256SUMS") else { return Vec::new() };
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let changed = listed.lines().filter_map(|line| {
        let (expected, path) = line.split_once("  ")?;
        let content = match files.read(path) {
            Ok(content) => content,
            Err(error) => return Some(error.to_string()),
        };
        (sha256(&content) != expected)
            .then(|| format!("{} is not the file that SHA256SUMS lists", files.display(path)))
    });
    changed.collect()
}

fn run_report(path: &Path) -> Result<RunReport> {
    let reader = RunReader::open(path)?;
    let layout = reader.layout();
    let mut problems = Vec::new();
    let mut checked = |problem: Error| problems.push(problem.to_string());
    let metrics = reader.metrics::<MetricsLine>().unwrap_or_else(|error| {
        checked(error.into());
        Vec::new()
    });
    let environment = reader.json(&layout.environment()).unwrap_or_else(|error| {
        checked(error.into());
        None
    });
    let comparison = reader.json(&layout.comparison()).unwrap_or_else(|error| {
        checked(error.into());
        None
    });
    let policy = reader.policy().unwrap_or_else(|error| {
        checked(error.into());
        None
    });
    let last = metrics.last();
    Ok(RunReport {
        steps: last.map_or(0, |line| line.step),
        evaluations: last.map_or(0, |line| line.record.evaluations),
        elapsed_seconds: last.map_or(0.0, |line| line.elapsed_seconds),
        finished: policy.is_some(),
        environment,
        policy: policy.map(|policy| policy.provenance),
        comparison,
        problems,
    })
}

fn policy_report(file: PolicyFile) -> PolicyReport {
    let squares: f64 = file.mu.iter().map(|value| f64::from(*value).powi(2)).sum();
    let range = file
        .sigma
        .iter()
        .fold([f32::INFINITY, 0.0], |[low, high], sigma| [low.min(*sigma), high.max(*sigma)]);
    PolicyReport {
        noise_shape: file.provenance.noise_shape.clone(),
        components: file.component_count(),
        parameters: 2 * file.mu.len(),
        mu_rms: (squares / file.mu.len().max(1) as f64).sqrt(),
        sigma_range: range,
        provenance: file.provenance,
        problems: Vec::new(),
    }
}

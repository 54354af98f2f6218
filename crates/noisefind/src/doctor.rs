//! What is ready on this machine, and how fast it draws.

use std::time::{Duration, Instant};

use noisefind_core::noise::SampleKey;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::rng::NoiseSource;
use serde::Serialize;

use crate::config::{GenerationConfig, TuneOptions};
use crate::error::Result;
use crate::machine;
use crate::registry::{ModelSource, Readiness, devices};

/// The state of the machine; the keys are those that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Where models can run.
    pub devices: Vec<String>,
    /// What the processor can do beyond its family.
    pub instruction_sets: Vec<String>,
    /// Threads the program may use.
    pub threads: usize,
    /// Memory that is free for use; `null` where the system does not say.
    pub memory_bytes: Option<u64>,
    /// Models by name.
    pub models: Vec<Readiness>,
    /// Scorers by name.
    pub scorers: Vec<Readiness>,
    /// How fast the default model draws; `null` where it cannot.
    pub pictures_per_second: Option<f64>,
}

/// Looks at everything and draws for at most `limit` (one picture at least).
///
/// # Errors
/// Where the model is ready but fails to draw.
pub fn doctor(options: &TuneOptions, limit: Duration) -> Result<Diagnosis> {
    let found = ModelSource::find(options.model_name());
    let model = Readiness::of_model(&found, options.model_name());
    let config = match &found {
        Ok(source) => Some((source, options.resolve_generation(&source.defaults()?)?)),
        Err(_) => None,
    };
    let scorers =
        config.as_ref().map(|(source, config)| Readiness::of_scorers(source, config)).transpose()?;
    let speed =
        config.filter(|_| model.ready).map(|(source, config)| pictures_per_second(source, &config, limit));
    Ok(Diagnosis {
        devices: devices(),
        instruction_sets: machine::instruction_sets(),
        threads: machine::threads(),
        memory_bytes: machine::available_memory_bytes(),
        models: vec![model],
        scorers: scorers.unwrap_or_default(),
        pictures_per_second: speed.transpose()?,
    })
}

fn pictures_per_second(source: &ModelSource, config: &GenerationConfig, limit: Duration) -> Result<f64> {
    const PROMPT: &str = "a green dog";
    let mut model = source.open(config, PROMPT)?;
    let policy = NoisePolicy::standard(model.generator.noise_shape());
    let draw_one = |index| policy.draw(NoiseSource::default(), SampleKey::fresh(0, index));
    let batch = (0..8).map(draw_one).collect::<Vec<_>>();
    let mut draw =
        |noises: &[_]| model.generator.generate(PROMPT, noises).map_err(noisefind_core::Error::Generator);
    // The first picture pays for what is compiled or laid out once.
    draw(&batch[..1])?;
    let started = Instant::now();
    let mut pictures = draw(&batch)?.len();
    while started.elapsed() < limit / 2 {
        pictures += draw(&batch)?.len();
    }
    Ok(pictures as f64 / started.elapsed().as_secs_f64())
}

//! What is ready on this machine, and how fast it generates.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use noisefind_core::noise::SampleKey;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::rng::NoiseSource;
use serde::Serialize;

use crate::config::{GenerationConfig, TuneOptions};
use crate::diagnose::readiness::{Readiness, devices};
use crate::diagnose::self_test::SelfTest;
use crate::error::Result;
use crate::machine;
use crate::models::registry::ModelSource;

/// The state of the machine; the keys are those that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Where models can run.
    pub devices: Vec<String>,
    /// What the processor can do beyond its family.
    pub instruction_sets: Vec<String>,
    /// Threads that compute.
    pub threads: usize,
    /// Memory that is free for use; `null` where the system does not say.
    pub memory_bytes: Option<u64>,
    /// Models by name.
    pub models: Vec<Readiness>,
    /// Scorers by name.
    pub scorers: Vec<Readiness>,
    /// How fast the default model generates; `null` where it cannot.
    pub images_per_second: Option<f64>,
    /// What the scorers that were asked for make of images whose rewards are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub self_tests: Vec<SelfTest>,
}

/// What to look at beside the machine.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// The model, and where it runs.
    pub options: TuneOptions,
    /// Scorers to be opened, as for `--reward`.
    pub rewards: Vec<String>,
    /// Images whose rewards are known, for [`SelfTest::run`].
    pub images: Option<PathBuf>,
    /// How long to generate for the speed figure; one image is generated at least.
    pub generating: Duration,
}

/// Looks at everything.
///
/// # Errors
/// Where the model is ready but fails to generate, or a self-test cannot be made.
pub fn doctor(examination: &Examination) -> Result<Diagnosis> {
    let options = &examination.options;
    let found = ModelSource::of(&options.generation);
    let model = Readiness::of_model(&found, options.model_name());
    let config = match &found {
        Ok(source) => Some((source, options.generation.clone().resolve(source.defaults()?.generation)?)),
        Err(_) => None,
    };
    let mut scorers = Vec::new();
    let mut self_tests = Vec::new();
    if let Some((source, config)) = &config {
        scorers = Readiness::of_scorers(source, config)?;
        for name in &examination.rewards {
            let opened = source.open_scorer(name, config, None);
            scorers.retain(|scorer| !scorer.names(name));
            scorers.push(Readiness::of_opened(name, &opened));
            if let (Ok(mut scorer), Some(images)) = (opened, &examination.images) {
                self_tests.push(SelfTest::run(&mut *scorer, images)?);
            }
        }
    }
    let speed = config
        .filter(|_| model.ready)
        .map(|(source, config)| images_per_second(source, &config, examination.generating));
    Ok(Diagnosis {
        devices: devices(),
        instruction_sets: machine::instruction_sets(),
        threads: machine::threads(),
        memory_bytes: machine::available_memory_bytes(),
        models: vec![model],
        scorers,
        images_per_second: speed.transpose()?,
        self_tests,
    })
}

fn images_per_second(source: &ModelSource, config: &GenerationConfig, limit: Duration) -> Result<f64> {
    const PROMPT: &str = "a green dog";
    let mut model = source.open(config, PROMPT)?;
    let policy = NoisePolicy::standard(model.generator.noise_shape());
    let noise_of = |index| policy.sample(NoiseSource::default(), SampleKey::fresh(0, index));
    let batch = (0..8).map(noise_of).collect::<Vec<_>>();
    let mut generate =
        |noises: &[_]| model.generator.generate(PROMPT, noises).map_err(noisefind_core::Error::Generator);
    // The first image pays for what is compiled or laid out once.
    generate(&batch[..1])?;
    let started = Instant::now();
    let mut images = generate(&batch)?.len();
    while started.elapsed() < limit / 2 {
        images += generate(&batch)?.len();
    }
    Ok(images as f64 / started.elapsed().as_secs_f64())
}

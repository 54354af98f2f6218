//! What the tests of runs share.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod doubles;

use noisefind_core::config::{FindConfig, MethodConfig, PaperConfig, RandomSearchConfig, RunConfig};
use noisefind_core::method::Start;
use noisefind_core::noise::NoiseShape;
use noisefind_core::run::{Run, RunState};

/// A method with its run, before the first batch.
#[derive(Clone)]
pub struct Settings {
    pub method: MethodConfig,
    pub run: RunConfig,
}

impl Settings {
    pub fn find(find: FindConfig, run: RunConfig) -> Self {
        Self { method: MethodConfig::Find(find), run }
    }

    pub fn start(&self, shape: NoiseShape) -> Run {
        Run::new(self.run.clone(), self.method(shape)).expect("the settings are valid")
    }

    pub fn resume(&self, shape: NoiseShape, state: &RunState) -> noisefind_core::Result<Run> {
        Run::resume(self.method(shape), state)
    }

    fn method(&self, shape: NoiseShape) -> Box<dyn noisefind_core::method::Method> {
        let source = self.run.noise_rng;
        let start = Start { source, prompt_embedding: vec![0.25], ..Start::new(shape, self.run.seed) };
        self.method.start(start).expect("the settings are valid")
    }
}

/// Every method of the crate, without an early stop.
pub fn methods() -> Vec<Settings> {
    let paper = PaperConfig { value_width: 16, ..PaperConfig::default() };
    let short_history = FindConfig { history_evaluations: 20, ..FindConfig::default() };
    let methods = [
        MethodConfig::default(),
        MethodConfig::Find(short_history),
        MethodConfig::Paper(paper),
        MethodConfig::RandomSearch(RandomSearchConfig::default()),
    ];
    let run = RunConfig { plateau_iterations: 0, ..RunConfig::default() };
    methods.into_iter().map(|method| Settings { method, run: run.clone() }).collect()
}

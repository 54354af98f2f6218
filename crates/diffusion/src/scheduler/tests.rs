//! Every class against diffusers on a toy denoiser: parameters absent and null, and every change of class. The numbers are
//! made by `golden/diffusion/schedulers.py`.
//!
//! Tolerance: 2e-5 of the sample's magnitude, at least of 1, and what is lost where a step takes most of a large sample away:
//! 3e-7 of the largest sample before it. That is what diffusers' own rounding in f32 amounts to.

use std::collections::{BTreeMap, BTreeSet};

use burn_tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;
use noisefind_nn::json;

#[derive(Deserialize)]
struct Golden {
    start: Vec<f32>,
    /// Noise of each step.
    noise: Vec<Vec<f32>>,
    runs: Vec<Run>,
    configs: Vec<Map<String, Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Run {
    init_noise_sigma: f32,
    timesteps: Vec<f32>,
    /// Samples after some of the steps.
    samples: BTreeMap<usize, Vec<f32>>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    config: usize,
    /// The key that is absent or null.
    key: Option<String>,
    /// The class that the config is changed to.
    to: Option<String>,
    steps: Option<usize>,
    eta: Option<f32>,
    /// None where diffusers refuses.
    run: Option<usize>,
}

impl Case {
    fn config(&self, golden: &Golden) -> Result<SchedulerConfig> {
        let mut keys = golden.configs[self.config].clone();
        match (self.kind.as_str(), &self.key) {
            ("absent", Some(key)) => drop(keys.remove(key)),
            ("null", Some(key)) => drop(keys.insert(key.clone(), Value::Null)),
            _ => {}
        }
        let index = self.to.as_deref().filter(|_| self.kind == "other_index");
        let index = index.map(|class| ("model_index.json".to_owned(), class));
        let file = SchedulerFile::of("scheduler_config.json".into(), keys, index)?;
        match &self.to {
            Some(class) if self.kind == "from_config" => {
                let class = SchedulerClass::of_name(class).expect("the golden file has implemented classes");
                file.chosen(&class.name.parse()?)
            }
            _ => file.own(),
        }
    }

    fn schedule(&self, golden: &Golden) -> Result<Schedule> {
        Schedule::new(&self.config(golden)?, self.steps.unwrap_or(6), self.eta.unwrap_or(0.0))
    }
}

fn golden() -> Golden {
    json::from_slice(include_bytes!("../../../../golden/diffusion/schedulers.json"))
        .expect("the golden file is JSON")
}

fn samples(values: Vec<f32>) -> Samples {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [1, 1, 1, 1, count]), &Device::flex())
}

fn values(samples: &Samples) -> Vec<f32> {
    samples.clone().into_data().try_into_vec().expect("samples are f32")
}

/// The samples after each step.
fn trajectory(schedule: &Schedule, golden: &Golden) -> Vec<Vec<f32>> {
    let sigma = schedule.init_noise_sigma();
    let mut state = State::new(samples(golden.start.iter().map(|x| x * sigma).collect()));
    let step = |at: usize| {
        let (scale, time) = (schedule.input_scale(at), schedule.timesteps()[at]);
        let denoise = |x: &f32| {
            let x = x * scale;
            0.3 * x + 0.1 * x.sin() + 0.0001 * time
        };
        let output = samples(values(&state.samples).iter().map(denoise).collect());
        let noise = schedule.draws_noise(at).then(|| samples(golden.noise[at].clone()));
        state = schedule.step(at, state.clone(), output, noise);
        values(&state.samples)
    };
    (0..schedule.len()).map(step).collect()
}

/// What differs between a schedule and a run.
fn difference(schedule: &Schedule, run: &Run, golden: &Golden, slack: f32) -> Option<String> {
    let relative = |a: f32, b: f32| (a - b).abs() / b.abs().max(1.0);
    if relative(schedule.init_noise_sigma(), run.init_noise_sigma) > 1e-6 {
        return Some(format!("first sigma {} against {}", schedule.init_noise_sigma(), run.init_noise_sigma));
    }
    let times = schedule.timesteps();
    if times.len() != run.timesteps.len()
        || times.iter().zip(&run.timesteps).any(|(&a, &b)| relative(a, b) > 1e-5)
    {
        return Some(format!("times {times:?} against {:?}", run.timesteps));
    }
    let path = trajectory(schedule, golden);
    let largest = |sample: &[f32]| sample.iter().map(|x| x.abs()).fold(1.0, f32::max);
    for (&at, expected) in &run.samples {
        let before =
            path[..at].iter().map(|sample| largest(sample)).fold(2.0 * run.init_noise_sigma, f32::max);
        let tolerance = (2e-5 * largest(expected)).max(3e-7 * before) * slack;
        let worst = path[at]
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, |worst: f32, x| if x.is_nan() { f32::INFINITY } else { worst.max(x) });
        if worst > tolerance {
            return Some(format!("step {at}: {:?} against {expected:?}", path[at]));
        }
    }
    None
}

#[test]
fn every_case_agrees_with_diffusers() {
    let golden = golden();
    let mut failures = Vec::new();
    for case in &golden.cases {
        let class = golden.configs[case.config]["_class_name"].as_str().unwrap_or_default();
        let name = format!(
            "{} of config {} ({class}), {}{}, {:?} steps",
            case.kind,
            case.config,
            case.key.as_deref().unwrap_or(""),
            case.to.as_deref().unwrap_or(""),
            case.steps
        );
        let found = case.schedule(&golden);
        let failure = match (&found, case.run) {
            (found, _)
                if case.kind == "from_config"
                    && family(class) != family(case.to.as_deref().unwrap_or("")) =>
            {
                let message = found.as_ref().err().map(Error::to_string).unwrap_or_default();
                let refused = message.contains("expected one that is defined for a model that predicts");
                (!refused).then(|| format!("expected a refusal, found {message:?}"))
            }
            (Ok(schedule), Some(run)) => {
                // Its steps subtract two terms that are two hundred times the sample, where a flow has hardly any signal.
                let is_flow = golden.configs[case.config].get("use_flow_sigmas") == Some(&Value::Bool(true));
                let slack = if class == "DEISMultistepScheduler" && is_flow { 5.0 } else { 1.0 };
                difference(schedule, &golden.runs[run], &golden, slack)
            }
            // Variances for other times than those of training.
            (Err(error), Some(_))
                if error.to_string().contains("trained_betas is 20, expected 1000 numbers") =>
            {
                None
            }
            (Err(error), Some(_)) => Some(format!("refused: {error}")),
            (Ok(schedule), None) => {
                let path = trajectory(schedule, &golden);
                let finite = path.iter().flatten().all(|x| x.is_finite());
                finite.then(|| "not refused".to_owned())
            }
            (Err(_), None) => None,
        };
        failures.extend(failure.map(|failure| format!("{name}: {failure}")));
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} cases:\n{}", golden.cases.len(), failures.join("\n"));
}

/// Classes between which a model can change: diffusers lets it change between all, and generates noise.
fn family(class: &str) -> &'static str {
    match class {
        "EDMEulerScheduler" | "EDMDPMSolverMultistepScheduler" => "edm",
        "FlowMatchEulerDiscreteScheduler" => "flow",
        _ => "diffusion",
    }
}

#[test]
fn every_class_is_in_the_golden_file() {
    let golden = golden();
    let name = |case: &Case| golden.configs[case.config]["_class_name"].as_str().map(str::to_owned);
    let found: BTreeSet<String> =
        golden.cases.iter().filter(|case| case.kind == "complete").filter_map(name).collect();
    let expected: BTreeSet<String> = CLASSES.iter().map(|class| class.class_name.to_owned()).collect();
    assert_eq!(found, expected);
}

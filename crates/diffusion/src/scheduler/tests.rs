//! Every solver against trajectories of diffusers on a toy denoiser; made by `golden/diffusion/schedulers.py`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::SchedulerConfig;
use super::*;

#[derive(Deserialize)]
struct Golden {
    config: Map<String, Value>,
    steps: usize,
    eta: f32,
    init_noise_sigma: f32,
    timesteps: Vec<f32>,
    start: Vec<f32>,
    /// Noise of each step, for solvers that add some.
    noise: Vec<Vec<f32>>,
    trajectory: Vec<Vec<f32>>,
}

fn goldens() -> std::collections::BTreeMap<String, Golden> {
    let text = include_str!("../../../../golden/diffusion/schedulers.json");
    serde_json::from_str(text).expect("the golden file is JSON")
}

fn schedule_of(golden: &Golden) -> Schedule {
    let keys = noisefind_nn::config::Keys::of("scheduler_config.json".into(), golden.config.clone());
    let config = SchedulerConfig::from_keys(&keys, None).expect("the config is implemented");
    Schedule::new(&config, golden.steps, golden.eta).expect("the schedule exists")
}

fn denoise(x: f32, timestep: f32) -> f32 {
    0.3 * x + 0.1 * x.sin() + 0.0001 * timestep
}

#[test]
fn trajectories_agree_with_diffusers() {
    for (name, golden) in goldens() {
        let schedule = schedule_of(&golden);
        assert!((schedule.init_noise_sigma() / golden.init_noise_sigma - 1.0).abs() < 1e-6, "{name}");
        let timesteps = schedule.timesteps();
        assert_eq!(timesteps.len(), golden.timesteps.len(), "{name}");
        for (found, expected) in timesteps.iter().zip(&golden.timesteps) {
            assert!(
                (found - expected).abs() <= 1e-5 * expected.abs(),
                "{name}: time {found} against {expected}"
            );
        }
        let mut state =
            SampleState::new(golden.start.iter().map(|x| x * schedule.init_noise_sigma()).collect());
        for (at, expected) in golden.trajectory.iter().enumerate() {
            let scale = schedule.input_scale(at);
            let output: Vec<f32> = state.values.iter().map(|x| denoise(x * scale, timesteps[at])).collect();
            schedule.step(at, &mut state, &output, || golden.noise[at].clone());
            for (found, expected) in state.values.iter().zip(expected) {
                let tolerance = 1e-5 * expected.abs().max(1.0);
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}, step {at}: {found} against {expected}"
                );
            }
        }
    }
}

#[test]
fn every_solver_has_a_trajectory() {
    let classes: std::collections::BTreeSet<String> = goldens()
        .values()
        .filter_map(|golden| Some(golden.config.get("_class_name")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(classes.len(), SolverKind::ALL.len(), "{classes:?}");
}

#[test]
fn deterministic_solvers_ask_for_no_noise() {
    for (name, golden) in goldens().into_iter().filter(|(_, golden)| golden.noise.is_empty()) {
        let schedule = schedule_of(&golden);
        let mut state = SampleState::new(golden.start.clone());
        for at in 0..schedule.len() {
            schedule.step(at, &mut state, &golden.start, || panic!("{name} asked for noise"));
        }
    }
}

#[test]
fn impossible_numbers_of_steps_are_refused() {
    let golden = goldens().remove("ddim_sd15_10").expect("the golden file has it");
    let keys = noisefind_nn::config::Keys::of("scheduler_config.json".into(), golden.config);
    let config = SchedulerConfig::from_keys(&keys, None).expect("the config is implemented");
    for (steps, eta, message) in [
        (0, 0.0, "num-inference-steps is 0, expected 1 to 1000"),
        (1001, 0.0, "num-inference-steps is 1001, expected 1 to 1000"),
        (10, -0.5, "eta is -0.5, expected 0 to 1"),
    ] {
        let error = Schedule::new(&config, steps, eta).expect_err("it is out of range");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn quantiles_interpolate() {
    assert_eq!(magnitude_quantile(&[-4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
    assert_eq!(magnitude_quantile(&[-4.0, 1.0, 2.0, 3.0], 1.0), 4.0);
}

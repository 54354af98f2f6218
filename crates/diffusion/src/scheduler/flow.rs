//! Euler's method for rectified flows.
//!
//! Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024, section 5.3.2.

use super::config::SchedulerConfig;
use super::{SampleState, Step as ScheduleStep, Update, tables};

/// One step: `x' = x + difference v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    difference: f64,
}

pub(super) fn steps(config: &SchedulerConfig, count: usize) -> Vec<ScheduleStep> {
    let total = config.num_train_timesteps as f64;
    let shift = |sigma: f64| config.shift * sigma / (1.0 + (config.shift - 1.0) * sigma);
    // The lowest level is shifted once when training levels are laid out, and once more here, as in diffusers.
    let (highest, lowest) = (shift(1.0), shift(1.0 / total));
    let mut sigmas: Vec<f64> = tables::linspace(highest, lowest, count).map(shift).collect();
    sigmas.push(0.0);
    let step = |pair: &[f64]| ScheduleStep {
        timestep: (pair[0] * total) as f32,
        input_scale: 1.0,
        update: Update::Flow(Step { difference: pair[1] - pair[0] }),
    };
    sigmas.windows(2).map(step).collect()
}

pub(super) fn step(step: &Step, state: &mut SampleState, output: &[f32]) {
    let difference = step.difference as f32;
    state.values.iter_mut().zip(output).for_each(|(x, velocity)| *x += difference * velocity);
}

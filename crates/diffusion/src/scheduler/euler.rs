//! Euler's method in the noise level, plain and ancestral.
//!
//! Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1;
//! the ancestral form after k-diffusion's `sample_euler_ancestral`.

use super::config::{PredictionType, SchedulerConfig, SolverKind, TimestepSpacing};
use super::{SampleState, Step as ScheduleStep, Update, tables};

/// One step between noise levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    sigma: f64,
    /// Where the slope leads.
    sigma_down: f64,
    /// Standard deviation of the fresh noise.
    sigma_up: f64,
}

/// The steps and the standard deviation of the first sample.
pub(super) fn steps(config: &SchedulerConfig, alphas: &[f32], count: usize) -> (Vec<ScheduleStep>, f32) {
    let table = tables::finite_sigmas(config, alphas);
    let total = config.num_train_timesteps;
    let mut times: Vec<f64> = match config.timestep_spacing {
        // Unlike DDIM's, these times stay fractional.
        TimestepSpacing::Linspace => tables::linspace(0.0, (total - 1) as f64, count).rev().collect(),
        _ => tables::integer_timesteps(config, count).into_iter().map(|time| time as f64).collect(),
    };
    let mut sigmas: Vec<f64> = times.iter().map(|&time| tables::interpolate(&table, time)).collect();
    let ancestral = config.kind == SolverKind::EulerAncestral;
    if config.use_karras_sigmas && !ancestral {
        sigmas = tables::karras_sigmas(sigmas[count - 1], sigmas[0], count);
        times = sigmas.iter().map(|&sigma| tables::time_of_sigma(&table, sigma)).collect();
    }
    let highest = sigmas.iter().copied().fold(0.0, f64::max);
    let init_noise_sigma = match config.timestep_spacing {
        TimestepSpacing::Leading => (highest * highest + 1.0).sqrt(),
        TimestepSpacing::Linspace | TimestepSpacing::Trailing => highest,
    };
    sigmas.push(0.0);
    let steps = times.iter().zip(sigmas.windows(2)).map(|(&time, pair)| {
        let (sigma, next) = (pair[0], pair[1]);
        let sigma_up = if ancestral {
            (next.powi(2) * (sigma.powi(2) - next.powi(2))).max(0.0).sqrt() / sigma
        } else {
            0.0
        };
        let sigma_down = (next.powi(2) - sigma_up.powi(2)).max(0.0).sqrt();
        let update = Update::Euler(Step { sigma, sigma_down, sigma_up });
        ScheduleStep {
            timestep: time as f32,
            input_scale: (1.0 / (sigma * sigma + 1.0).sqrt()) as f32,
            update,
        }
    });
    (steps.collect(), init_noise_sigma as f32)
}

pub(super) fn step(
    step: &Step,
    prediction: PredictionType,
    state: &mut SampleState,
    output: &[f32],
    noise: impl FnOnce() -> Vec<f32>,
) {
    let sigma = step.sigma;
    let difference = (step.sigma_down - sigma) as f32;
    let (skip, out_factor) = match prediction {
        PredictionType::Epsilon => (1.0, -sigma as f32),
        PredictionType::Sample => (0.0, 1.0),
        PredictionType::VPrediction => {
            let square = sigma * sigma + 1.0;
            ((1.0 / square) as f32, (-sigma / square.sqrt()) as f32)
        }
    };
    for (x, out) in state.values.iter_mut().zip(output) {
        let clean = skip * *x + out_factor * out;
        *x += (*x - clean) / sigma as f32 * difference;
    }
    if step.sigma_up > 0.0 {
        let sigma_up = step.sigma_up as f32;
        state.values.iter_mut().zip(noise()).for_each(|(x, noise)| *x += sigma_up * noise);
    }
}

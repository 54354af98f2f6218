//! Pseudo numerical methods: the linear multistep part (PLMS), which is what Stable Diffusion's configs select.
//!
//! Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds", ICLR 2022, equations 9 and 12.

use super::config::{PredictionType, SchedulerConfig};
use super::{SampleState, Step as ScheduleStep, Update, tables};

/// Outputs that a step combines.
const ORDER: usize = 4;

/// One call; the second call takes the first step again with a better slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    alpha: f64,
    alpha_prev: f64,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    First,
    FirstAgain,
    Later,
}

pub(super) fn steps(config: &SchedulerConfig, alphas: &[f32], count: usize) -> Vec<ScheduleStep> {
    let stride = config.num_train_timesteps / count;
    let beyond = if config.set_alpha_to_one { 1.0 } else { f64::from(alphas[0]) };
    let last = alphas.len() - 1;
    let alpha_at = |time: usize| f64::from(alphas[time.min(last)]);
    let alpha_before = |time: usize| time.checked_sub(stride).map_or(beyond, alpha_at);
    let mut times = tables::integer_timesteps(config, count);
    if times.len() > 1 {
        times.insert(1, times[1]);
    }
    let step = |(call, time): (usize, usize)| {
        let step = match call {
            0 => Step { alpha: alpha_at(time), alpha_prev: alpha_before(time), role: Role::First },
            1 => Step { alpha: alpha_at(time + stride), alpha_prev: alpha_at(time), role: Role::FirstAgain },
            _ => Step { alpha: alpha_at(time), alpha_prev: alpha_before(time), role: Role::Later },
        };
        ScheduleStep { timestep: time as f32, input_scale: 1.0, update: Update::Pndm(step) }
    };
    times.into_iter().enumerate().map(step).collect()
}

pub(super) fn step(step: &Step, prediction: PredictionType, state: &mut SampleState, output: &[f32]) {
    let slope = match step.role {
        Role::First => {
            state.history.push(output.to_vec());
            state.kept = state.values.clone();
            output.to_vec()
        }
        Role::FirstAgain => {
            state.values = std::mem::take(&mut state.kept);
            let first = &state.history[0];
            output.iter().zip(first).map(|(now, first)| (now + first) / 2.0).collect()
        }
        Role::Later => {
            if state.history.len() == ORDER {
                state.history.remove(0);
            }
            state.history.push(output.to_vec());
            adams_bashforth(&state.history)
        }
    };
    let (alpha, alpha_prev) = (step.alpha, step.alpha_prev);
    let (signal, spread) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
    let scale = (alpha_prev / alpha).sqrt() as f32;
    let denominator = alpha * (1.0 - alpha_prev).sqrt() + (alpha * (1.0 - alpha) * alpha_prev).sqrt();
    let factor = ((alpha_prev - alpha) / denominator) as f32;
    for (x, slope) in state.values.iter_mut().zip(slope) {
        let epsilon = match prediction {
            PredictionType::Epsilon => slope,
            PredictionType::Sample => (*x - signal * slope) / spread,
            PredictionType::VPrediction => signal * slope + spread * *x,
        };
        *x = scale * *x - factor * epsilon; // equation 9
    }
}

/// The slope from up to four past outputs, newest last (equation 12).
fn adams_bashforth(history: &[Vec<f32>]) -> Vec<f32> {
    let weights: &[f32] = match history.len() {
        1 => &[1.0],
        2 => &[-1.0 / 2.0, 3.0 / 2.0],
        3 => &[5.0 / 12.0, -16.0 / 12.0, 23.0 / 12.0],
        _ => &[-9.0 / 24.0, 37.0 / 24.0, -59.0 / 24.0, 55.0 / 24.0],
    };
    let mut slope = vec![0.0; history.first().map_or(0, Vec::len)];
    for (weight, output) in weights.iter().zip(history) {
        slope.iter_mut().zip(output).for_each(|(slope, output)| *slope += weight * output);
    }
    slope
}

//! DPM-Solver++ of second order, multistep ("2M").
//!
//! Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022, algorithm 2.

use super::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use super::{Bound, SampleState, Step as ScheduleStep, Update, predicted_sample, tables};

/// One step: `x' = sample x + clean m0 + change (m0 - m1)`, with `m0` and `m1` the last two predicted clean samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    alpha: f64,
    sample: f64,
    clean: f64,
    /// 0 for a step of first order.
    change: f64,
}

pub(super) fn steps(config: &SchedulerConfig, alphas: &[f32], count: usize) -> Vec<ScheduleStep> {
    let table = tables::finite_sigmas(config, alphas);
    let (times, mut sigmas) = visited(config, &table, count);
    sigmas.push(0.0);
    let step = |at: usize| {
        let (now, next) = (Level::of(sigmas[at]), Level::of(sigmas[at + 1]));
        let h = next.log_ratio - now.log_ratio;
        let decay = -(-h).exp_m1(); // 1 - e^(-h), which is 1 where the next level has no noise
        // The first step has no history; the last one reaches no noise at all, where second order is unstable.
        let is_first_order = at == 0 || at + 1 == count;
        let change = if is_first_order {
            0.0
        } else {
            let before = Level::of(sigmas[at - 1]);
            let ratio = (now.log_ratio - before.log_ratio) / h;
            next.signal * decay * 0.5 / ratio
        };
        let alpha = now.signal * now.signal;
        let update = Update::Multistep(Step {
            alpha,
            sample: next.noise / now.noise,
            clean: next.signal * decay,
            change,
        });
        ScheduleStep { timestep: times[at] as f32, input_scale: 1.0, update }
    };
    (0..count).map(step).collect()
}

/// A noise level in the variance-preserving form.
struct Level {
    signal: f64,
    noise: f64,
    /// `ln(signal / noise)`
    log_ratio: f64,
}

impl Level {
    fn of(sigma: f64) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, noise: sigma * signal, log_ratio: -sigma.ln() }
    }
}

/// The times and noise levels that are visited, highest first.
fn visited(config: &SchedulerConfig, table: &[f64], count: usize) -> (Vec<usize>, Vec<f64>) {
    if config.use_karras_sigmas {
        let sigmas = tables::karras_sigmas(table[0], table[table.len() - 1], count);
        let time = |&sigma: &f64| tables::round_half_even(tables::time_of_sigma(table, sigma));
        return (sigmas.iter().map(time).collect(), sigmas);
    }
    let total = config.num_train_timesteps;
    let mut times = match config.timestep_spacing {
        TimestepSpacing::Linspace => {
            let times = tables::linspace(0.0, (total - 1) as f64, count + 1);
            times.rev().map(tables::round_half_even).collect()
        }
        TimestepSpacing::Leading => tables::leading(total / (count + 1), count + 1, config.steps_offset),
        TimestepSpacing::Trailing => tables::trailing(total, count),
    };
    times.truncate(count);
    let sigmas = times.iter().map(|&time| tables::interpolate(table, time as f64)).collect();
    (times, sigmas)
}

pub(super) fn step(
    step: &Step,
    prediction: PredictionType,
    bound: Bound,
    state: &mut SampleState,
    output: &[f32],
) {
    let clean = predicted_sample(prediction, bound, step.alpha, &state.values, output);
    let (sample, factor, change) = (step.sample as f32, step.clean as f32, step.change as f32);
    for (at, x) in state.values.iter_mut().enumerate() {
        let before = state.history.first().map_or(clean[at], |before| before[at]);
        *x = sample * *x + factor * clean[at] + change * (clean[at] - before);
    }
    state.history = vec![clean];
}

//! Latent consistency models: predict the clean sample, then add noise for the next level.
//!
//! Luo et al., "Latent Consistency Models", 2023, algorithm 3 and equation 9.

use super::config::{PredictionType, SchedulerConfig};
use super::{Bound, SampleState, Step as ScheduleStep, Update, predicted_sample};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    alpha: f64,
    /// The next noise level; the last step adds no noise.
    alpha_next: Option<f64>,
    /// Share of the noisy sample in the denoised one.
    skip: f64,
    /// Share of the predicted clean sample.
    out: f64,
}

pub(super) fn steps(config: &SchedulerConfig, alphas: &[f32], count: usize) -> Vec<ScheduleStep> {
    /// Standard deviation of the data in the boundary condition.
    const SIGMA_DATA: f64 = 0.5;
    let original = config.original_inference_steps;
    let stride = config.num_train_timesteps / original;
    let times: Vec<usize> = (0..count).map(|at| (original - at * original / count) * stride - 1).collect();
    let step = |at: usize| {
        let scaled = times[at] as f64 * config.timestep_scaling;
        let square = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let update = Update::Lcm(Step {
            alpha: f64::from(alphas[times[at]]),
            alpha_next: times.get(at + 1).map(|&time| f64::from(alphas[time])),
            skip: SIGMA_DATA * SIGMA_DATA / square,
            out: scaled / square.sqrt(),
        });
        ScheduleStep { timestep: times[at] as f32, input_scale: 1.0, update }
    };
    (0..count).map(step).collect()
}

pub(super) fn step(
    step: &Step,
    prediction: PredictionType,
    bound: Bound,
    state: &mut SampleState,
    output: &[f32],
    noise: impl FnOnce() -> Vec<f32>,
) {
    let clean = predicted_sample(prediction, bound, step.alpha, &state.values, output);
    let (skip, out) = (step.skip as f32, step.out as f32);
    state.values.iter_mut().zip(clean).for_each(|(x, clean)| *x = out * clean + skip * *x);
    if let Some(alpha) = step.alpha_next {
        let (signal, spread) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
        state.values.iter_mut().zip(noise()).for_each(|(x, noise)| *x = signal * *x + spread * noise);
    }
}

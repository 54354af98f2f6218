//! Denoising diffusion implicit models.
//!
//! Song et al., "Denoising Diffusion Implicit Models", ICLR 2021, equations 12 and 16.

use super::config::{PredictionType, SchedulerConfig};
use super::{Bound, SampleState, Step as ScheduleStep, Update, predicted_sample};

/// One step between the noise levels `alpha` and `alpha_prev`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    alpha: f64,
    alpha_prev: f64,
    /// Standard deviation of the fresh noise: `eta sqrt((1 - ā_prev) / (1 - ā) (1 - ā / ā_prev))`.
    sigma: f64,
}

pub(super) fn steps(config: &SchedulerConfig, alphas: &[f32], count: usize, eta: f64) -> Vec<ScheduleStep> {
    let stride = config.num_train_timesteps / count;
    let beyond = if config.set_alpha_to_one { 1.0 } else { f64::from(alphas[0]) };
    let last = alphas.len() - 1;
    let step = |time: usize| {
        let alpha = f64::from(alphas[time.min(last)]);
        // The step's length is that of leading times whatever the spacing, as in diffusers.
        let alpha_prev = time.checked_sub(stride).map_or(beyond, |time| f64::from(alphas[time.min(last)]));
        let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
        let sigma = eta * variance.max(0.0).sqrt();
        let update = Update::Ddim(Step { alpha, alpha_prev, sigma });
        ScheduleStep { timestep: time as f32, input_scale: 1.0, update }
    };
    super::tables::integer_timesteps(config, count).into_iter().map(step).collect()
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
    let (signal, spread) = (step.alpha.sqrt() as f32, (1.0 - step.alpha).sqrt() as f32);
    let to_signal = step.alpha_prev.sqrt() as f32;
    let to_direction = (1.0 - step.alpha_prev - step.sigma * step.sigma).max(0.0).sqrt() as f32;
    for ((x, &out), &clean) in state.values.iter_mut().zip(output).zip(&clean) {
        let epsilon = match prediction {
            PredictionType::Epsilon => out,
            PredictionType::Sample => (*x - signal * clean) / spread,
            PredictionType::VPrediction => signal * out + spread * *x,
        };
        *x = to_signal * clean + to_direction * epsilon; // equation 12
    }
    if step.sigma > 0.0 {
        let sigma = step.sigma as f32;
        state.values.iter_mut().zip(noise()).for_each(|(x, noise)| *x += sigma * noise);
    }
}

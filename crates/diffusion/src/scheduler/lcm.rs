//! Latent consistency models: predict the clean sample, then add noise for the next level.
//!
//! Luo et al., "Latent Consistency Models", 2023, algorithm 3 and equation 9.

use noisefind_nn::error::Result;

use super::betas::{MOST_TIMESTEPS, MoreBetas, ZeroSnr, alphas_cumprod};
use super::sigmas::level_at;
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig, steps_refused};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "lcm",
    class_name: "LCMScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: PARAMETERS,
    aliases: &[],
    schedule,
};

/// The parameters of this class and of `TCDScheduler`.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("num_train_timesteps", "1000"),
    ("beta_start", "0.00085"),
    ("beta_end", "0.012"),
    ("beta_schedule", "\"scaled_linear\""),
    ("trained_betas", "null"),
    ("original_inference_steps", "50"),
    ("clip_sample", "false"),
    ("clip_sample_range", "1.0"),
    ("set_alpha_to_one", "true"),
    ("steps_offset", "0"),
    ("prediction_type", "\"epsilon\""),
    ("thresholding", "false"),
    ("dynamic_thresholding_ratio", "0.995"),
    ("sample_max_value", "1.0"),
    ("timestep_spacing", "\"leading\""),
    ("timestep_scaling", "10.0"),
    ("rescale_betas_zero_snr", "false"),
];

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    /// Standard deviation of the data in the boundary condition.
    const SIGMA_DATA: f64 = 0.5;
    let prediction = config.prediction()?;
    let alphas = alphas_cumprod(config, ZeroSnr::Exact, MoreBetas::None)?;
    let bound = Bound::of(config)?;
    let times = distilled_times(config, request.steps)?;
    let scaling = config.finite("timestep_scaling")?;
    let step = |(at, &time): (usize, &f64)| {
        let alpha = level_at(config, &alphas, time)?;
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let scaled = time * scaling;
        let square = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / square, scaled / square.sqrt());
        let denoised = |factor: f64| {
            Combination::default().plus(Source::Clean, out * factor).plus(Source::Sample, skip * factor)
        };
        let next = match times.get(at + 1) {
            Some(&next) => {
                let alpha = level_at(config, &alphas, next)?;
                denoised(alpha.sqrt()).plus(Source::Noise, (1.0 - alpha).sqrt())
            }
            None => denoised(1.0),
        };
        Ok(Step {
            clean: Combination::linear(prediction.clean(signal, noise)),
            bound,
            next,
            ..Step::at(time)
        })
    };
    Ok(Schedule::of(times.iter().enumerate().map(step).collect::<Result<_>>()?, 1.0))
}

/// The times that a distilled model is asked for, evenly among those that it was distilled from.
pub(super) fn distilled_times(config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
    let total = config.whole("num_train_timesteps", 1, MOST_TIMESTEPS)?;
    let original = config.whole("original_inference_steps", 1, total)?;
    if steps > original {
        let expected = format!("1 to {original}, the original_inference_steps of the scheduler");
        return Err(steps_refused(steps, expected));
    }
    let stride = total / original;
    // numpy.linspace without its end, rounded down.
    let place = |at: usize| (at as f64 * (original as f64 / steps as f64)).floor() as usize;
    Ok((0..steps).map(|at| ((original - place(at)) * stride) as f64 - 1.0).collect())
}

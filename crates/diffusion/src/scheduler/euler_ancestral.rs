//! Euler's method with fresh noise in every step, after k-diffusion's `sample_euler_ancestral`.
//!
//! Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::euler::towards;
use super::sigmas::{Points, check_start, closed, init_noise_sigma, input_scale, interpolate, timesteps};
use super::step::{Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "euler-ancestral",
    class_name: "EulerAncestralDiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("prediction_type", "\"epsilon\""),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
        ("rescale_betas_zero_snr", "false"),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let training = training_sigmas(&alphas_cumprod(config, ZeroSnr::Finite, MoreBetas::None)?);
    let times = timesteps(config, request.steps, Points::Fractional, training.len())?;
    check_start(&times, request.steps)?;
    let sigmas = closed(times.iter().map(|&time| interpolate(&training, time)).collect(), 0.0);
    let steps = times.iter().zip(sigmas.windows(2)).map(|(&time, pair)| {
        let (sigma, next) = (pair[0], pair[1]);
        let (down, up) = ancestral(sigma, next);
        let next = towards(prediction.clean_of_sigma(sigma), sigma, down - sigma).plus(Source::Noise, up);
        Step { input_scale: input_scale(sigma), next, ..Step::at(time) }
    });
    Ok(Schedule::of(steps.collect(), init_noise_sigma(config, &sigmas)))
}

/// The level where a slope leads and the standard deviation of the noise that leads back up to `next`.
pub(super) fn ancestral(sigma: f64, next: f64) -> (f64, f64) {
    let up = (next.powi(2) * (sigma.powi(2) - next.powi(2)) / sigma.powi(2)).sqrt();
    ((next.powi(2) - up.powi(2)).sqrt(), up)
}

//! Denoising diffusion implicit models.
//!
//! Song et al., "Denoising Diffusion Implicit Models", ICLR 2021, equations 12 and 16.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod};
use super::sigmas::{Points, level_at, timesteps};
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "ddim",
    class_name: "DDIMScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("clip_sample", "true"),
        ("set_alpha_to_one", "true"),
        ("steps_offset", "0"),
        ("prediction_type", "\"epsilon\""),
        ("thresholding", "false"),
        ("dynamic_thresholding_ratio", "0.995"),
        ("clip_sample_range", "1.0"),
        ("sample_max_value", "1.0"),
        ("timestep_spacing", "\"leading\""),
        ("rescale_betas_zero_snr", "false"),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let alphas = alphas_cumprod(config, ZeroSnr::Exact, MoreBetas::None)?;
    let bound = Bound::of(config)?;
    // The step's length is that of leading times whatever the spacing, as in diffusers.
    let stride = (alphas.len() / request.steps) as f64;
    let beyond = if config.flag("set_alpha_to_one") { 1.0 } else { f64::from(alphas[0]) };
    let step = |time: f64| {
        let alpha = level_at(config, &alphas, time)?;
        let before = time - stride;
        let alpha_prev = if before >= 0.0 { level_at(config, &alphas, before)? } else { beyond };
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        // Equation 16.
        let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
        let sigma = if request.eta > 0.0 { request.eta * variance.sqrt() } else { 0.0 };
        let direction = (1.0 - alpha_prev - sigma * sigma).sqrt();
        let epsilon = prediction.epsilon(signal, noise);
        let mut next = Combination::default() // equation 12
            .plus(Source::Clean, alpha_prev.sqrt())
            .plus(Source::Sample, direction * epsilon[0])
            .plus(Source::Output, direction * epsilon[1]);
        if request.eta > 0.0 {
            next = next.plus(Source::Noise, sigma);
        }
        Ok(Step {
            clean: Combination::linear(prediction.clean(signal, noise)),
            bound,
            next,
            ..Step::at(time)
        })
    };
    let times = timesteps(config, request.steps, Points::Whole, alphas.len())?;
    Ok(Schedule::of(times.into_iter().map(step).collect::<Result<_>>()?, 1.0))
}

//! Denoising diffusion probabilistic models.
//!
//! Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020, equations 7 and 15.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod};
use super::sigmas::{Points, level_at, timesteps};
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "ddpm",
    class_name: "DDPMScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("variance_type", "\"fixed_small\""),
        ("clip_sample", "true"),
        ("prediction_type", "\"epsilon\""),
        ("thresholding", "false"),
        ("dynamic_thresholding_ratio", "0.995"),
        ("clip_sample_range", "1.0"),
        ("sample_max_value", "1.0"),
        ("timestep_spacing", "\"leading\""),
        ("steps_offset", "0"),
        ("rescale_betas_zero_snr", "false"),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let alphas = alphas_cumprod(config, ZeroSnr::Exact, MoreBetas::LaplaceAndSigmoid)?;
    let bound = Bound::of(config)?;
    // The class takes null and what it does not know for fixed_small.
    let variance_type = config.get("variance_type").unwrap_or_default();
    let unusable =
        ["learned", "learned_range", "fixed_large_log"].contains(&variance_type.as_str().unwrap_or(""));
    let expected = "fixed_small, fixed_small_log or fixed_large; others are not implemented";
    config.check("variance_type", !unusable, &variance_type, expected)?;
    let times = timesteps(config, request.steps, Points::Whole, alphas.len())?;
    let step = |&time: &f64| {
        let alpha = level_at(config, &alphas, time)?;
        // The next time is looked up by the time, so the second of two equal ones is never left.
        let place = times.iter().position(|&other| other == time).unwrap_or(0);
        let alpha_prev = match times.get(place + 1) {
            Some(&next) if next >= 0.0 => level_at(config, &alphas, next)?,
            _ => 1.0,
        };
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let ratio = alpha / alpha_prev;
        let beta = 1.0 - ratio;
        let mut next = Combination::default() // equation 7
            .plus(Source::Clean, alpha_prev.sqrt() * beta / (1.0 - alpha))
            .plus(Source::Sample, ratio.sqrt() * (1.0 - alpha_prev) / (1.0 - alpha));
        if time > 0.0 {
            let small = ((1.0 - alpha_prev) / (1.0 - alpha) * beta).max(1e-20);
            let variance = if variance_type == "fixed_large" { beta } else { small };
            next = next.plus(Source::Noise, variance.sqrt());
        }
        Ok(Step {
            clean: Combination::linear(prediction.clean(signal, noise)),
            bound,
            next,
            ..Step::at(time)
        })
    };
    Ok(Schedule::of(times.iter().map(step).collect::<Result<_>>()?, 1.0))
}

//! Euler's method in the noise level.
//!
//! Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, linspace_f32, training_sigmas};
use super::sigmas::{
    Points, Spread, check_start, closed, init_noise_sigma, input_scale, interpolate, spread_over, timesteps,
};
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "euler",
    class_name: "EulerDiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("prediction_type", "\"epsilon\""),
        ("interpolation_type", "\"linear\""),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("sigma_min", "null"),
        ("sigma_max", "null"),
        ("timestep_spacing", "\"linspace\""),
        ("timestep_type", "\"discrete\""),
        ("steps_offset", "0"),
        ("rescale_betas_zero_snr", "false"),
        ("final_sigmas_type", "\"zero\""),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let spread = Spread::chosen(config)?;
    let alphas = alphas_cumprod(config, ZeroSnr::Finite, MoreBetas::None)?;
    let training = training_sigmas(&alphas);
    let times = timesteps(config, request.steps, Points::Fractional, alphas.len())?;
    let sigmas: Vec<f64> = if config.one_of("interpolation_type", &["linear", "log_linear"])? == 0 {
        times.iter().map(|&time| interpolate(&training, time)).collect()
    } else {
        let log = |sigma: f32| f64::from(sigma.ln());
        let (highest, lowest) = (log(training[training.len() - 1]), log(training[0]));
        linspace_f32(highest, lowest, request.steps + 1).into_iter().map(|log| f64::from(log.exp())).collect()
    };
    let (mut times, sigmas) = spread_over(config, spread, &training, times, sigmas, request.steps)?;
    let last = match config.one_of("final_sigmas_type", &["zero", "sigma_min"])? {
        0 => 0.0,
        _ => f64::from(training[0]),
    };
    let sigmas = closed(sigmas, last);
    let is_continuous = config.get("timestep_type").is_some_and(|kind| kind == "continuous");
    if is_continuous && prediction == PredictionType::VPrediction {
        times = sigmas[..sigmas.len() - 1].iter().map(|sigma| 0.25 * sigma.ln()).collect();
    }
    check_start(&times, request.steps)?;
    let steps = times.iter().zip(sigmas.windows(2)).map(|(&time, pair)| {
        let (sigma, next) = (pair[0], pair[1]);
        let clean = prediction.clean_of_sigma(sigma);
        Step { input_scale: input_scale(sigma), next: towards(clean, sigma, next - sigma), ..Step::at(time) }
    });
    Ok(Schedule::of(steps.collect(), init_noise_sigma(config, &sigmas)))
}

/// The sample moved by `difference` along the slope `(sample - clean) / sigma`, with the factors of sample and output in the
/// clean sample.
pub(super) fn towards(clean: [f64; 2], sigma: f64, difference: f64) -> Combination {
    let [sample, output] = slope(clean, sigma);
    Combination::default()
        .plus(Source::Sample, 1.0 + sample * difference)
        .plus(Source::Output, output * difference)
}

/// Factors of sample and output in the slope `(sample - clean) / sigma`.
pub(super) fn slope(clean: [f64; 2], sigma: f64) -> [f64; 2] {
    [(1.0 - clean[0]) / sigma, -clean[1] / sigma]
}

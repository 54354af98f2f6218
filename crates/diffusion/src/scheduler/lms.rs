//! A linear multistep method in the noise level, after k-diffusion's `sample_lms`.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::euler::slope;
use super::sigmas::{
    Points, Spread, check_start, closed, init_noise_sigma, input_scale, interpolate, spread_over,
    times_of_sigmas, timesteps,
};
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "lms",
    class_name: "LMSDiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("prediction_type", "\"epsilon\""),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
    ],
    aliases: &[],
    schedule,
};

/// Slopes that a step combines.
const ORDER: usize = 4;

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let spread = Spread::chosen(config)?;
    let training = training_sigmas(&alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::None)?);
    let times = timesteps(config, request.steps, Points::Fractional, training.len())?;
    let sigmas: Vec<f64> = times.iter().map(|&time| interpolate(&training, time)).collect();
    let (times, sigmas) = if spread == Some(Spread::Karras) {
        // This class alone looks for no other ends here.
        let sigmas = Spread::Karras.levels(sigmas[0], sigmas[sigmas.len() - 1], request.steps);
        (times_of_sigmas(&training, &sigmas), sigmas)
    } else {
        spread_over(config, spread, &training, times, sigmas, request.steps)?
    };
    check_start(&times, request.steps)?;
    let sigmas = closed(sigmas, 0.0);
    let step = |(at, &time): (usize, &f64)| {
        let sigma = sigmas[at];
        let slope = Combination::linear(slope(prediction.clean_of_sigma(sigma), sigma));
        let order = (at + 1).min(ORDER);
        let next = (0..order).fold(Combination::of(Source::Sample), |next, back| {
            let source = if back == 0 { Source::Value } else { Source::Past(back - 1) };
            next.plus(source, weight(&sigmas, at, order, back))
        });
        Step { input_scale: input_scale(sigma), value: Some(slope), next, ..Step::at(time) }
    };
    let steps = times.iter().enumerate().map(step).collect();
    Ok(Schedule::of(steps, init_noise_sigma(config, &sigmas)))
}

/// The integral over the step `at` of the Lagrange polynomial that is 1 at the level of `back` steps before and 0 at the
/// other `order - 1`; exact for these degrees by Gauss and Legendre's three points.
fn weight(sigmas: &[f64], at: usize, order: usize, back: usize) -> f64 {
    let polynomial = |sigma: f64| -> f64 {
        let others = (0..order).filter(|&other| other != back);
        others.map(|other| (sigma - sigmas[at - other]) / (sigmas[at - back] - sigmas[at - other])).product()
    };
    let (middle, half) = ((sigmas[at] + sigmas[at + 1]) / 2.0, (sigmas[at + 1] - sigmas[at]) / 2.0);
    let node = 0.6f64.sqrt() * half;
    let sum = 5.0 * polynomial(middle - node) + 8.0 * polynomial(middle) + 5.0 * polynomial(middle + node);
    half * sum / 9.0
}

//! Heun's method in the noise level: every step but the last has two calls.
//!
//! Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::sigmas::{check_start, closed, euler_levels, init_noise_sigma, input_scale};
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "heun",
    class_name: "HeunDiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.00085"),
        ("beta_end", "0.012"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("prediction_type", "\"epsilon\""),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("clip_sample", "false"),
        ("clip_sample_range", "1.0"),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let bound = Bound::of(config)?;
    let training = training_sigmas(&alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::Exponential)?);
    let (times, sigmas) = euler_levels(config, &training, request.steps)?;
    check_start(&times, request.steps)?;
    let sigmas = closed(sigmas, 0.0);
    // The slope `(sample - clean) / sigma` is what is remembered.
    let call = |time: f64, sigma: f64| Step {
        input_scale: input_scale(sigma),
        clean: Combination::linear(prediction.clean_of_sigma(sigma)),
        bound,
        value: Some(
            Combination::default().plus(Source::Sample, 1.0 / sigma).plus(Source::Clean, -1.0 / sigma),
        ),
        ..Step::at(time)
    };
    let mut steps = Vec::new();
    for at in 0..times.len() {
        let (sigma, next) = (sigmas[at], sigmas[at + 1]);
        let difference = next - sigma;
        steps.push(Step {
            anchor: Some(Combination::of(Source::Sample)),
            next: Combination::of(Source::Sample).plus(Source::Value, difference),
            ..call(times[at], sigma)
        });
        if let Some(&time) = times.get(at + 1) {
            let next_sample = Combination::of(Source::Anchor)
                .plus(Source::Past(0), difference / 2.0)
                .plus(Source::Value, difference / 2.0);
            steps.push(Step { next: next_sample, ..call(time, next) });
        }
    }
    Ok(Schedule::of(steps, init_noise_sigma(config, &sigmas)))
}

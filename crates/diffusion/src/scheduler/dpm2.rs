//! The second-order method of Karras et al. with a middle point in the logarithm, after k-diffusion's `sample_dpm_2`.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::euler::{slope, towards};
use super::sigmas::{
    Spread, check_start, closed, euler_levels, init_noise_sigma, input_scale, times_of_sigmas,
};
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "dpm2",
    class_name: "KDPM2DiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::VPrediction],
    parameters: PARAMETERS,
    aliases: &[],
    schedule,
};

/// The parameters of both forms.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("num_train_timesteps", "1000"),
    ("beta_start", "0.00085"),
    ("beta_end", "0.012"),
    ("beta_schedule", "\"linear\""),
    ("trained_betas", "null"),
    ("use_karras_sigmas", "false"),
    ("use_exponential_sigmas", "false"),
    ("use_beta_sigmas", "false"),
    ("prediction_type", "\"epsilon\""),
    ("timestep_spacing", "\"linspace\""),
    ("steps_offset", "0"),
];

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let levels = Levels::of(config, request)?;
    let steps = levels.steps(|sigma, next| (next, middle(sigma, next), 0.0), false);
    Ok(Schedule::of(steps, levels.init_noise_sigma))
}

/// The level halfway between two in the logarithm.
pub(super) fn middle(sigma: f64, next: f64) -> f64 {
    f64::from((0.5 * (sigma.ln() + next.ln())).exp() as f32)
}

/// Times and levels of both forms.
pub(super) struct Levels {
    prediction: PredictionType,
    training: Vec<f32>,
    times: Vec<f64>,
    sigmas: Vec<f64>,
    pub(super) init_noise_sigma: f64,
}

impl Levels {
    pub(super) fn of(config: &SchedulerConfig, request: &Request) -> Result<Self> {
        let prediction = config.prediction()?;
        let training = training_sigmas(&alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::None)?);
        let (mut times, sigmas) = euler_levels(config, &training, request.steps)?;
        if Spread::chosen(config)? == Some(Spread::Karras) {
            times.iter_mut().for_each(|time| *time = time.round_ties_even());
        }
        check_start(&times, request.steps)?;
        let sigmas = closed(sigmas, 0.0);
        let init_noise_sigma = init_noise_sigma(config, &sigmas);
        Ok(Self { prediction, training, times, sigmas, init_noise_sigma })
    }

    /// Two calls for each level but the last. `ends` gives the level where a step leads, its middle point, and the
    /// standard deviation of fresh noise after it.
    pub(super) fn steps(&self, ends: impl Fn(f64, f64) -> (f64, f64, f64), is_stochastic: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for (at, &time) in self.times.iter().enumerate() {
            let (sigma, next) = (self.sigmas[at], self.sigmas[at + 1]);
            let clean = self.prediction.clean_of_sigma(sigma);
            let first = Step {
                input_scale: input_scale(sigma),
                anchor: Some(Combination::of(Source::Sample)),
                ..Step::at(time)
            };
            if at + 1 == self.times.len() {
                steps.push(Step { next: towards(clean, sigma, -sigma), ..first });
                break;
            }
            let (end, between, up) = ends(sigma, next);
            steps.push(Step { next: towards(clean, sigma, between - sigma), ..first });
            let [sample, output] = slope(self.prediction.clean_of_sigma(between), between);
            let mut last = Combination::of(Source::Anchor)
                .plus(Source::Sample, sample * (end - sigma))
                .plus(Source::Output, output * (end - sigma));
            if is_stochastic {
                last = last.plus(Source::Noise, up);
            }
            let time = times_of_sigmas(&self.training, &[between])[0];
            steps.push(Step { input_scale: input_scale(between), next: last, ..Step::at(time) });
        }
        steps
    }
}

//! Trajectory consistency distillation: `eta` is the share of noise in a step, 0 for none.
//!
//! Zheng et al., "Trajectory Consistency Distillation", 2024, algorithm 4.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod};
use super::lcm::{PARAMETERS, distilled_times};
use super::sigmas::level_at;
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "tcd",
    class_name: "TCDScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::Sample, PredictionType::VPrediction],
    parameters: PARAMETERS,
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let alphas = alphas_cumprod(config, ZeroSnr::Exact, MoreBetas::None)?;
    let times = distilled_times(config, request.steps)?;
    let step = |(at, &time): (usize, &f64)| {
        let alpha = level_at(config, &alphas, time)?;
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let next_time = times.get(at + 1).copied().unwrap_or(0.0);
        let between = level_at(config, &alphas, ((1.0 - request.eta) * next_time).floor())?;
        let (clean, epsilon) = (prediction.clean(signal, noise), prediction.epsilon(signal, noise));
        let mixed = |at: usize| between.sqrt() * clean[at] + (1.0 - between).sqrt() * epsilon[at];
        let mut factor = 1.0;
        let mut fresh = None;
        if request.eta > 0.0 && at + 1 < times.len() {
            let ratio = level_at(config, &alphas, next_time)? / between;
            (factor, fresh) = (ratio.sqrt(), Some((1.0 - ratio).sqrt()));
        }
        let mut next = Combination::linear([mixed(0) * factor, mixed(1) * factor]);
        if let Some(deviation) = fresh {
            next = next.plus(Source::Noise, deviation);
        }
        Ok(Step { next, ..Step::at(time) })
    };
    Ok(Schedule::of(times.iter().enumerate().map(step).collect::<Result<_>>()?, 1.0))
}

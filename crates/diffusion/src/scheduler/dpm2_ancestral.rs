//! As `dpm2`, with fresh noise in every step, after k-diffusion's `sample_dpm_2_ancestral`.

use noisefind_nn::error::Result;

use super::dpm2::{Levels, PARAMETERS, middle};
use super::euler_ancestral::ancestral;
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "dpm2-ancestral",
    class_name: "KDPM2AncestralDiscreteScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::VPrediction],
    parameters: PARAMETERS,
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let levels = Levels::of(config, request)?;
    let ends = |sigma: f64, next: f64| {
        let (down, up) = ancestral(sigma, next);
        (down, middle(sigma, down), up)
    };
    Ok(Schedule::of(levels.steps(ends, true), levels.init_noise_sigma))
}

//! Euler's method for rectified flows.
//!
//! Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024, section 5.3.2.

use noisefind_nn::error::Result;

use super::betas::MOST_TIMESTEPS;
use super::sigmas::{Spread, check_start, ends, linspace};
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "flow-match-euler",
    class_name: "FlowMatchEulerDiscreteScheduler",
    predictions: &[PredictionType::Flow],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("shift", "1.0"),
        ("use_dynamic_shifting", "false"),
        ("base_shift", "0.5"),
        ("max_shift", "1.15"),
        ("base_image_seq_len", "256"),
        ("max_image_seq_len", "4096"),
        ("invert_sigmas", "false"),
        ("shift_terminal", "null"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("time_shift_type", "\"exponential\""),
        ("stochastic_sampling", "false"),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    config.not_implemented(&["use_dynamic_shifting"])?;
    config.one_of("time_shift_type", &["exponential", "linear"])?;
    let spread = Spread::chosen(config)?;
    let total = config.whole("num_train_timesteps", 1, MOST_TIMESTEPS)? as f64;
    let shift = config.finite("shift")?;
    config.check("shift", shift > 0.0, shift, "a positive number")?;
    let shifted = |sigma: f64| shift * sigma / (1.0 + (shift - 1.0) * sigma);
    // The levels of training are shifted once when they are laid out, and once more here, as in diffusers.
    let training = |sigma: f32| {
        let shift = shift as f32;
        f64::from(shift * sigma / (1.0 + (shift - 1.0) * sigma))
    };
    let (highest, lowest) = (training(1.0), training(1.0 / total as f32));
    let times = linspace(highest * total, lowest * total, request.steps);
    let mut sigmas: Vec<f64> = times.into_iter().map(|time| shifted(time / total)).collect();
    if let Some(terminal) = config.optional_number("shift_terminal")?.filter(|&terminal| terminal != 0.0) {
        config.check("shift_terminal", terminal < 1.0, terminal, "a number below 1")?;
        let factor = (1.0 - sigmas[sigmas.len() - 1]) / (1.0 - terminal);
        sigmas.iter_mut().for_each(|sigma| *sigma = 1.0 - (1.0 - *sigma) / factor);
    }
    if let Some(spread) = spread {
        let (highest, lowest) = ends(config, sigmas[0], sigmas[sigmas.len() - 1])?;
        sigmas = spread.levels(highest, lowest, request.steps);
    }
    let inverts = config.flag("invert_sigmas");
    let mut sigmas: Vec<f64> = sigmas
        .into_iter()
        .map(|sigma| f64::from(if inverts { 1.0 - sigma as f32 } else { sigma as f32 }))
        .collect();
    let times: Vec<f64> = sigmas.iter().map(|sigma| sigma * total).collect();
    check_start(&times, request.steps)?;
    sigmas.push(if inverts { 1.0 } else { 0.0 });
    let is_stochastic = config.flag("stochastic_sampling");
    let steps = times.iter().zip(sigmas.windows(2)).map(|(&time, pair)| {
        let (sigma, next) = (pair[0], pair[1]);
        let next = if is_stochastic {
            Combination::linear([1.0 - next, -(1.0 - next) * sigma]).plus(Source::Noise, next)
        } else {
            Combination::linear([1.0, next - sigma])
        };
        Step { next, ..Step::at(time) }
    });
    Ok(Schedule::of(steps.collect(), 1.0))
}

//! Diffusion exponential integrators of first to third order, with polynomials in the logarithm of the noise ratio.
//!
//! Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator", ICLR 2023, section 4.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::dpm::{self, Level};
use super::dpm_multistep::flow_levels;
use super::sigmas::{Points, Spread, check_start, closed, ends, interpolate, times_of_sigmas, timesteps};
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "deis",
    class_name: "DEISMultistepScheduler",
    predictions: &[
        PredictionType::Epsilon,
        PredictionType::Sample,
        PredictionType::VPrediction,
        PredictionType::Flow,
    ],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("solver_order", "2"),
        ("prediction_type", "\"epsilon\""),
        ("thresholding", "false"),
        ("dynamic_thresholding_ratio", "0.995"),
        ("sample_max_value", "1.0"),
        ("algorithm_type", "\"deis\""),
        ("solver_type", "\"logrho\""),
        ("lower_order_final", "true"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("use_flow_sigmas", "false"),
        ("flow_shift", "1.0"),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
        ("use_dynamic_shifting", "false"),
        ("time_shift_type", "\"exponential\""),
    ],
    aliases: &[
        ("algorithm_type", &["dpmsolver", "dpmsolver++"], "deis"),
        ("solver_type", &["midpoint", "heun", "bh1", "bh2"], "logrho"),
    ],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    config.one_of("algorithm_type", &["deis"])?;
    config.one_of("solver_type", &["logrho"])?;
    let order = config.whole("solver_order", 1, 1 << 10)?;
    let bound = Bound::threshold(config)?;
    let alphas = alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::None)?;
    let training = training_sigmas(&alphas);
    let is_flow = config.flag("use_flow_sigmas");
    let (times, sigmas, last) = visited(config, &training, request.steps, is_flow)?;
    let times: Vec<f64> = times.into_iter().map(f64::trunc).collect();
    check_start(&times, request.steps)?;
    let sigmas = closed(sigmas, last);
    let level = if is_flow { Level::of_flow } else { Level::of_ratio };
    /// So many steps are enough for the last ones to be stable in any order.
    const MANY: usize = 15;
    let lowers = config.flag("lower_order_final") && times.len() < MANY;
    let step = |(at, &time): (usize, &f64)| {
        let most = match times.len() - 1 - at {
            0 if lowers => 1,
            1 if lowers => 2,
            _ => 3,
        };
        let order = order.min(most).min(at + 1);
        let levels: Vec<Level> = (0..order).map(|back| level(sigmas[at - back])).collect();
        let (now, end) = (levels[0], level(sigmas[at + 1]));
        let (clean, epsilon) = dpm::conversion(prediction, now, sigmas[at]);
        let call = if prediction == PredictionType::Flow {
            // The class converts a velocity to the clean sample and that to noise, both with the level as it is stored.
            let stored = Level { noise: sigmas[at], ..now };
            let epsilon = [0, 1].map(|at| ([1.0, 0.0][at] - now.signal * clean[at]) / stored.noise);
            dpm::call(time, stored, clean, epsilon, bound, false)
        } else {
            dpm::call(time, now, clean, epsilon, bound, false)
        };
        Step { next: next(&levels, end), ..call }
    };
    Ok(Schedule::of(times.iter().enumerate().map(step).collect(), 1.0))
}

/// The sample at `end`, from the noises at `levels`, newest first.
fn next(levels: &[Level], end: Level) -> Combination {
    let now = levels[0];
    let sample = Combination::default().plus(Source::Sample, end.signal / now.signal);
    let log = |level: &Level| -level.log_ratio;
    let integral = |at: usize| -> f64 {
        match *levels {
            [_] => {
                let h = end.log_ratio - now.log_ratio;
                -end.noise / end.signal * h.exp_m1()
            }
            [_, _] => {
                let other = log(&levels[1 - at]);
                let scale = log(&levels[at]) - other;
                let antiderivative = |x: f64| x.exp() * (x - other - 1.0) / scale;
                antiderivative(log(&end)) - antiderivative(log(&now))
            }
            _ => {
                let (b, c, d) = (log(&levels[at]), log(&levels[(at + 1) % 3]), log(&levels[(at + 2) % 3]));
                let antiderivative = |x: f64| {
                    let numerator = c * (d - x + 1.0) - d * x + d + x * x - 2.0 * x + 2.0;
                    x.exp() * numerator / ((b - c) * (b - d))
                };
                antiderivative(log(&end)) - antiderivative(log(&now))
            }
        }
    };
    let sources = [Source::Value, Source::Past(0), Source::Past(1)];
    (0..levels.len().min(3)).fold(sample, |sum, at| sum.plus(sources[at], end.signal * integral(at)))
}

/// The times and noise levels that are visited, highest first, before times are cut to whole numbers; and the last level.
fn visited(
    config: &SchedulerConfig,
    training: &[f32],
    steps: usize,
    is_flow: bool,
) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let spread = Spread::chosen(config)?;
    let times = timesteps(config, steps, Points::Intervals, training.len())?;
    let (highest, lowest) = (f64::from(training[training.len() - 1]), f64::from(training[0]));
    let (times, sigmas) = if let Some(spread) = spread {
        let (highest, lowest) = ends(config, highest, lowest)?;
        let sigmas = spread.levels(highest, lowest, steps);
        let mut times = times_of_sigmas(training, &sigmas);
        if spread == Spread::Karras {
            times.iter_mut().for_each(|time| *time = time.round_ties_even());
        }
        (times, sigmas)
    } else if is_flow {
        flow_levels(config, training.len(), steps)?
    } else {
        let sigmas = times.iter().map(|&time| interpolate(training, time)).collect();
        return Ok((times, sigmas, lowest));
    };
    let last = sigmas[sigmas.len() - 1];
    Ok((times, sigmas, last))
}

//! DPM-Solver and DPM-Solver++ in their single-step form: groups of one to three calls that start from the same sample.
//!
//! Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022, algorithm 1.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::dpm::{self, ALIASES, Algorithm, Differences, Level, Solver};
use super::dpm_multistep::{check_flow, check_variance, clipped, flow_levels};
use super::sigmas::{Spread, check_start, closed, ends, interpolate, linspace, times_of_sigmas};
use super::step::{Bound, Combination, Source};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "dpmpp-2s",
    class_name: "DPMSolverSinglestepScheduler",
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
        ("algorithm_type", "\"dpmsolver++\""),
        ("solver_type", "\"midpoint\""),
        ("lower_order_final", "false"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("use_flow_sigmas", "false"),
        ("flow_shift", "1.0"),
        ("final_sigmas_type", "\"zero\""),
        ("lambda_min_clipped", "\"-Infinity\""),
        ("variance_type", "null"),
        ("use_dynamic_shifting", "false"),
        ("time_shift_type", "\"exponential\""),
    ],
    aliases: ALIASES,
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    let algorithm = Algorithm::read(
        config,
        &[
            ("dpmsolver++", Algorithm::Clean),
            ("sde-dpmsolver++", Algorithm::CleanSde),
            ("dpmsolver", Algorithm::Noise),
        ],
    )?;
    check_flow(config, prediction, algorithm)?;
    check_variance(config)?;
    let solver = Solver::read(config)?;
    let alphas = alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::None)?;
    let training = training_sigmas(&alphas);
    let is_zero = config.one_of("final_sigmas_type", &["zero", "sigma_min"])? == 0;
    algorithm.check_final(config, is_zero)?;
    let (times, sigmas) = visited(config, &alphas, &training, request.steps)?;
    let times: Vec<f64> = times.into_iter().map(f64::trunc).collect();
    check_start(&times, request.steps)?;
    let sigmas = closed(sigmas, if is_zero { 0.0 } else { f64::from(training[0]) });
    let level = if config.flag("use_flow_sigmas") { Level::of_flow } else { Level::of_ratio };
    let bound = Bound::threshold(config)?;
    config.check(
        "thresholding",
        bound == Bound::None || algorithm.keeps_clean(),
        true,
        "false for dpmsolver in its single-step form",
    )?;
    let orders = orders(config, request.steps, is_zero)?;
    let mut steps = Vec::new();
    for (at, (&time, &order)) in times.iter().zip(&orders).enumerate() {
        let now = level(sigmas[at]);
        let (clean, epsilon) = dpm::conversion(prediction, now, sigmas[at]);
        let mut step = dpm::call(time, now, clean, epsilon, bound, algorithm.keeps_clean());
        let order = order.min(at + 1);
        let levels: Vec<Level> = (0..order).map(|back| level(sigmas[at - back])).collect();
        let end = level(sigmas[at + 1]);
        let base = if order == 1 { Source::Sample } else { Source::Anchor };
        if order == 1 {
            step.anchor = Some(Combination::of(Source::Sample));
        }
        let values = [Source::Value, Source::Past(0), Source::Past(1)];
        let differences = differences(&levels, end, solver);
        // A midpoint of third order is weighted as Heun's step of second order.
        let solver = if order == 3 { Solver::Heun } else { solver };
        step.next = dpm::step(algorithm, solver, [levels[order - 1], end], base, values, differences);
        steps.push(step);
    }
    Ok(Schedule::of(steps, 1.0))
}

/// The differences over the values of one group, newest first; the oldest level is where the group starts.
fn differences(levels: &[Level], end: Level, solver: Solver) -> Differences {
    let mut found = Differences { first: [0.0; 3], second: None, third: None };
    let start = levels[levels.len() - 1];
    found.first[levels.len() - 1] = 1.0;
    let ratio = |level: Level| (level.log_ratio - start.log_ratio) / (end.log_ratio - start.log_ratio);
    match *levels {
        [newest, _] => found.second = Some([1.0 / ratio(newest), -1.0 / ratio(newest), 0.0]),
        [newest, middle, _] => {
            let (far, near) = (ratio(newest), ratio(middle));
            let (of_near, of_far) = ([0.0, 1.0 / near, -1.0 / near], [1.0 / far, 0.0, -1.0 / far]);
            if solver == Solver::Midpoint {
                found.second = Some(of_far);
            } else {
                found.second =
                    Some([0, 1, 2].map(|at| (far * of_near[at] - near * of_far[at]) / (far - near)));
                found.third = Some([0, 1, 2].map(|at| 2.0 * (of_far[at] - of_near[at]) / (far - near)));
            }
        }
        _ => {}
    }
    found
}

/// The order of each step.
fn orders(config: &SchedulerConfig, steps: usize, is_zero: bool) -> Result<Vec<usize>> {
    let order = config.whole("solver_order", 1, 3)?;
    // The class switches this on where groups do not divide the steps or end without noise.
    let lowers = config.flag("lower_order_final") || !steps.is_multiple_of(order) || is_zero;
    let mut orders: Vec<usize> = match (order, lowers) {
        (1, _) => vec![1; steps],
        (2, true) if steps.is_multiple_of(2) => [groups(2, steps / 2 - 1), vec![1, 1]].concat(),
        (2, true) => [groups(2, steps / 2), vec![1]].concat(),
        (_, true) => match steps % 3 {
            0 => [groups(3, steps / 3 - 1), vec![1, 2, 1]].concat(),
            1 => [groups(3, steps / 3), vec![1]].concat(),
            _ => [groups(3, steps / 3), vec![1, 2]].concat(),
        },
        (order, false) => groups(order, steps / order),
    };
    if let Some(last) = orders.last_mut().filter(|_| is_zero) {
        *last = 1;
    }
    Ok(orders)
}

fn groups(order: usize, count: usize) -> Vec<usize> {
    (1..=order).collect::<Vec<_>>().repeat(count)
}

/// The times and noise levels that are visited, highest first, before times are cut to whole numbers.
fn visited(
    config: &SchedulerConfig,
    alphas: &[f32],
    training: &[f32],
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let spread = Spread::chosen(config)?;
    let total = training.len();
    let last = (total - 1 - clipped(config, alphas)?) as f64;
    if let Some(spread) = spread {
        let (highest, lowest) = ends(config, f64::from(training[total - 1]), f64::from(training[0]))?;
        let sigmas = spread.levels(highest, lowest, steps);
        let mut times = times_of_sigmas(training, &sigmas);
        if spread == Spread::Karras {
            times.iter_mut().for_each(|time| *time = time.round_ties_even());
        }
        return Ok((times, sigmas));
    }
    if config.flag("use_flow_sigmas") {
        return flow_levels(config, total, steps);
    }
    let mut times: Vec<f64> =
        linspace(0.0, last, steps + 1).into_iter().rev().map(f64::round_ties_even).collect();
    times.truncate(steps);
    let sigmas = times.iter().map(|&time| interpolate(training, time)).collect();
    Ok((times, sigmas))
}

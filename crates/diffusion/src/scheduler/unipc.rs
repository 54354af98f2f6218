//! UniPC: a multistep predictor, and a corrector that mends each sample once the denoiser has seen it.
//!
//! Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models", NeurIPS 2023,
//! algorithms 1 and 2.

use noisefind_nn::error::Result;
use serde_json::Value;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::dpm::{self, Level};
use super::sigmas::{
    Points, Spread, check_start, closed, ends, interpolate, linspace, times_of_sigmas, timesteps,
};
use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "unipc",
    class_name: "UniPCMultistepScheduler",
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
        ("predict_x0", "true"),
        ("solver_type", "\"bh2\""),
        ("lower_order_final", "true"),
        ("disable_corrector", "[]"),
        ("solver_p", "null"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("use_flow_sigmas", "false"),
        ("flow_shift", "1.0"),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
        ("final_sigmas_type", "\"zero\""),
        ("rescale_betas_zero_snr", "false"),
        ("use_dynamic_shifting", "false"),
        ("time_shift_type", "\"exponential\""),
        ("sigma_min", "null"),
        ("sigma_max", "null"),
        ("shift_terminal", "null"),
    ],
    aliases: &[("solver_type", &["midpoint", "heun", "logrho"], "bh2")],
    schedule,
};

/// Published models use 1 to 3; a linear system of this size is solved for each step.
const MOST_ORDER: usize = 8;

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let prediction = config.prediction()?;
    config.not_implemented(&["solver_p", "use_dynamic_shifting", "shift_terminal"])?;
    let form = Form {
        predicts_clean: config.flag("predict_x0"),
        is_bh1: config.one_of("solver_type", &["bh1", "bh2"])? == 0,
    };
    let is_flow = prediction == PredictionType::Flow;
    config.check(
        "prediction_type",
        !is_flow || form.predicts_clean,
        prediction,
        "another type for predict_x0 = false",
    )?;
    let most = config.whole("solver_order", 1, MOST_ORDER)?;
    let bound = if form.predicts_clean { Bound::threshold(config)? } else { Bound::None };
    let uncorrected = uncorrected(config)?;
    let training = training_sigmas(&alphas_cumprod(config, ZeroSnr::Finite, MoreBetas::None)?);
    let (times, sigmas) = visited(config, &training, request.steps)?;
    let times: Vec<f64> = times.into_iter().map(f64::trunc).collect();
    check_start(&times, request.steps)?;
    let level = if config.flag("use_flow_sigmas") { Level::of_flow } else { Level::of_ratio };
    let lowers = config.flag("lower_order_final");
    let order_at = |at: usize| {
        let most = if lowers { most.min(times.len() - at) } else { most };
        most.min(at + 1)
    };
    let mut steps = Vec::new();
    for (at, &time) in times.iter().enumerate() {
        let now = level(sigmas[at]);
        let (clean, epsilon) = dpm::conversion(prediction, now, sigmas[at]);
        let call = dpm::call(time, now, clean, epsilon, bound, form.predicts_clean);
        let levels = |newest: usize, order: usize| -> Vec<Level> {
            (0..order).map(|back| level(sigmas[newest - back])).collect()
        };
        let corrects = at > 0 && !uncorrected.contains(&(at - 1));
        let corrected = if corrects {
            form.corrected(&levels(at - 1, order_at(at - 1)), now)
        } else {
            Combination::of(Source::Sample)
        };
        let order = order_at(at);
        let weights = form.weights(&levels(at, order), level(sigmas[at + 1]), false);
        let mut next = corrected.clone().times(weights[0]);
        for (back, &weight) in weights[1..].iter().enumerate() {
            next = next.plus(if back == 0 { Source::Value } else { Source::Past(back - 1) }, weight);
        }
        steps.push(Step { anchor: Some(corrected), next, ..call });
    }
    Ok(Schedule::of(steps, 1.0))
}

/// What is integrated, and the function of the step's length that scales the correction.
#[derive(Clone, Copy, Debug)]
struct Form {
    predicts_clean: bool,
    is_bh1: bool,
}

impl Form {
    /// The sample at `now`, from the corrected one of the step before (the anchor), the values at `levels` before `now`,
    /// newest first, and the value at `now`.
    fn corrected(self, levels: &[Level], now: Level) -> Combination {
        let weights = self.weights(levels, now, true);
        let last = weights.len() - 1;
        let mut corrected = Combination::default().plus(Source::Anchor, weights[0]);
        for (back, &weight) in weights[1..last].iter().enumerate() {
            corrected = corrected.plus(Source::Past(back), weight);
        }
        corrected.plus(Source::Value, weights[last])
    }

    /// Weights of the sample at the newest of `levels`, of the values at `levels`, and where it `corrects` of the value at
    /// `end`, in the sample at `end`.
    fn weights(self, levels: &[Level], end: Level, corrects: bool) -> Vec<f64> {
        let (start, order) = (levels[0], levels.len());
        let h = end.log_ratio - start.log_ratio;
        let signed = if self.predicts_clean { -h } else { h };
        let (scale, sample) = if self.predicts_clean {
            (end.signal, end.noise / start.noise)
        } else {
            (end.noise, end.signal / start.signal)
        };
        let growth = signed.exp_m1();
        let length = if self.is_bh1 { signed } else { growth };
        let mut places: Vec<f64> =
            levels[1..].iter().map(|level| (level.log_ratio - start.log_ratio) / h).collect();
        places.push(1.0);
        let (rows, right) = self.conditions(&places, signed, growth, length);
        let unknowns = if corrects { order } else { order - 1 };
        let shares = match (corrects, order) {
            (_, 1) | (false, 2) => vec![0.5; unknowns],
            _ => solve(&rows, &right, unknowns),
        };
        let mut weights = vec![sample, -scale * growth];
        weights.resize(2 + unknowns, 0.0);
        // A share belongs to the difference between an older value, or the one at the end, and the newest.
        for (at, &share) in shares.iter().enumerate() {
            let factor = -scale * length * share / places[at];
            weights[at + 2] += factor;
            weights[1] -= factor;
        }
        weights
    }

    /// The conditions of order on the shares: powers of the places on the left, integrals on the right.
    fn conditions(self, places: &[f64], signed: f64, growth: f64, length: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut integral = growth / signed - 1.0;
        let mut factorial = 1.0;
        let (mut rows, mut right) = (Vec::new(), Vec::new());
        for power in 0..places.len() {
            rows.push(places.iter().map(|place| place.powi(power as i32)).collect());
            right.push(integral * factorial / length);
            factorial *= power as f64 + 2.0;
            integral = integral / signed - 1.0 / factorial;
        }
        (rows, right)
    }
}

/// Solves the leading `size` equations by elimination with pivots.
fn solve(rows: &[Vec<f64>], right: &[f64], size: usize) -> Vec<f64> {
    let mut system: Vec<Vec<f64>> = rows[..size]
        .iter()
        .zip(right)
        .map(|(row, &value)| row[..size].iter().copied().chain([value]).collect())
        .collect();
    for column in 0..size {
        let largest = |a: &usize, b: &usize| system[*a][column].abs().total_cmp(&system[*b][column].abs());
        let pivot = (column..size).max_by(largest).unwrap_or(column);
        system.swap(column, pivot);
        let row = system[column].clone();
        for (at, other) in system.iter_mut().enumerate() {
            if at != column {
                let factor = other[column] / row[column];
                other.iter_mut().zip(&row).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    (0..size).map(|at| system[at][size] / system[at][at]).collect()
}

/// The steps whose samples are not corrected.
fn uncorrected(config: &SchedulerConfig) -> Result<Vec<usize>> {
    const KEY: &str = "disable_corrector";
    let value = config.get(KEY).unwrap_or_default();
    let numbers =
        value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
    match numbers {
        Some(numbers) => Ok(numbers.into_iter().map(|number| number as usize).collect()),
        None => Err(config.invalid(KEY, value, "a list of steps")),
    }
}

/// The times that are visited, before they are cut to whole numbers, and the noise levels with the last one.
fn visited(config: &SchedulerConfig, training: &[f32], steps: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let spread = Spread::chosen(config)?;
    let total = training.len();
    let plain = timesteps(config, steps, Points::Intervals, total)?;
    let is_zero = config.one_of("final_sigmas_type", &["zero", "sigma_min"])? == 0;
    let is_flow = config.flag("use_flow_sigmas");
    let (highest, lowest) = (f64::from(training[total - 1]), f64::from(training[0]));
    let (times, sigmas) = if let Some(spread) = spread {
        let (highest, lowest) = ends(config, highest, lowest)?;
        let mut sigmas = spread.levels(highest, lowest, steps);
        let mut times = times_of_sigmas(training, &sigmas);
        if spread == Spread::Karras && is_flow {
            sigmas.iter_mut().for_each(|sigma| *sigma /= *sigma + 1.0);
            times = sigmas.iter().map(|sigma| sigma * total as f64).collect();
        } else if spread == Spread::Karras {
            times.iter_mut().for_each(|time| *time = time.round_ties_even());
        }
        (times, sigmas)
    } else if is_flow {
        let shift = config.finite("flow_shift")?;
        let mut sigmas = linspace(1.0, 1.0 / total as f64, steps + 1);
        sigmas.truncate(steps);
        sigmas.iter_mut().for_each(|sigma| *sigma = shift * *sigma / (1.0 + (shift - 1.0) * *sigma));
        // At the level 1 there is no signal, whose logarithm is not finite.
        const LEAST_SIGNAL: f64 = 1e-6;
        if (sigmas[0] - 1.0).abs() < LEAST_SIGNAL {
            sigmas[0] -= LEAST_SIGNAL;
        }
        (sigmas.iter().map(|sigma| sigma * total as f64).collect(), sigmas)
    } else {
        let sigmas = plain.iter().map(|&time| interpolate(training, time)).collect();
        return Ok((plain, closed(sigmas, if is_zero { 0.0 } else { lowest })));
    };
    let last = if is_zero { 0.0 } else { sigmas[sigmas.len() - 1] };
    Ok((times, closed(sigmas, last)))
}

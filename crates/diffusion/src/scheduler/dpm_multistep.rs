//! DPM-Solver and DPM-Solver++ in their multistep form, of first to third order, with and without noise.
//!
//! Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022, algorithm 2.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod, training_sigmas};
use super::dpm::{self, ALIASES, Algorithm, Level, Solver};
use super::sigmas::{
    Points, Spread, check_start, closed, ends, interpolate, linspace, times_of_sigmas, timesteps,
};
use super::step::{Bound, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "dpmpp-2m",
    class_name: "DPMSolverMultistepScheduler",
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
        ("lower_order_final", "true"),
        ("euler_at_final", "false"),
        ("use_karras_sigmas", "false"),
        ("use_exponential_sigmas", "false"),
        ("use_beta_sigmas", "false"),
        ("use_lu_lambdas", "false"),
        ("use_flow_sigmas", "false"),
        ("flow_shift", "1.0"),
        ("final_sigmas_type", "\"zero\""),
        ("lambda_min_clipped", "\"-Infinity\""),
        ("variance_type", "null"),
        ("timestep_spacing", "\"linspace\""),
        ("steps_offset", "0"),
        ("rescale_betas_zero_snr", "false"),
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
            ("sde-dpmsolver", Algorithm::NoiseSde),
        ],
    )?;
    check_flow(config, prediction, algorithm)?;
    check_variance(config)?;
    let order = config.whole("solver_order", 1, 1 << 10)?;
    config.check(
        "solver_order",
        order < 3 || algorithm != Algorithm::NoiseSde,
        order,
        "1 or 2 for sde-dpmsolver",
    )?;
    let alphas = alphas_cumprod(config, ZeroSnr::Finite, MoreBetas::None)?;
    let training = training_sigmas(&alphas);
    let (times, sigmas) = visited(config, &alphas, &training, request.steps)?;
    let times: Vec<f64> = times.into_iter().map(f64::trunc).collect();
    check_start(&times, request.steps)?;
    let ending = Ending::read(config, algorithm)?;
    let sigmas = closed(sigmas, ending.last_sigma(&training));
    let level = if config.flag("use_flow_sigmas") { Level::of_flow } else { Level::of_ratio };
    let bound = Bound::threshold(config)?;
    let call = |at: usize, time: f64| {
        let now = level(sigmas[at]);
        let (clean, epsilon) = dpm::conversion(prediction, now, sigmas[at]);
        dpm::call(time, now, clean, epsilon, bound, algorithm.keeps_clean())
    };
    Ok(Schedule::of(
        steps(&times, &sigmas, level, algorithm, Solver::read(config)?, order, &ending, call),
        1.0,
    ))
}

/// The steps of the multistep method, each a `call` with what follows it.
#[allow(clippy::too_many_arguments, reason = "both classes of the multistep form come with all of these")]
pub(super) fn steps(
    times: &[f64],
    sigmas: &[f64],
    level: impl Fn(f64) -> Level,
    algorithm: Algorithm,
    solver: Solver,
    order: usize,
    ending: &Ending,
    call: impl Fn(usize, f64) -> Step,
) -> Vec<Step> {
    let step = |(at, &time): (usize, &f64)| {
        let order = ending.order_at(at, times.len(), order).min(at + 1).min(3);
        let levels: Vec<Level> = (0..order).map(|back| level(sigmas[at - back])).collect();
        let end = level(sigmas[at + 1]);
        let values = [Source::Value, Source::Past(0), Source::Past(1)];
        let differences = dpm::multistep(&levels, end);
        let next = dpm::step(algorithm, solver, [levels[0], end], Source::Sample, values, differences);
        Step { next, ..call(at, time) }
    };
    times.iter().enumerate().map(step).collect()
}

/// What happens at the last steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Whether the last level has no noise at all.
    is_zero: bool,
    /// `lower_order_final`
    lower: bool,
    /// `euler_at_final`
    euler: bool,
}

impl Ending {
    pub(super) fn read(config: &SchedulerConfig, algorithm: Algorithm) -> Result<Self> {
        let is_zero = config.one_of("final_sigmas_type", &["zero", "sigma_min"])? == 0;
        algorithm.check_final(config, is_zero)?;
        Ok(Self { is_zero, lower: config.flag("lower_order_final"), euler: config.flag("euler_at_final") })
    }

    pub(super) fn last_sigma(&self, training: &[f32]) -> f64 {
        if self.is_zero { 0.0 } else { f64::from(training[0]) }
    }

    /// The order of step `at` of `steps`, at most `order`.
    fn order_at(&self, at: usize, steps: usize, order: usize) -> usize {
        /// So many steps are enough for the last ones to be stable in any order.
        const MANY: usize = 15;
        let lowers = self.lower && steps < MANY;
        match steps - 1 - at {
            0 if self.euler || lowers || self.is_zero => 1,
            1 if lowers => order.min(2),
            _ => order,
        }
    }
}

/// Refuses what is defined for a flow's levels alone, or not for them.
pub(super) fn check_flow(
    config: &SchedulerConfig,
    prediction: PredictionType,
    algorithm: Algorithm,
) -> Result<()> {
    let is_flow = prediction == PredictionType::Flow;
    config.check(
        "prediction_type",
        !is_flow || algorithm.keeps_clean(),
        prediction,
        "epsilon, sample or v_prediction for dpmsolver",
    )
}

/// Refuses a variance that the denoiser would have to predict.
pub(super) fn check_variance(config: &SchedulerConfig) -> Result<()> {
    let found = config.get("variance_type").unwrap_or_default();
    let learned = found == "learned" || found == "learned_range";
    config.check("variance_type", !learned, found, "null; a learned variance is not implemented")
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
    let times = timesteps(config, steps, Points::Intervals, total - clipped(config, alphas)?)?;
    let (highest, lowest) = (f64::from(training[total - 1]), f64::from(training[0]));
    let rounds = config.get("beta_schedule").is_none_or(|schedule| schedule != "squaredcos_cap_v2");
    let with_times = |sigmas: Vec<f64>, rounds: bool| {
        let mut times = times_of_sigmas(training, &sigmas);
        if rounds {
            times.iter_mut().for_each(|time| *time = time.round_ties_even());
        }
        (times, sigmas)
    };
    if let Some(spread) = spread.filter(|&spread| spread == Spread::Karras || !config.flag("use_lu_lambdas"))
    {
        let (highest, lowest) = ends(config, highest, lowest)?;
        let sigmas = spread.levels(highest, lowest, steps);
        return Ok(with_times(sigmas, rounds && spread == Spread::Karras));
    }
    if config.flag("use_lu_lambdas") {
        // Evenly in the logarithm, as Lu et al. 2022 (appendix C) do, with the logarithms rounded as they are stored.
        let log = |sigma: f64| f64::from(sigma.ln() as f32);
        let sigmas = linspace(log(highest), log(lowest), steps).into_iter().map(f64::exp).collect();
        return Ok(with_times(sigmas, rounds));
    }
    if config.flag("use_flow_sigmas") {
        return flow_levels(config, total, steps);
    }
    let sigmas = times.iter().map(|&time| interpolate(training, time)).collect();
    Ok((times, sigmas))
}

/// Times and levels of a rectified flow.
pub(super) fn flow_levels(
    config: &SchedulerConfig,
    total: usize,
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let shift = config.finite("flow_shift")?;
    let sigmas = linspace(1.0, 1.0 / total as f64, steps + 1).into_iter().map(|alpha| 1.0 - alpha);
    let sigmas = sigmas.map(|sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma));
    let mut sigmas: Vec<f64> = sigmas.rev().collect();
    sigmas.truncate(steps);
    Ok((sigmas.iter().map(|sigma| sigma * total as f64).collect(), sigmas))
}

/// How many of the noisiest training times lie below `lambda_min_clipped` in their signal-to-noise ratio.
pub(super) fn clipped(config: &SchedulerConfig, alphas: &[f32]) -> Result<usize> {
    const KEY: &str = "lambda_min_clipped";
    let least = config.number(KEY)? as f32;
    let log_ratio = |&alpha: &f32| alpha.sqrt().ln() - (1.0 - alpha).sqrt().ln();
    let count = alphas.iter().filter(|alpha| log_ratio(alpha) < least).count();
    config.check(KEY, count < alphas.len(), least, "a logarithm that some training time reaches")?;
    Ok(count)
}

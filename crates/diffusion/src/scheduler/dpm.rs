//! What the DPM-Solver family has in common: levels in the logarithm of the signal-to-noise ratio, what is remembered of
//! an output, and the steps of first, second and third order.
//!
//! Lu et al., "DPM-Solver" and "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022.

use noisefind_nn::error::Result;

use super::step::{Bound, Combination, Source, Step};
use super::{PredictionType, SchedulerConfig};

/// A noise level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) signal: f64,
    pub(super) noise: f64,
    /// `ln(signal / noise)`
    pub(super) log_ratio: f64,
}

impl Level {
    /// The level whose noise is `sigma` times its signal, of unit variance.
    pub(super) fn of_ratio(sigma: f64) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, noise: sigma * signal, log_ratio: -sigma.ln() }
    }

    /// The level of a rectified flow.
    pub(super) fn of_flow(sigma: f64) -> Self {
        Self { signal: 1.0 - sigma, noise: sigma, log_ratio: (1.0 - sigma).ln() - sigma.ln() }
    }

    /// The level of a sample whose signal stays 1.
    pub(super) fn of_edm(sigma: f64) -> Self {
        Self { signal: 1.0, noise: sigma, log_ratio: -sigma.ln() }
    }
}

/// What is integrated, and whether noise is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The noise prediction, `dpmsolver`.
    Noise,
    /// The clean prediction, `dpmsolver++`.
    Clean,
    /// The noise prediction of the stochastic equation, `sde-dpmsolver`.
    NoiseSde,
    /// The clean prediction of the stochastic equation, `sde-dpmsolver++`.
    CleanSde,
}

impl Algorithm {
    /// Reads `algorithm_type`, one of the first `known` of all.
    pub(super) fn read(config: &SchedulerConfig, names: &[(&'static str, Self)]) -> Result<Self> {
        let texts: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        Ok(names[config.one_of("algorithm_type", &texts)?].1)
    }

    /// Refuses a last level without noise for what only knows the noise prediction, and for the algorithm of another
    /// class, as diffusers does.
    pub(super) fn check_final(self, config: &SchedulerConfig, is_zero: bool) -> Result<()> {
        const KEY: &str = "algorithm_type";
        let foreign = config.as_given(KEY).filter(|&given| given == "deis");
        if let Some(given) = foreign.filter(|_| is_zero) {
            let expected = "one of this class's own; add algorithm_type=dpmsolver++ to --scheduler";
            return Err(config.invalid(KEY, given, expected));
        }
        let holds = !is_zero || self.keeps_clean();
        config.check("final_sigmas_type", holds, "zero", "sigma_min for dpmsolver and sde-dpmsolver")
    }

    /// Whether the clean prediction is remembered, and not that of the noise.
    pub(super) fn keeps_clean(self) -> bool {
        matches!(self, Self::Clean | Self::CleanSde)
    }
}

/// How the second difference enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Solver {
    Midpoint,
    Heun,
}

impl Solver {
    /// Reads `solver_type`.
    pub(super) fn read(config: &SchedulerConfig) -> Result<Self> {
        let names = ["midpoint", "heun"];
        Ok(if config.one_of("solver_type", &names)? == 0 { Self::Midpoint } else { Self::Heun })
    }
}

/// Values of other classes for `algorithm_type` and `solver_type`.
pub(super) const ALIASES: &[(&str, &[&str], &str)] =
    &[("algorithm_type", &["deis"], "dpmsolver++"), ("solver_type", &["logrho", "bh1", "bh2"], "midpoint")];

/// A call at `time` and `level` that remembers the clean prediction within its bound, or the noise that belongs to it.
pub(super) fn call(
    time: f64,
    level: Level,
    clean: [f64; 2],
    epsilon: [f64; 2],
    bound: Bound,
    keeps_clean: bool,
) -> Step {
    let value = if keeps_clean {
        Combination::of(Source::Clean)
    } else if bound == Bound::None {
        Combination::linear(epsilon)
    } else {
        Combination::default()
            .plus(Source::Sample, 1.0 / level.noise)
            .plus(Source::Clean, -level.signal / level.noise)
    };
    Step { clean: Combination::linear(clean), bound, value: Some(value), ..Step::at(time) }
}

/// Factors of sample and output in the clean sample and in the noise, for a level that came from `sigma`.
pub(super) fn conversion(prediction: PredictionType, level: Level, sigma: f64) -> ([f64; 2], [f64; 2]) {
    // A flow's velocity is weighted by the level as it is stored.
    let noise = if prediction == PredictionType::Flow { sigma } else { level.noise };
    (prediction.clean(level.signal, noise), prediction.epsilon(level.signal, noise))
}

/// Differences of the remembered values, each as factors of the values: the newest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Differences {
    pub(super) first: [f64; 3],
    /// Of second order, where the step has it.
    pub(super) second: Option<[f64; 3]>,
    /// Of third order, where the step has it.
    pub(super) third: Option<[f64; 3]>,
}

/// The step from `start` to `end`: `base` is the sample at `start`, and `values` the sources of the remembered values,
/// newest first. A step of third order has both differences weighted as those of Heun.
pub(super) fn step(
    algorithm: Algorithm,
    solver: Solver,
    [start, end]: [Level; 2],
    base: Source,
    values: [Source; 3],
    differences: Differences,
) -> Combination {
    let h = end.log_ratio - start.log_ratio;
    let (forward, backward) = (h.exp_m1(), (-h).exp_m1());
    let doubled = -(-2.0 * h).exp_m1(); // 1 - e^(-2 h)
    let is_midpoint = solver == Solver::Midpoint && differences.third.is_none();
    // Factors of the sample, of the newest value, and of the differences of second and third order.
    let [sample, first, second, third] = match algorithm {
        Algorithm::Clean => {
            let second = if is_midpoint { -0.5 * backward } else { backward / h + 1.0 };
            let third = -((backward + h) / (h * h) - 0.5);
            [end.noise / start.noise, -backward, second, third].map_tail(end.signal)
        }
        Algorithm::Noise => {
            let second = if is_midpoint { -0.5 * forward } else { -(forward / h - 1.0) };
            let third = -((forward - h) / (h * h) - 0.5);
            [end.signal / start.signal, -forward, second, third].map_tail(end.noise)
        }
        Algorithm::CleanSde => {
            let second = if is_midpoint { 0.5 * doubled } else { doubled / (-2.0 * h) + 1.0 };
            let third = (doubled - 2.0 * h) / (4.0 * h * h) - 0.5;
            [end.noise / start.noise * (-h).exp(), doubled, second, third].map_tail(end.signal)
        }
        Algorithm::NoiseSde => {
            let second = if is_midpoint { -forward } else { -2.0 * (forward / h - 1.0) };
            [end.signal / start.signal, -2.0 * forward, second, 0.0].map_tail(end.noise)
        }
    };
    let factor = |at: usize| {
        first * differences.first[at]
            + differences.second.map_or(0.0, |difference| second * difference[at])
            + differences.third.map_or(0.0, |difference| third * difference[at])
    };
    let next = Combination::default().plus(base, sample);
    let next = (0..3).fold(next, |next, at| next.plus(values[at], factor(at)));
    match algorithm {
        Algorithm::Clean | Algorithm::Noise => next,
        Algorithm::CleanSde => next.plus(Source::Noise, end.noise * doubled.sqrt()),
        Algorithm::NoiseSde => next.plus(Source::Noise, end.noise * (2.0 * h).exp_m1().sqrt()),
    }
}

trait MapTail {
    /// All factors but the first, times `factor`.
    fn map_tail(self, factor: f64) -> Self;
}

impl MapTail for [f64; 4] {
    fn map_tail(self, factor: f64) -> Self {
        let [sample, rest @ ..] = self;
        let [first, second, third] = rest.map(|value| value * factor);
        [sample, first, second, third]
    }
}

/// The differences of a multistep method over the values at these levels, newest first; `end` is where the step leads.
pub(super) fn multistep(levels: &[Level], end: Level) -> Differences {
    let gap = |newer: Level, older: Level| newer.log_ratio - older.log_ratio;
    let h = gap(end, levels[0]);
    let mut differences = Differences { first: [1.0, 0.0, 0.0], second: None, third: None };
    let [newest, before, rest @ ..] = levels else { return differences };
    let ratio = gap(*newest, *before) / h;
    let second = [1.0 / ratio, -1.0 / ratio, 0.0];
    let [oldest, ..] = rest else {
        differences.second = Some(second);
        return differences;
    };
    let older_ratio = gap(*before, *oldest) / h;
    let older = [0.0, 1.0 / older_ratio, -1.0 / older_ratio];
    let change = |factor: f64| [0, 1, 2].map(|at| factor * (second[at] - older[at]));
    let correction = change(ratio / (ratio + older_ratio));
    differences.second = Some([0, 1, 2].map(|at| second[at] + correction[at]));
    differences.third = Some(change(1.0 / (ratio + older_ratio)));
    differences
}

//! Which times and noise levels are visited: NumPy's arithmetic, since a time that is rounded to the other side is another
//! sample.

use noisefind_nn::error::Result;

use super::{SchedulerConfig, steps_refused};

/// How many points a spacing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Points {
    /// One for each step, whole numbers: the DDIM family.
    Whole,
    /// One for each step; evenly spaced ones stay fractional: the Euler family.
    Fractional,
    /// One more than steps, of which the lowest is left out: the DPM-Solver family.
    Intervals,
}

/// The times that `timestep_spacing` selects (Lin et al. 2023, table 2) of those below `last`, highest first.
pub(super) fn timesteps(
    config: &SchedulerConfig,
    steps: usize,
    points: Points,
    last: usize,
) -> Result<Vec<f64>> {
    const KEY: &str = "timestep_spacing";
    let count = if points == Points::Intervals { steps + 1 } else { steps };
    let mut times: Vec<f64> = match config.one_of(KEY, &["linspace", "leading", "trailing"])? {
        0 => linspace(0.0, last as f64 - 1.0, count)
            .into_iter()
            .rev()
            .map(|time| match points {
                Points::Fractional => f64::from(time as f32),
                Points::Whole | Points::Intervals => time.round_ties_even(),
            })
            .collect(),
        1 => {
            let offset = config.finite("steps_offset")?;
            (0..count).rev().map(|at| (at * (last / count)) as f64 + offset).collect()
        }
        _ => {
            let total = config.whole("num_train_timesteps", 1, super::betas::MOST_TIMESTEPS)?;
            let times = arange_down(last as f64, total as f64 / steps as f64);
            return Ok(times.into_iter().map(|time| time.round_ties_even() - 1.0).collect());
        }
    };
    times.truncate(steps);
    Ok(times)
}

/// `numpy.arange(start, 0, -step)`: the rounding of its length and of its increment decide whether a spacing whose steps
/// do not divide training time ends with one point more, and to which side its halves are rounded.
fn arange_down(start: f64, step: f64) -> Vec<f64> {
    let length = ((0.0 - start) / -step).ceil() as usize;
    let increment = (start - step) - start;
    (0..length).map(|at| if at == 1 { start - step } else { start + at as f64 * increment }).collect()
}

/// `numpy.linspace`: `count` numbers from `start` to `end`, both included.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
    let value = |at: usize| if at > 0 && at + 1 == count { end } else { start + step * at as f64 };
    (0..count).map(value).collect()
}

/// `numpy.interp` over the whole numbers from 0 on.
pub(super) fn interpolate(table: &[f32], at: f64) -> f64 {
    let last = table.len() - 1;
    let low = (at.max(0.0) as usize).min(last);
    let (below, above) = (f64::from(table[low]), f64::from(table[(low + 1).min(last)]));
    if at <= 0.0 || low == last { below } else { below + (above - below) * (at - low as f64) }
}

/// The value of a table at a whole time; a negative time counts from the end, as in Python.
///
/// # Errors
/// Where there is no such time, which is a matter of `steps_offset` and of the number of steps.
pub(super) fn level_at(config: &SchedulerConfig, alphas: &[f32], time: f64) -> Result<f64> {
    let at = if time < 0.0 { alphas.len() as f64 + time } else { time };
    let found = (at >= 0.0).then(|| alphas.get(at as usize)).flatten();
    found.map(|&alpha| f64::from(alpha)).ok_or_else(|| {
        let offset = config.get("steps_offset").unwrap_or_default();
        let expected = format!(
            "an offset that keeps every time below num_train_timesteps ({}), or fewer steps; found the time {time}",
            alphas.len()
        );
        config.invalid("steps_offset", offset, expected)
    })
}

/// A spacing of noise levels that replaces that of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// Evenly in the seventh root (Karras et al. 2022, equation 5).
    Karras,
    /// Evenly in the logarithm.
    Exponential,
    /// By quantiles of a beta distribution (Lee et al. 2024).
    Beta,
}

impl Spread {
    /// The one that the config selects.
    ///
    /// # Errors
    /// Where it selects more than one.
    pub(super) fn chosen(config: &SchedulerConfig) -> Result<Option<Self>> {
        let keys = [
            ("use_karras_sigmas", Self::Karras),
            ("use_exponential_sigmas", Self::Exponential),
            ("use_beta_sigmas", Self::Beta),
        ];
        let mut chosen = None;
        for (key, spread) in keys {
            if config.strict_flag(key)? {
                let expected = "false, since another spacing of sigmas is selected already";
                config.check(key, chosen.is_none(), true, expected)?;
                chosen = Some(spread);
            }
        }
        Ok(chosen)
    }

    /// `count` levels from `highest` to `lowest`.
    pub(super) fn levels(self, highest: f64, lowest: f64, count: usize) -> Vec<f64> {
        match self {
            Self::Karras => karras(highest, lowest, 7.0, &linspace(0.0, 1.0, count)),
            Self::Exponential => {
                linspace(highest.ln(), lowest.ln(), count).into_iter().map(f64::exp).collect()
            }
            Self::Beta => {
                const SHAPE: f64 = 0.6;
                let quantile = |ramp: f64| beta_quantile(1.0 - ramp, SHAPE);
                linspace(0.0, 1.0, count)
                    .into_iter()
                    .map(|ramp| lowest + quantile(ramp) * (highest - lowest))
                    .collect()
            }
        }
    }
}

/// Levels that are evenly spaced in their `rho`-th root.
pub(super) fn karras(highest: f64, lowest: f64, rho: f64, ramp: &[f64]) -> Vec<f64> {
    let (high, low) = (highest.powf(1.0 / rho), lowest.powf(1.0 / rho));
    ramp.iter().map(|ramp| (high + ramp * (low - high)).powf(rho)).collect()
}

/// The highest and the lowest level of a spread: `sigma_max` and `sigma_min` where the file has them, even those of
/// another class, or else `highest` and `lowest`.
pub(super) fn ends(config: &SchedulerConfig, highest: f64, lowest: f64) -> Result<(f64, f64)> {
    let end = |key, default: f64| {
        let found = config.optional_number(key)?.unwrap_or(default);
        config.check(key, found.is_finite() && found > 0.0, found, "a positive number")?;
        Ok(found)
    };
    Ok((end("sigma_max", highest)?, end("sigma_min", lowest)?))
}

/// The (fractional) training time of each level, by interpolation in the logarithm.
pub(super) fn times_of_sigmas(training: &[f32], sigmas: &[f64]) -> Vec<f64> {
    let logs: Vec<f32> = training.iter().map(|&sigma| f64::from(sigma).ln() as f32).collect();
    sigmas.iter().map(|&sigma| time_of_sigma(&logs, sigma)).collect()
}

fn time_of_sigma(logs: &[f32], sigma: f64) -> f64 {
    let wanted = sigma.max(1e-10).ln();
    let most = logs.len().saturating_sub(2);
    let low = logs.iter().rposition(|&log| wanted >= f64::from(log)).unwrap_or(0).min(most);
    let (below, above) = (logs[low], logs[(low + 1).min(logs.len() - 1)]);
    let weight = ((f64::from(below) - wanted) / f64::from(below - above)).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// Times and noise levels of the Euler family: fractional times, and the levels of training between them, or a spread.
pub(super) fn euler_levels(
    config: &SchedulerConfig,
    training: &[f32],
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let spread = Spread::chosen(config)?;
    let times = timesteps(config, steps, Points::Fractional, training.len())?;
    let sigmas: Vec<f64> = times.iter().map(|&time| interpolate(training, time)).collect();
    spread_over(config, spread, training, times, sigmas, steps)
}

/// The levels of a spread between the ends of `sigmas`, with their times; or all as they are.
pub(super) fn spread_over(
    config: &SchedulerConfig,
    spread: Option<Spread>,
    training: &[f32],
    times: Vec<f64>,
    sigmas: Vec<f64>,
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (Some(spread), Some(&first), Some(&last)) = (spread, sigmas.first(), sigmas.last()) else {
        return Ok((times, sigmas));
    };
    let (highest, lowest) = ends(config, first, last)?;
    let sigmas = spread.levels(highest, lowest, steps);
    Ok((times_of_sigmas(training, &sigmas), sigmas))
}

/// Levels followed by the last one, rounded as they are stored.
pub(super) fn closed(mut sigmas: Vec<f64>, last: f64) -> Vec<f64> {
    sigmas.push(last);
    sigmas.into_iter().map(|sigma| f64::from(sigma as f32)).collect()
}

/// Standard deviation of the first sample of the Euler family.
pub(super) fn init_noise_sigma(config: &SchedulerConfig, sigmas: &[f64]) -> f64 {
    let highest = sigmas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let is_leading = config.get("timestep_spacing").is_some_and(|spacing| spacing == "leading");
    if is_leading { (highest * highest + 1.0).sqrt() } else { highest }
}

/// Factor between a sample of noise level `sigma` and the denoiser's input.
pub(super) fn input_scale(sigma: f64) -> f32 {
    (1.0 / (sigma * sigma + 1.0).sqrt()) as f32
}

/// Refuses a schedule whose first time comes again: diffusers looks its place up by the time, and would start with the
/// second step.
pub(super) fn check_start(times: &[f64], steps: usize) -> Result<()> {
    let first = times.first().map(|&time| time as f32);
    if times.iter().skip(1).any(|&time| Some(time as f32) == first) {
        let expected =
            "fewer: with so many the first time is visited twice, for which the scheduler is not defined";
        return Err(steps_refused(steps, expected.into()));
    }
    Ok(())
}

/// The quantile of the symmetric beta distribution, by bisection of its distribution function.
fn beta_quantile(probability: f64, shape: f64) -> f64 {
    if probability <= 0.0 || probability >= 1.0 {
        return probability.clamp(0.0, 1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    // Every step halves the interval, down to neighbouring numbers.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_distribution(middle, shape) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function `I_x(a, a)`, by its continued fraction (Abramowitz and Stegun, 26.5.8).
fn beta_distribution(x: f64, a: f64) -> f64 {
    if x > 0.5 {
        return 1.0 - beta_distribution(1.0 - x, a);
    }
    const SMALL: f64 = 1e-300;
    let guard = |value: f64| if value.abs() < SMALL { SMALL } else { value };
    let log_beta = 2.0 * libm::lgamma(a) - libm::lgamma(2.0 * a);
    let front = (a * x.ln() + a * (1.0 - x).ln() - log_beta).exp() / a;
    // Lentz's method.
    let (mut c, mut d) = (1.0, 1.0 / guard(1.0 - 2.0 * a * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (a - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (2.0 * a + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.stats.beta.ppf(p, 0.6, 0.6)`.
    #[test]
    fn beta_quantiles_agree_with_scipy() {
        for (probability, expected) in BETA_QUANTILES {
            let found = beta_quantile(probability, 0.6);
            assert!((found - expected).abs() <= 1e-12, "{probability}: {found} against {expected}");
        }
    }

    const BETA_QUANTILES: [(f64, f64); 6] = [
        (0.001, 1.855_873_851_745_199e-5),
        (0.05, 0.012_554_456_873_611_399),
        (0.25, 0.175_680_378_652_694_98),
        (0.5, 0.5),
        (0.8, 0.877_078_249_541_667_1),
        (0.999, 0.999_981_441_261_482_6),
    ];
}

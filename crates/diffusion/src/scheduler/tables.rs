//! Tables that several solvers share: noise levels of training, and which of them are visited.
//!
//! Numbers are rounded to f32 where PyTorch rounds them, so that tables agree to the last digit or nearly so.

use super::config::{BetaSchedule, SchedulerConfig, TimestepSpacing};

/// `ā_t`, the cumulative product of `1 - beta` over training time.
pub(super) fn alphas_cumprod(config: &SchedulerConfig) -> Vec<f32> {
    let mut betas = betas(config);
    if config.rescale_betas_zero_snr {
        betas = rescale_to_zero_snr(&betas);
    }
    cumulative_product(&betas)
}

/// `sqrt((1 - ā) / ā)`: standard deviation of the noise for a signal of 1.
pub(super) fn sigma(alpha: f32) -> f64 {
    ((1.0 - f64::from(alpha)) / f64::from(alpha)).sqrt()
}

/// Noise levels of all training times, for solvers that need them finite where the last time is pure noise.
pub(super) fn finite_sigmas(config: &SchedulerConfig, alphas: &[f32]) -> Vec<f64> {
    /// What diffusers puts in place of 0.
    const SMALLEST_ALPHA: f32 = 1.0 / 16_777_216.0;
    let last = alphas.len().saturating_sub(1);
    let finite = |(at, &alpha): (usize, &f32)| {
        sigma(if config.rescale_betas_zero_snr && at == last { SMALLEST_ALPHA } else { alpha })
    };
    alphas.iter().enumerate().map(finite).collect()
}

/// The integer times of DDIM, PNDM and the ancestral family, highest first.
pub(super) fn integer_timesteps(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    let total = config.num_train_timesteps;
    match config.timestep_spacing {
        TimestepSpacing::Leading => leading(total / steps, steps, config.steps_offset),
        TimestepSpacing::Linspace => {
            linspace(0.0, (total - 1) as f64, steps).rev().map(round_half_even).collect()
        }
        TimestepSpacing::Trailing => trailing(total, steps),
    }
}

/// Multiples of `ratio`, moved by `offset`, highest first.
pub(super) fn leading(ratio: usize, steps: usize, offset: usize) -> Vec<usize> {
    (0..steps).rev().map(|at| at * ratio + offset).collect()
}

/// The end of each of `steps` equal parts of training time, highest first.
pub(super) fn trailing(total: usize, steps: usize) -> Vec<usize> {
    let ratio = total as f64 / steps as f64;
    (0..steps).map(|at| round_half_even(total as f64 - at as f64 * ratio).saturating_sub(1)).collect()
}

/// `count` numbers from `start` to `end`, both included.
pub(super) fn linspace(
    start: f64,
    end: f64,
    count: usize,
) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
    let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
    (0..count).map(move |at| start + step * at as f64)
}

/// Rounds as NumPy does.
pub(super) fn round_half_even(value: f64) -> usize {
    value.round_ties_even() as usize
}

/// The value of a table between two of its places.
pub(super) fn interpolate(table: &[f64], at: f64) -> f64 {
    let last = table.len() - 1;
    let low = (at.max(0.0) as usize).min(last);
    let high = (low + 1).min(last);
    table[low] + (table[high] - table[low]) * (at - low as f64)
}

/// Noise levels spaced evenly in their seventh root (Karras et al. 2022, equation 5), highest first.
pub(super) fn karras_sigmas(lowest: f64, highest: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (low, high) = (lowest.powf(1.0 / RHO), highest.powf(1.0 / RHO));
    linspace(0.0, 1.0, steps).map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
}

/// The (fractional) training time of a noise level, by interpolation in the logarithm.
pub(super) fn time_of_sigma(sigmas: &[f64], sigma: f64) -> f64 {
    let wanted = sigma.max(1e-10).ln();
    let low = sigmas
        .partition_point(|level| level.ln() <= wanted)
        .saturating_sub(1)
        .min(sigmas.len().saturating_sub(2));
    let high = (low + 1).min(sigmas.len() - 1);
    let (below, above) = (sigmas[low].ln(), sigmas[high].ln());
    let share = ((below - wanted) / (below - above)).clamp(0.0, 1.0);
    (1.0 - share) * low as f64 + share * high as f64
}

fn betas(config: &SchedulerConfig) -> Vec<f32> {
    let count = config.num_train_timesteps;
    if let Some(betas) = &config.trained_betas {
        return betas.clone();
    }
    match config.beta_schedule {
        BetaSchedule::Linear => linspace_f32(config.beta_start, config.beta_end, count),
        BetaSchedule::ScaledLinear => {
            let roots = linspace_f32(config.beta_start.sqrt(), config.beta_end.sqrt(), count);
            roots.into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosine => {
            let level = |at: usize| {
                let time = at as f64 / count as f64;
                ((time + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)
            };
            (0..count).map(|at| (1.0 - level(at + 1) / level(at)).min(0.999) as f32).collect()
        }
    }
}

/// PyTorch's single-precision `linspace`, which counts from both ends towards the middle.
fn linspace_f32(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = if count > 1 { (end - start) / (count - 1) as f32 } else { 0.0 };
    let value = |at: usize| {
        if at < count / 2 { start + step * at as f32 } else { end - step * (count - 1 - at) as f32 }
    };
    (0..count).map(value).collect()
}

fn cumulative_product(betas: &[f32]) -> Vec<f32> {
    let product = betas.iter().scan(1.0f64, |product, beta| {
        *product *= f64::from(1.0 - beta);
        Some(*product as f32)
    });
    product.collect()
}

/// Shifts and scales `sqrt(ā)` so that the last is 0 and the first stays (Lin et al. 2023, algorithm 1).
fn rescale_to_zero_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumulative_product(betas).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else {
        return Vec::new();
    };
    let levels: Vec<f32> =
        roots.iter().map(|root| ((root - last) * (first / (first - last))).powi(2)).collect();
    let ratios = levels.windows(2).map(|pair| 1.0 - pair[1] / pair[0]);
    std::iter::once(1.0 - levels[0]).chain(ratios).collect()
}

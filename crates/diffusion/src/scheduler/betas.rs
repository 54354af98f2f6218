//! The noise levels of training, which all schedulers of diffusion models start from.
//!
//! Numbers are rounded to f32 where PyTorch rounds them, so that tables agree to the last digit or nearly so.

use noisefind_nn::error::Result;

use super::SchedulerConfig;

/// No published model has more; a config beyond it is damaged, and would only exhaust the memory.
pub(super) const MOST_TIMESTEPS: usize = 1 << 20;

/// What is done where the last training time is pure noise (Lin et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroSnr {
    /// The class has no such parameter.
    Unknown,
    /// The last level has no signal.
    Exact,
    /// The last level has as little signal as makes its logarithm finite.
    Finite,
}

/// Schedules of the noise variance beside those that every class knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MoreBetas {
    None,
    /// Of `DDPMScheduler`.
    LaplaceAndSigmoid,
    /// Of `HeunDiscreteScheduler`.
    Exponential,
}

/// `ā_t`, the cumulative product of `1 - beta` over training time.
pub(super) fn alphas_cumprod(config: &SchedulerConfig, zero: ZeroSnr, more: MoreBetas) -> Result<Vec<f32>> {
    let mut betas = betas(config, more)?;
    if zero == ZeroSnr::Unknown || !config.flag("rescale_betas_zero_snr") {
        return Ok(cumulative_product(&betas));
    }
    betas = rescale_to_zero_snr(&betas);
    let mut alphas = cumulative_product(&betas);
    if let (ZeroSnr::Finite, Some(last)) = (zero, alphas.last_mut()) {
        *last = 1.0 / 16_777_216.0;
    }
    Ok(alphas)
}

/// `sqrt((1 - ā) / ā)` of all training times: standard deviation of the noise for a signal of 1.
pub(super) fn training_sigmas(alphas: &[f32]) -> Vec<f32> {
    alphas.iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
}

fn betas(config: &SchedulerConfig, more: MoreBetas) -> Result<Vec<f32>> {
    const KEY: &str = "beta_schedule";
    let count = config.whole("num_train_timesteps", 1, MOST_TIMESTEPS)?;
    if let Some(betas) = config.optional_numbers("trained_betas")? {
        config.check("trained_betas", betas.len() == count, betas.len(), format!("{count} numbers"))?;
        return Ok(betas.into_iter().map(|beta| beta as f32).collect());
    }
    let mut names = vec!["linear", "scaled_linear", "squaredcos_cap_v2"];
    match more {
        MoreBetas::None => {}
        MoreBetas::LaplaceAndSigmoid => names.extend(["laplace", "sigmoid"]),
        MoreBetas::Exponential => names.push("exp"),
    }
    let name = names[config.one_of(KEY, &names)?];
    let ends = || Ok((config.finite("beta_start")?, config.finite("beta_end")?));
    Ok(match name {
        "linear" => {
            let (start, end) = ends()?;
            linspace_f32(start, end, count)
        }
        "scaled_linear" => {
            let (start, end) = ends()?;
            config.check("beta_start", start >= 0.0, start, "a number from 0 on")?;
            config.check("beta_end", end >= 0.0, end, "a number from 0 on")?;
            let roots = linspace_f32(start.sqrt(), end.sqrt(), count);
            roots.into_iter().map(|root| root * root).collect()
        }
        "sigmoid" => {
            let (start, end) = ends()?;
            let spread = (end - start) as f32;
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            linspace_f32(-6.0, 6.0, count).into_iter().map(|x| sigmoid(x) * spread + start as f32).collect()
        }
        "laplace" => betas_of_level(count, |time| {
            let centred = 0.5 - time;
            let log_snr = -0.5 * 1f64.copysign(centred) * (1.0 - 2.0 * centred.abs() + 1e-6).ln();
            let snr = log_snr.exp();
            (snr / (1.0 + snr)).sqrt()
        }),
        "exp" => betas_of_level(count, |time| (time * -12.0).exp()),
        // Nichol and Dhariwal's squared cosine.
        _ => {
            betas_of_level(count, |time| ((time + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2))
        }
    })
}

/// The variances that make `ā` follow a curve over time from 0 to 1.
fn betas_of_level(count: usize, level: impl Fn(f64) -> f64) -> Vec<f32> {
    let time = |at: usize| at as f64 / count as f64;
    (0..count).map(|at| (1.0 - level(time(at + 1)) / level(time(at))).min(0.999) as f32).collect()
}

/// PyTorch's single-precision `linspace`, which counts from both ends towards the middle.
pub(super) fn linspace_f32(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count - 1) as f32;
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

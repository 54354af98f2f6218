//! Exact mathematics of diagonal Gaussians; every quantity is *summed* over the dimensions and in nats.
//!
//! Sums run in `f64` in index order, so they have the same bits at any thread count.

/// Log-density: `sum_i -ln sigma_i - ln(2 pi) / 2 - ((z_i - mu_i) / sigma_i)^2 / 2`.
pub fn sum_log_prob(values: &[f32], mean: &[f32], sigma: &[f32]) -> f64 {
    let half_log_tau = 0.5 * libm::log(std::f64::consts::TAU);
    triples(values, mean, sigma)
        .map(|(z, mu, s)| -libm::log(s) - half_log_tau - 0.5 * ((z - mu) / s).powi(2))
        .sum()
}

/// Gradient of [`sum_log_prob`] by mean, `(z - mu) / sigma^2`, and by log-sigma, `((z - mu) / sigma)^2 - 1`.
pub fn log_prob_gradient(values: &[f32], mean: &[f32], sigma: &[f32]) -> (Vec<f64>, Vec<f64>) {
    triples(values, mean, sigma).map(|(z, mu, s)| ((z - mu) / (s * s), ((z - mu) / s).powi(2) - 1.0)).unzip()
}

/// Log-ratio `ln N(z; new) - ln N(z; old)`, summed; each policy is `(mean, sigma)`.
pub fn sum_log_ratio(values: &[f32], new: (&[f32], &[f32]), old: (&[f32], &[f32])) -> f64 {
    // The constants cancel term by term, which keeps the ratio of equal policies at exactly 1.
    triples(values, new.0, new.1)
        .zip(old.0.iter().zip(old.1))
        .map(|((z, mu, s), (&old_mu, &old_s))| {
            let (old_mu, old_s) = (f64::from(old_mu), f64::from(old_s));
            libm::log(old_s / s) + 0.5 * (((z - old_mu) / old_s).powi(2) - ((z - mu) / s).powi(2))
        })
        .sum()
}

/// `KL(N(mu, sigma^2) || N(0, I)) = sum_i (mu_i^2 + sigma_i^2 - 1) / 2 - ln sigma_i`.
pub fn kl_to_standard_normal(mean: &[f32], sigma: &[f32]) -> f64 {
    pairs(mean, sigma).map(|(mu, s)| 0.5 * (mu * mu + s * s - 1.0) - libm::log(s)).sum()
}

/// Gradient of [`kl_to_standard_normal`] by mean, `mu`, and by log-sigma, `sigma^2 - 1`.
pub fn kl_gradient(mean: &[f32], sigma: &[f32]) -> (Vec<f64>, Vec<f64>) {
    pairs(mean, sigma).map(|(mu, s)| (mu, s * s - 1.0)).unzip()
}

/// Differential entropy: `sum_i ln sigma_i + ln(2 pi e) / 2`.
pub fn entropy(sigma: &[f32]) -> f64 {
    let half_log_tau_e = 0.5 * (libm::log(std::f64::consts::TAU) + 1.0);
    sigma.iter().map(|&s| libm::log(f64::from(s)) + half_log_tau_e).sum()
}

fn pairs<'a>(first: &'a [f32], second: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    first.iter().zip(second).map(|(&a, &b)| (f64::from(a), f64::from(b)))
}

fn triples<'a>(
    z: &'a [f32],
    mean: &'a [f32],
    sigma: &'a [f32],
) -> impl Iterator<Item = (f64, f64, f64)> + 'a {
    z.iter().zip(pairs(mean, sigma)).map(|(&z, (mu, s))| (f64::from(z), mu, s))
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f32; 3] = [0.75, -1.5, 0.25];
    const MEAN: [f32; 3] = [0.5, -0.25, 0.0];
    const SIGMA: [f32; 3] = [1.5, 0.5, 2.0];

    /// Central difference by entry `at` of `values`, taken with a step that `f32` represents exactly.
    fn difference(values: [f32; 3], at: usize, function: impl Fn(&[f32]) -> f64) -> f64 {
        let step = 2f32.powi(-8);
        let moved = |delta: f32| {
            let mut values = values;
            values[at] += delta;
            function(&values)
        };
        (moved(step) - moved(-step)) / (2.0 * f64::from(step))
    }

    #[test]
    fn hand_cases() {
        // One standard normal at 0 has density 1 / sqrt(2 pi); at 2 it loses 2 nats.
        assert!((sum_log_prob(&[0.0], &[0.0], &[1.0]) + 0.918_938_533_204_672_7).abs() < 1e-12);
        assert!((sum_log_prob(&[2.0], &[0.0], &[1.0]) + 2.918_938_533_204_672_7).abs() < 1e-12);
        assert_eq!(kl_to_standard_normal(&[3.0, 0.0], &[1.0, 1.0]), 4.5);
        assert!((kl_to_standard_normal(&[0.0], &[2.0]) - (1.5 - 2f64.ln())).abs() < 1e-12);
        assert!((entropy(&[1.0, 2.0]) - (2.0 * 1.418_938_533_204_672_7 + 2f64.ln())).abs() < 1e-12);
    }

    #[test]
    fn log_prob_gradient_agrees_with_differences() {
        let (by_mean, by_log_sigma) = log_prob_gradient(&Z, &MEAN, &SIGMA);
        for at in 0..3 {
            assert!((by_mean[at] - difference(MEAN, at, |mean| sum_log_prob(&Z, mean, &SIGMA))).abs() < 1e-6);
            let by_sigma = difference(SIGMA, at, |sigma| sum_log_prob(&Z, &MEAN, sigma));
            assert!(
                (by_log_sigma[at] - f64::from(SIGMA[at]) * by_sigma).abs() < 2e-3 * by_sigma.abs().max(1.0)
            );
        }
    }

    #[test]
    fn kl_gradient_agrees_with_differences() {
        let (by_mean, by_log_sigma) = kl_gradient(&MEAN, &SIGMA);
        for at in 0..3 {
            assert!(
                (by_mean[at] - difference(MEAN, at, |mean| kl_to_standard_normal(mean, &SIGMA))).abs() < 1e-9
            );
            let by_sigma = difference(SIGMA, at, |sigma| kl_to_standard_normal(&MEAN, sigma));
            assert!((by_log_sigma[at] - f64::from(SIGMA[at]) * by_sigma).abs() < 1e-4);
        }
    }

    #[test]
    fn log_ratio_is_the_difference_of_log_probs_and_exactly_zero_for_one_policy() {
        let other = ([0.0f32, 0.5, 0.25], [1.0f32, 0.75, 1.5]);
        let expected = sum_log_prob(&Z, &MEAN, &SIGMA) - sum_log_prob(&Z, &other.0, &other.1);
        assert!((sum_log_ratio(&Z, (&MEAN, &SIGMA), (&other.0, &other.1)) - expected).abs() < 1e-12);
        assert_eq!(sum_log_ratio(&Z, (&MEAN, &SIGMA), (&MEAN, &SIGMA)), 0.0);
    }
}

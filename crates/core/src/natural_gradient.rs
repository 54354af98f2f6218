//! One natural-gradient step of a diagonal Gaussian, with the exponential map for sigma.
//!
//! The Fisher information of `N(mu, diag sigma^2)` is `1 / sigma^2` for the mean and 2 for log-sigma, so the
//! natural gradient needs no sigma in a denominator. Source: Wierstra et al., "Natural Evolution Strategies",
//! JMLR 2014, algorithm 6 (separable NES).

/// Natural gradients of the expected advantage, averaged over the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct NaturalGradient {
    /// By `mu`: `mean_k A_k sigma e_k` with `e = (z - mu) / sigma`.
    pub by_mean: Vec<f32>,
    /// By log-sigma: `mean_k A_k (e_k^2 - 1) / 2`.
    pub by_log_sigma: Vec<f32>,
}

/// The natural gradient at `(mean, sigma)` from `samples` of noise values and advantage.
pub fn natural_gradient<'a>(
    mean: &[f32],
    sigma: &[f32],
    samples: impl IntoIterator<Item = (&'a [f32], f64)>,
) -> NaturalGradient {
    let mut by_mean = vec![0.0f64; mean.len()];
    let mut by_log_sigma = vec![0.0f64; mean.len()];
    let mut count = 0usize;
    for (values, advantage) in samples {
        count += 1;
        for at in 0..mean.len() {
            let scale = f64::from(sigma[at]);
            let unit = (f64::from(values[at]) - f64::from(mean[at])) / scale;
            by_mean[at] += advantage * scale * unit;
            by_log_sigma[at] += 0.5 * advantage * (unit * unit - 1.0);
        }
    }
    let average = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect();
    NaturalGradient { by_mean: average(by_mean), by_log_sigma: average(by_log_sigma) }
}

/// Exponential map `sigma exp(step g)`, which keeps sigma positive at any step size.
pub fn exponential_step(sigma: &[f32], by_log_sigma: &[f32], step: f64) -> Vec<f32> {
    let moved = sigma.iter().zip(by_log_sigma);
    moved.map(|(&sigma, &slope)| (f64::from(sigma) * libm::exp(step * f64::from(slope))) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_case() {
        // e = (1, -2) with advantages (1, -1): mean (1 * 2 * 1 - 2 * -2) / 2 = 3, log-sigma (0 - 1.5) / 2.
        let samples: [(&[f32], f64); 2] = [(&[3.0], 1.0), (&[-3.0], -1.0)];
        let gradient = natural_gradient(&[1.0], &[2.0], samples);
        assert_eq!(gradient.by_mean, [3.0]);
        assert_eq!(gradient.by_log_sigma, [-0.75]);
    }

    #[test]
    fn zero_advantage_moves_nothing() {
        let samples: [(&[f32], f64); 1] = [(&[3.0], 0.0)];
        let gradient = natural_gradient(&[1.0], &[2.0], samples);
        assert_eq!(gradient.by_mean, [0.0]);
        assert_eq!(exponential_step(&[2.0], &gradient.by_log_sigma, 1.0), [2.0]);
    }
}

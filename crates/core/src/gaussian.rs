//! Diagonal Gaussians in closed form; every quantity is *summed* over the dimensions and in nats.
//!
//! Sums run in `f64` in index order, so they have the same bits at any thread count.

use crate::error::{Error, Result};

/// `N(mean, diag sigma^2)` in unit space.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f32>,
    sigma: Vec<f32>,
}

impl Gaussian {
    /// `N(0, I)` in `dimensions` dimensions.
    pub fn standard(dimensions: usize) -> Self {
        Self { mean: vec![0.0; dimensions], sigma: vec![1.0; dimensions] }
    }

    /// `N(mean, diag sigma^2)`.
    ///
    /// # Errors
    /// Where the lengths differ, a mean is not finite, or a sigma is not positive and finite.
    pub fn new(mean: Vec<f32>, sigma: Vec<f32>) -> Result<Self> {
        if sigma.len() != mean.len() {
            let (found, expected) = (sigma.len(), mean.len());
            return Err(Error::Policy(format!("sigma has {found} values, expected {expected} as in mu")));
        }
        if let Some(at) = mean.iter().position(|value| !value.is_finite()) {
            return Err(Error::Policy(format!("mu[{at}] is {}, expected a finite number", mean[at])));
        }
        if let Some(at) = sigma.iter().position(|value| !(value.is_finite() && *value > 0.0)) {
            return Err(Error::Policy(format!("sigma[{at}] is {}, expected a positive number", sigma[at])));
        }
        Ok(Self { mean, sigma })
    }

    /// `mu`, one number a dimension.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `sigma`, positive, one number a dimension.
    pub fn sigma(&self) -> &[f32] {
        &self.sigma
    }

    /// Number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.mean.len()
    }

    /// The sample `mu + sigma * epsilon`; `None` where `epsilon` has another number of dimensions.
    pub fn transform(&self, epsilon: &[f32]) -> Option<Vec<f32>> {
        let scaled = self.mean.iter().zip(&self.sigma).zip(epsilon);
        (epsilon.len() == self.dimensions())
            .then(|| scaled.map(|((mean, sigma), unit)| mean + sigma * unit).collect())
    }

    /// Log-density: `sum_i -ln sigma_i - ln(2 pi) / 2 - ((z_i - mu_i) / sigma_i)^2 / 2`.
    pub fn sum_log_prob(&self, values: &[f32]) -> f64 {
        let half_log_tau = 0.5 * libm::log(std::f64::consts::TAU);
        self.with(values).map(|(z, mu, s)| -libm::log(s) - half_log_tau - 0.5 * ((z - mu) / s).powi(2)).sum()
    }

    /// Gradient of [`sum_log_prob`](Self::sum_log_prob) by mean, `(z - mu) / sigma^2`, and by log-sigma,
    /// `((z - mu) / sigma)^2 - 1`.
    pub fn log_prob_gradient(&self, values: &[f32]) -> (Vec<f64>, Vec<f64>) {
        self.with(values).map(|(z, mu, s)| ((z - mu) / (s * s), ((z - mu) / s).powi(2) - 1.0)).unzip()
    }

    /// Log-ratio `ln N(z; self) - ln N(z; old)`, summed.
    pub fn sum_log_ratio(&self, values: &[f32], old: &Self) -> f64 {
        // The constants cancel term by term, which keeps the ratio of equal Gaussians at exactly 1.
        self.with(values)
            .zip(old.pairs())
            .map(|((z, mu, s), (old_mu, old_s))| {
                libm::log(old_s / s) + 0.5 * (((z - old_mu) / old_s).powi(2) - ((z - mu) / s).powi(2))
            })
            .sum()
    }

    /// `KL(N(mu, sigma^2) || N(0, I)) = sum_i (mu_i^2 + sigma_i^2 - 1) / 2 - ln sigma_i`
    /// (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B).
    pub fn kl_to_standard_normal(&self) -> f64 {
        self.pairs().map(|(mu, s)| 0.5 * (mu * mu + s * s - 1.0) - libm::log(s)).sum()
    }

    /// Gradient of [`kl_to_standard_normal`](Self::kl_to_standard_normal) by mean, `mu`, and by log-sigma,
    /// `sigma^2 - 1`.
    pub fn kl_gradient(&self) -> (Vec<f64>, Vec<f64>) {
        self.pairs().map(|(mu, s)| (mu, s * s - 1.0)).unzip()
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.mean.iter().zip(&self.sigma).map(|(&mu, &s)| (f64::from(mu), f64::from(s)))
    }

    fn with(&self, values: &[f32]) -> impl Iterator<Item = (f64, f64, f64)> {
        debug_assert_eq!(values.len(), self.dimensions());
        values.iter().zip(self.pairs()).map(|(&z, (mu, s))| (f64::from(z), mu, s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f32; 3] = [0.75, -1.5, 0.25];
    const MEAN: [f32; 3] = [0.5, -0.25, 0.0];
    const SIGMA: [f32; 3] = [1.5, 0.5, 2.0];

    fn gaussian(mean: &[f32], sigma: &[f32]) -> Gaussian {
        Gaussian::new(mean.to_vec(), sigma.to_vec()).unwrap()
    }

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
    fn refuses_what_is_no_gaussian() {
        let message = |mean: &[f32], sigma: &[f32]| {
            Gaussian::new(mean.to_vec(), sigma.to_vec()).unwrap_err().to_string()
        };
        assert!(message(&[0.0; 2], &[1.0]).contains("sigma has 1 values, expected 2"));
        assert!(message(&[f32::NAN, 0.0], &[1.0; 2]).contains("mu[0] is NaN"));
        assert!(message(&[0.0; 2], &[1.0, 0.0]).contains("sigma[1] is 0"));
        assert!(message(&[0.0; 2], &[1.0, f32::INFINITY]).contains("sigma[1] is inf"));
        assert_eq!(Gaussian::standard(2).transform(&[1.0]), None);
    }

    #[test]
    fn hand_cases() {
        // One standard normal at 0 has density 1 / sqrt(2 pi); at 2 it loses 2 nats.
        assert!((Gaussian::standard(1).sum_log_prob(&[0.0]) + 0.918_938_533_204_672_7).abs() < 1e-12);
        assert!((Gaussian::standard(1).sum_log_prob(&[2.0]) + 2.918_938_533_204_672_7).abs() < 1e-12);
        assert_eq!(gaussian(&[3.0, 0.0], &[1.0, 1.0]).kl_to_standard_normal(), 4.5);
        assert!((gaussian(&[0.0], &[2.0]).kl_to_standard_normal() - (1.5 - 2f64.ln())).abs() < 1e-12);
        assert_eq!(gaussian(&[1.0, -1.0], &[0.5, 2.0]).transform(&[2.0, 1.0]), Some(vec![2.0, 1.0]));
    }

    #[test]
    fn log_prob_gradient_agrees_with_differences() {
        let (by_mean, by_log_sigma) = gaussian(&MEAN, &SIGMA).log_prob_gradient(&Z);
        for at in 0..3 {
            let numeric = difference(MEAN, at, |mean| gaussian(mean, &SIGMA).sum_log_prob(&Z));
            assert!((by_mean[at] - numeric).abs() < 1e-6);
            let by_sigma = difference(SIGMA, at, |sigma| gaussian(&MEAN, sigma).sum_log_prob(&Z));
            assert!(
                (by_log_sigma[at] - f64::from(SIGMA[at]) * by_sigma).abs() < 2e-3 * by_sigma.abs().max(1.0)
            );
        }
    }

    #[test]
    fn kl_gradient_agrees_with_differences() {
        let (by_mean, by_log_sigma) = gaussian(&MEAN, &SIGMA).kl_gradient();
        for at in 0..3 {
            let numeric = difference(MEAN, at, |mean| gaussian(mean, &SIGMA).kl_to_standard_normal());
            assert!((by_mean[at] - numeric).abs() < 1e-9);
            let by_sigma = difference(SIGMA, at, |sigma| gaussian(&MEAN, sigma).kl_to_standard_normal());
            assert!((by_log_sigma[at] - f64::from(SIGMA[at]) * by_sigma).abs() < 1e-4);
        }
    }

    #[test]
    fn log_ratio_is_the_difference_of_log_probs_and_exactly_zero_for_one_gaussian() {
        let (new, old) = (gaussian(&MEAN, &SIGMA), gaussian(&[0.0, 0.5, 0.25], &[1.0, 0.75, 1.5]));
        let expected = new.sum_log_prob(&Z) - old.sum_log_prob(&Z);
        assert!((new.sum_log_ratio(&Z, &old) - expected).abs() < 1e-12);
        assert_eq!(new.sum_log_ratio(&Z, &new), 0.0);
    }
}

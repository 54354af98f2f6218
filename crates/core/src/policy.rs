//! The policy `pi = N(mu, diag sigma^2)` over initial noise: the only thing that is learnt, and the product.

use crate::error::{Error, Result};
use crate::gaussian;
use crate::noise::{Noise, NoiseShape, SampleKey};
use crate::rng::{NoiseSource, standard_noise};

/// A diagonal Gaussian over the noise of one model: `mu` and `sigma` in unit space, `shape.numel()` each.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisePolicy {
    shape: NoiseShape,
    mean: Vec<f32>,
    sigma: Vec<f32>,
}

impl NoisePolicy {
    /// `N(0, I)`, where every run starts and what an untuned model samples from.
    pub fn standard(shape: NoiseShape) -> Self {
        Self { shape, mean: vec![0.0; shape.numel()], sigma: vec![1.0; shape.numel()] }
    }

    /// `N(mean, diag sigma^2)`, both in memory order of `shape`.
    ///
    /// # Errors
    /// Where a length differs from `shape.numel()`, a mean is not finite or a sigma is not positive and finite.
    pub fn new(shape: NoiseShape, mean: Vec<f32>, sigma: Vec<f32>) -> Result<Self> {
        for (name, values) in [("mu", &mean), ("sigma", &sigma)] {
            if values.len() != shape.numel() {
                let (found, expected) = (values.len(), shape.numel());
                return Err(Error::Policy(format!(
                    "{name} has {found} numbers, noise of shape {:?} has {expected}",
                    shape.dims()
                )));
            }
        }
        if let Some(at) = mean.iter().position(|value| !value.is_finite()) {
            return Err(Error::Policy(format!("mu[{at}] is {}, expected a finite number", mean[at])));
        }
        if let Some(at) = sigma.iter().position(|value| !(value.is_finite() && *value > 0.0)) {
            return Err(Error::Policy(format!("sigma[{at}] is {}, expected a positive number", sigma[at])));
        }
        Ok(Self { shape, mean, sigma })
    }

    /// Shape of the noise that this policy draws.
    pub fn shape(&self) -> NoiseShape {
        self.shape
    }

    /// `mu`, `shape().numel()` numbers in memory order.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `sigma`, `shape().numel()` positive numbers in memory order.
    pub fn sigma(&self) -> &[f32] {
        &self.sigma
    }

    /// The sample `mu + sigma * epsilon` under the name `key`; `None` where `epsilon` has the wrong length.
    pub fn noise_from(&self, key: SampleKey, epsilon: &[f32]) -> Option<Noise> {
        if epsilon.len() != self.mean.len() {
            return None;
        }
        let scaled = self.mean.iter().zip(&self.sigma).zip(epsilon);
        Noise::new(key, self.shape, scaled.map(|((mean, sigma), unit)| mean + sigma * unit).collect())
    }

    /// Draws the sample that `key` names.
    pub fn draw(&self, source: NoiseSource, key: SampleKey) -> Noise {
        self.signed_draw(source, key, key, 1.0)
    }

    /// Draws samples `0..count` of `iteration` as antithetic pairs `mu +- sigma * epsilon`: samples `2 p` and
    /// `2 p + 1` share `epsilon`, drawn under the even index, with opposite signs.
    pub fn draw_pairs(&self, source: NoiseSource, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        (0..count)
            .map(|index| {
                let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
                let drawn = SampleKey { seed, iteration, index: index & !1 };
                self.signed_draw(source, SampleKey { index, ..drawn }, drawn, sign)
            })
            .collect()
    }

    /// `sum_i log N(z_i; mu_i, sigma_i^2)` in nats.
    pub fn sum_log_prob(&self, noise: &Noise) -> f64 {
        gaussian::sum_log_prob(noise.values(), &self.mean, &self.sigma)
    }

    /// Kullback-Leibler divergence to `N(0, I)` in nats, summed over all dimensions.
    pub fn kl_nats(&self) -> f64 {
        gaussian::kl_to_standard_normal(&self.mean, &self.sigma)
    }

    /// Euclidean norm of `mu`.
    pub fn mean_norm(&self) -> f64 {
        self.mean.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    }

    fn signed_draw(&self, source: NoiseSource, name: SampleKey, drawn: SampleKey, sign: f32) -> Noise {
        let epsilon: Vec<f32> =
            standard_noise(source, drawn, self.shape).into_iter().map(|unit| sign * unit).collect();
        self.noise_from(name, &epsilon).expect("standard noise has the length of the policy's own shape")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: NoiseShape = NoiseShape::image(2, 2, 2);

    #[test]
    fn refuses_what_is_no_gaussian() {
        let message = |mean, sigma| NoisePolicy::new(SHAPE, mean, sigma).unwrap_err().to_string();
        assert!(message(vec![0.0; 7], vec![1.0; 8]).contains("mu has 7 numbers"));
        assert!(message(vec![f32::NAN; 8], vec![1.0; 8]).contains("mu[0] is NaN"));
        assert!(message(vec![0.0; 8], vec![0.0; 8]).contains("sigma[0] is 0"));
    }

    #[test]
    fn pairs_mirror_around_the_mean() {
        let policy = NoisePolicy::new(SHAPE, vec![0.5; 8], vec![0.25; 8]).unwrap();
        let noises = policy.draw_pairs(NoiseSource::Philox, 1, 0, 4);
        for pair in noises.chunks(2) {
            for (plus, minus) in pair[0].values().iter().zip(pair[1].values()) {
                assert!((plus + minus - 1.0).abs() < 1e-6);
            }
        }
        assert_ne!(noises[0].values(), noises[2].values());
        assert_eq!(noises[3].key, SampleKey { seed: 1, iteration: 0, index: 3 });
    }
}

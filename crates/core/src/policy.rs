//! The policy `pi` over initial noise: the only thing that is learnt, and the product. One Gaussian
//! `N(mu, diag sigma^2)`, or several that are equally likely.

use crate::error::{Error, Result};
use crate::gaussian;
use crate::noise::{Noise, NoiseShape, SampleKey};
use crate::rng::{NoiseSource, standard_noise};

/// Equally likely diagonal Gaussians over the noise of one model: `mu` and `sigma` in unit space, for each Gaussian
/// `shape.numel()` numbers.
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

    /// `N(mean, diag sigma^2)`, both in memory order of `shape`; where they are several times as long, one Gaussian
    /// after the other.
    ///
    /// # Errors
    /// Where a length is no multiple of `shape.numel()` or the lengths differ, a mean is not finite or a sigma is not
    /// positive and finite.
    pub fn new(shape: NoiseShape, mean: Vec<f32>, sigma: Vec<f32>) -> Result<Self> {
        let wrong = |name: &str, found: usize, expected: usize| {
            let dims = shape.dims();
            Err(Error::Policy(format!(
                "{name} has {found} numbers, for noise of shape {dims:?} it should have {expected}"
            )))
        };
        if mean.is_empty() || !mean.len().is_multiple_of(shape.numel()) {
            return wrong("mu", mean.len(), shape.numel());
        }
        if sigma.len() != mean.len() {
            return wrong("sigma", sigma.len(), mean.len());
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

    /// How many Gaussians there are.
    pub fn gaussian_count(&self) -> usize {
        self.mean.len() / self.shape.numel()
    }

    /// Dimensions of `mu` and of `sigma` in a file: those of the noise, behind the number of Gaussians where there are
    /// several.
    pub fn dims(&self) -> Vec<usize> {
        let count = Some(self.gaussian_count()).filter(|&count| count > 1);
        count.into_iter().chain(self.shape.dims()).collect()
    }

    /// `mu`, `shape().numel()` numbers in memory order for each Gaussian.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `sigma`, positive, as many as [`mean`](Self::mean).
    pub fn sigma(&self) -> &[f32] {
        &self.sigma
    }

    /// `mu` and `sigma` of each Gaussian.
    pub fn gaussians(&self) -> impl ExactSizeIterator<Item = (&[f32], &[f32])> {
        let numel = self.shape.numel();
        self.mean.chunks_exact(numel).zip(self.sigma.chunks_exact(numel))
    }

    /// `mu` and `sigma` of the Gaussian that draws `key`. They take turns, so any few pictures in a row show them
    /// all: each draws the picture of one seed, or two samples of a batch. Two, because one would draw other samples
    /// than the measurements on record had.
    pub fn gaussian_of(&self, key: SampleKey) -> (&[f32], &[f32]) {
        let turn = key.seed.wrapping_add(u64::from(key.index / 2)) % self.gaussian_count() as u64;
        self.gaussians().nth(turn as usize).expect("a remainder is below the count")
    }

    /// The sample `mu + sigma * epsilon` under the name `key`; `None` where `epsilon` has the wrong length.
    pub fn noise_from(&self, key: SampleKey, epsilon: &[f32]) -> Option<Noise> {
        if epsilon.len() != self.shape.numel() {
            return None;
        }
        let (mean, sigma) = self.gaussian_of(key);
        let scaled = mean.iter().zip(sigma).zip(epsilon);
        Noise::new(key, self.shape, scaled.map(|((mean, sigma), unit)| mean + sigma * unit).collect())
    }

    /// Draws the sample that `key` names.
    pub fn draw(&self, source: NoiseSource, key: SampleKey) -> Noise {
        let epsilon = standard_noise(source, key, self.shape);
        self.noise_from(key, &epsilon).expect("standard noise has the length of the policy's own shape")
    }

    /// Draws samples `0..count` of `iteration`.
    pub fn draw_batch(&self, source: NoiseSource, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        (0..count).map(|index| self.draw(source, SampleKey { seed, iteration, index })).collect()
    }

    /// Log-density at `noise` in nats, `ln (1/K) sum_k N(z; mu_k, sigma_k^2)`.
    pub fn sum_log_prob(&self, noise: &Noise) -> f64 {
        let each: Vec<f64> = self
            .gaussians()
            .map(|(mean, sigma)| gaussian::sum_log_prob(noise.values(), mean, sigma))
            .collect();
        let highest = each.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = each.iter().map(|one| libm::exp(one - highest)).sum();
        highest + libm::log(sum / each.len() as f64)
    }

    /// Kullback-Leibler divergence to `N(0, I)` in nats, summed over all dimensions. Of several Gaussians it is the
    /// average of theirs, by convexity a bound from above, at most `ln K` above the true one.
    pub fn kl_nats(&self) -> f64 {
        gaussian::kl_to_standard_normal(&self.mean, &self.sigma) / self.gaussian_count() as f64
    }

    /// Euclidean norm of `mu`; of several Gaussians the root of its mean square.
    pub fn mean_norm(&self) -> f64 {
        let squares = self.mean.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        (squares / self.gaussian_count() as f64).sqrt()
    }

    /// How far `mu` is from that of `before`; of several Gaussians the root mean square of each one's distance to the
    /// nearest in `before`.
    pub fn distance_from(&self, before: &Self) -> f64 {
        let square = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let nearest = |mean: &[f32]| {
            before.gaussians().map(|(other, _)| square(mean, other)).fold(f64::INFINITY, f64::min)
        };
        let squares: f64 = self.gaussians().map(|(mean, _)| nearest(mean)).sum();
        (squares / self.gaussian_count() as f64).sqrt()
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
        assert!(message(vec![], vec![]).contains("mu has 0 numbers"));
        assert!(message(vec![0.0; 16], vec![1.0; 8]).contains("sigma has 8 numbers"));
        assert!(message(vec![f32::NAN; 8], vec![1.0; 8]).contains("mu[0] is NaN"));
        assert!(message(vec![0.0; 8], vec![0.0; 8]).contains("sigma[0] is 0"));
    }

    /// Two Gaussians far apart: one around -3 with sigma 0.5, one around 3 with sigma 1.
    fn two() -> NoisePolicy {
        let of = |first, second| [vec![first; 8], vec![second; 8]].concat();
        NoisePolicy::new(SHAPE, of(-3.0, 3.0), of(0.5, 1.0)).unwrap()
    }

    #[test]
    fn gaussians_take_turns() {
        let policy = two();
        let signs = |noises: Vec<Noise>| -> Vec<bool> {
            noises.iter().map(|noise| noise.values().iter().sum::<f32>() > 0.0).collect()
        };
        let fresh = |seed| policy.draw(NoiseSource::Philox, SampleKey::fresh(seed, 0));
        assert_eq!(signs((4..8).map(fresh).collect()), [false, true, false, true]);
        let batch = policy.draw_batch(NoiseSource::Philox, 1, 0, 6);
        assert_eq!(batch[3].key, SampleKey { seed: 1, iteration: 0, index: 3 });
        assert_ne!(batch[0].values(), batch[1].values());
        assert_eq!(signs(batch), [true, true, false, false, true, true]);
        assert_eq!((policy.dims(), policy.gaussian_count()), (vec![2, 2, 2, 2], 2));
    }

    #[test]
    fn density_and_divergence_of_two_gaussians() {
        let policy = two();
        let alone: Vec<NoisePolicy> = policy
            .gaussians()
            .map(|(mean, sigma)| NoisePolicy::new(SHAPE, mean.to_vec(), sigma.to_vec()).unwrap())
            .collect();
        let noise = alone[1].draw(NoiseSource::Philox, SampleKey::fresh(1, 0));
        // The other one is too far away to add anything, so half the density is left.
        let expected = alone[1].sum_log_prob(&noise) - 2f64.ln();
        assert!((policy.sum_log_prob(&noise) - expected).abs() < 1e-9);
        assert!((policy.kl_nats() - (alone[0].kl_nats() + alone[1].kl_nats()) / 2.0).abs() < 1e-9);
        // KL(pi || N(0, I)) by sampling lies within ln 2 below it.
        let standard = NoisePolicy::standard(SHAPE);
        let differences: Vec<f64> = (0..4000)
            .map(|seed| {
                let noise = policy.draw(NoiseSource::Philox, SampleKey::fresh(seed, 0));
                policy.sum_log_prob(&noise) - standard.sum_log_prob(&noise)
            })
            .collect();
        let sampled = differences.iter().sum::<f64>() / differences.len() as f64;
        assert!(
            (policy.kl_nats() - 2f64.ln() - sampled).abs() < 0.5,
            "{sampled} against {}",
            policy.kl_nats()
        );
    }

    #[test]
    fn distance_is_to_the_nearest_gaussian() {
        let policy = two();
        let first = NoisePolicy::new(SHAPE, vec![-3.0; 8], vec![1.0; 8]).unwrap();
        assert_eq!(first.distance_from(&policy), 0.0);
        assert!((policy.distance_from(&first) - (8.0 * 36.0 / 2.0f64).sqrt()).abs() < 1e-9);
    }
}

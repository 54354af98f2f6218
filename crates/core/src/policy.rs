//! The policy `pi` over initial noise: the only thing that is learnt, and the product. One Gaussian component
//! `N(mu, diag sigma^2)`, or a mixture of several that are equally likely.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::noise::{Noise, NoiseShape, SampleKey};
use crate::rng::{NoiseSource, standard_noise};

/// An equally weighted mixture of diagonal Gaussians over the noise of one model, in unit space.
#[derive(Clone, Debug, PartialEq)]
pub struct NoisePolicy {
    shape: NoiseShape,
    /// At least one, each of `shape.numel()` dimensions. Shared, because a run keeps several policies, and a component of a
    /// clip has millions of dimensions.
    components: Arc<[Gaussian]>,
}

impl NoisePolicy {
    /// `N(0, I)`, where every run starts and what an untuned model samples from.
    pub fn standard(shape: NoiseShape) -> Self {
        Self { shape, components: [Gaussian::standard(shape.numel())].into() }
    }

    /// A mixture of `components` over noise of `shape`.
    ///
    /// # Errors
    /// Where there is no component, or one has another number of dimensions than the noise.
    pub fn new(shape: NoiseShape, components: Vec<Gaussian>) -> Result<Self> {
        let (dims, expected) = (shape.dims(), shape.numel());
        if components.is_empty() || expected == 0 {
            let found = components.len();
            return Err(Error::Policy(format!(
                "{found} components over noise of shape {dims:?}, expected 1 or more"
            )));
        }
        if let Some(at) = components.iter().position(|one| one.dimensions() != expected) {
            let found = components[at].dimensions();
            return Err(Error::Policy(format!(
                "component {at} has {found} dimensions, expected {expected} for noise of shape {dims:?}"
            )));
        }
        Ok(Self { shape, components: components.into() })
    }

    /// The policy whose components stand one after the other in `mu` and `sigma`, as policy files hold them.
    ///
    /// # Errors
    /// Where a length is no multiple of `shape.numel()`, the lengths differ, or the numbers make no Gaussian.
    pub fn from_stacked(shape: NoiseShape, mu: &[f32], sigma: &[f32]) -> Result<Self> {
        let (numel, dims) = (shape.numel(), shape.dims());
        if mu.is_empty() || numel == 0 || !mu.len().is_multiple_of(numel) {
            let found = mu.len();
            return Err(Error::Policy(format!(
                "mu has {found} values, expected {numel} a component for noise of shape {dims:?}"
            )));
        }
        if sigma.len() != mu.len() {
            let (found, expected) = (sigma.len(), mu.len());
            return Err(Error::Policy(format!("sigma has {found} values, expected {expected} as in mu")));
        }
        let pairs = mu.chunks_exact(numel).zip(sigma.chunks_exact(numel));
        let components = pairs.map(|(mean, sigma)| Gaussian::new(mean.to_vec(), sigma.to_vec()));
        Self::new(shape, components.collect::<Result<_>>()?)
    }

    /// Shape of the noise that this policy samples.
    pub fn shape(&self) -> NoiseShape {
        self.shape
    }

    /// The components, at least one.
    pub fn components(&self) -> &[Gaussian] {
        &self.components
    }

    /// Dimensions of `mu` and of `sigma` in a file: those of the noise, behind the number of components where there
    /// are several.
    pub fn stacked_dims(&self) -> Vec<usize> {
        let count = Some(self.components.len()).filter(|&count| count > 1);
        count.into_iter().chain(self.shape.dims()).collect()
    }

    /// `mu` of all components, one after the other, in memory order.
    pub fn stacked_mean(&self) -> Vec<f32> {
        self.components.iter().flat_map(|one| one.mean().iter().copied()).collect()
    }

    /// `sigma` of all components, one after the other, in memory order.
    pub fn stacked_sigma(&self) -> Vec<f32> {
        self.components.iter().flat_map(|one| one.sigma().iter().copied()).collect()
    }

    /// The component that samples `key`. Components take turns, so that a few samples in a row show them all.
    pub fn component_of(&self, key: SampleKey) -> &Gaussian {
        let turn = key.seed.wrapping_add(u64::from(key.index)) % self.components.len() as u64;
        &self.components[turn as usize]
    }

    /// The sample `mu + sigma * epsilon` named `key`; `None` where `epsilon` has the wrong length.
    pub fn transform(&self, key: SampleKey, epsilon: &[f32]) -> Option<Noise> {
        Noise::new(key, self.shape, self.component_of(key).transform(epsilon)?)
    }

    /// The sample that `key` names.
    pub fn sample(&self, source: NoiseSource, key: SampleKey) -> Noise {
        let epsilon = standard_noise(source, key, self.shape);
        let noise =
            self.transform(key, &epsilon).expect("standard noise has the length of the policy's own shape");
        noise.with_source(source)
    }

    /// Samples `0..count` of `iteration` under `seed`.
    pub fn sample_batch(&self, source: NoiseSource, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        (0..count).map(|index| self.sample(source, SampleKey { seed, iteration, index })).collect()
    }

    /// Log-density at `noise` in nats, `ln (1/K) sum_k N(z; mu_k, sigma_k^2)`.
    pub fn sum_log_prob(&self, noise: &Noise) -> f64 {
        let each: Vec<f64> = self.components.iter().map(|one| one.sum_log_prob(noise.values())).collect();
        let highest = each.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = each.iter().map(|one| libm::exp(one - highest)).sum();
        highest + libm::log(sum / each.len() as f64)
    }

    /// Kullback-Leibler divergence to `N(0, I)` in nats, summed over all dimensions. Of a mixture it is the average
    /// over its components, by convexity an upper bound, at most `ln K` above the true value.
    pub fn kl_nats(&self) -> f64 {
        self.average(Gaussian::kl_to_standard_normal)
    }

    /// Euclidean norm of `mu`; of a mixture the root of its mean square over the components.
    pub fn mean_norm(&self) -> f64 {
        self.average(|one| one.mean().iter().map(|&value| f64::from(value).powi(2)).sum()).sqrt()
    }

    /// Distance of `mu` from that of `before`; of a mixture the root mean square of each component's distance to the
    /// nearest component of `before`.
    pub fn distance_from(&self, before: &Self) -> f64 {
        let square = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let nearest = |one: &Gaussian| {
            let squares = before.components.iter().map(|other| square(one.mean(), other.mean()));
            squares.fold(f64::INFINITY, f64::min)
        };
        self.average(nearest).sqrt()
    }

    fn average(&self, of: impl Fn(&Gaussian) -> f64) -> f64 {
        self.components.iter().map(of).sum::<f64>() / self.components.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: NoiseShape = NoiseShape::image(2, 2, 2);

    #[test]
    fn refuses_what_is_no_policy() {
        let message = |mean: Vec<f32>, sigma: Vec<f32>| {
            NoisePolicy::from_stacked(SHAPE, &mean, &sigma).unwrap_err().to_string()
        };
        assert!(message(vec![0.0; 7], vec![1.0; 8]).contains("mu has 7 values"));
        assert!(message(vec![], vec![]).contains("mu has 0 values"));
        assert!(message(vec![0.0; 16], vec![1.0; 8]).contains("sigma has 8 values, expected 16"));
        assert!(message(vec![f32::NAN; 8], vec![1.0; 8]).contains("mu[0] is NaN"));
        let message = |components| NoisePolicy::new(SHAPE, components).unwrap_err().to_string();
        assert!(message(vec![]).contains("0 components"));
        let other = vec![Gaussian::standard(8), Gaussian::standard(9)];
        assert!(message(other).contains("component 1 has 9 dimensions, expected 8"));
    }

    /// A component around -3 with sigma 0.5 and one around 3 with sigma 1.
    fn two() -> NoisePolicy {
        let component = |mean, sigma| Gaussian::new(vec![mean; 8], vec![sigma; 8]).unwrap();
        NoisePolicy::new(SHAPE, vec![component(-3.0, 0.5), component(3.0, 1.0)]).unwrap()
    }

    fn alone(component: &Gaussian) -> NoisePolicy {
        NoisePolicy::new(SHAPE, vec![component.clone()]).unwrap()
    }

    #[test]
    fn stacked_numbers_make_the_same_policy() {
        let policy = two();
        let (mu, sigma) = (policy.stacked_mean(), policy.stacked_sigma());
        assert_eq!(NoisePolicy::from_stacked(SHAPE, &mu, &sigma).unwrap(), policy);
        assert_eq!((policy.stacked_dims(), mu.len()), (vec![2, 2, 2, 2], 16));
        assert_eq!(NoisePolicy::standard(SHAPE).stacked_dims(), [2, 2, 2]);
    }

    #[test]
    fn components_take_turns() {
        let policy = two();
        let signs = |noises: Vec<Noise>| -> Vec<bool> {
            noises.iter().map(|noise| noise.values().iter().sum::<f32>() > 0.0).collect()
        };
        let fresh = |seed| policy.sample(NoiseSource::Philox, SampleKey::fresh(seed, 0));
        assert_eq!(signs((4..8).map(fresh).collect()), [false, true, false, true]);
        let batch = policy.sample_batch(NoiseSource::Philox, 1, 0, 6);
        assert_eq!(batch[3].key, SampleKey { seed: 1, iteration: 0, index: 3 });
        assert_ne!(batch[0].values(), batch[1].values());
        assert_eq!(signs(batch), [true, false, true, false, true, false]);
    }

    #[test]
    fn density_and_divergence_of_two_components() {
        let policy = two();
        let [first, second] = policy.components() else { panic!("two components") };
        let noise = alone(second).sample(NoiseSource::Philox, SampleKey::fresh(1, 0));
        // The other one is too far away to add anything, so half the density is left.
        let expected = second.sum_log_prob(noise.values()) - 2f64.ln();
        assert!((policy.sum_log_prob(&noise) - expected).abs() < 1e-9);
        let average = (first.kl_to_standard_normal() + second.kl_to_standard_normal()) / 2.0;
        assert!((policy.kl_nats() - average).abs() < 1e-9);
        // KL(pi || N(0, I)) by sampling lies within ln 2 below it.
        let standard = NoisePolicy::standard(SHAPE);
        let differences: Vec<f64> = (0..4000)
            .map(|seed| {
                let noise = policy.sample(NoiseSource::Philox, SampleKey::fresh(seed, 0));
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
    fn distance_is_to_the_nearest_component() {
        let policy = two();
        let first = NoisePolicy::from_stacked(SHAPE, &[-3.0; 8], &[1.0; 8]).unwrap();
        assert_eq!(first.distance_from(&policy), 0.0);
        assert!((policy.distance_from(&first) - (8.0 * 36.0 / 2.0f64).sqrt()).abs() < 1e-9);
    }
}

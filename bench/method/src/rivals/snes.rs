//! Separable natural evolution strategy (sNES) with its published defaults.
//!
//! Source: Wierstra et al., "Natural Evolution Strategies", JMLR 2014, algorithm 6 and table 1. Of CMA-ES, the crate
//! `cmaes` (0.2.2) offers the full covariance only, of 1024 x 1024 numbers here, and no separable form.

use noisefind::core::evaluation::Evaluation;
use noisefind::core::noise::{Noise, NoiseShape, SampleKey};
use noisefind::core::policy::NoisePolicy;
use noisefind::core::rng::NoiseSource;

use super::Rival;

/// The search between two generations.
pub struct SeparableNes {
    policy: NoisePolicy,
}

impl SeparableNes {
    /// A search from `N(0, I)`.
    pub fn new(shape: NoiseShape) -> Self {
        Self { policy: NoisePolicy::standard(shape) }
    }

    fn dimensions(&self) -> f64 {
        self.policy.mean().len() as f64
    }
}

impl Rival for SeparableNes {
    /// `4 + floor(3 ln d)`.
    fn batch_size(&self) -> usize {
        4 + (3.0 * self.dimensions().ln()) as usize
    }

    fn ask(&self, seed: u64, iteration: u32, count: u32) -> Vec<Noise> {
        let draw = |index| self.policy.draw(NoiseSource::Philox, SampleKey { seed, iteration, index });
        (0..count).map(draw).collect()
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        let mut ranked: Vec<(&Noise, f64)> =
            evaluations.iter().filter_map(|one| Some((&one.noise, one.reward.given()?))).collect();
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let count = ranked.len() as f64;
        let raw = |rank: usize| ((0.5 * count + 1.0).ln() - (rank as f64 + 1.0).ln()).max(0.0);
        let total: f64 = (0..ranked.len()).map(raw).sum();
        if total <= 0.0 {
            return;
        }
        // The published step sums over the samples, `natural_gradient` averages.
        let utility = |rank: usize| count * (raw(rank) / total - 1.0 / count);
        let samples = ranked.iter().enumerate().map(|(rank, (noise, _))| (noise.values(), utility(rank)));
        let (by_mean, by_log_sigma) = natural_gradient(&self.policy, samples);
        let moved = self.policy.mean().iter().zip(by_mean);
        let mean = moved.map(|(&mu, step)| (f64::from(mu) + step) as f32).collect();
        let rate = (3.0 + self.dimensions().ln()) / (5.0 * self.dimensions().sqrt());
        let stretched = self.policy.sigma().iter().zip(by_log_sigma);
        let sigma =
            stretched.map(|(&sigma, slope)| (f64::from(sigma) * (rate * slope).exp()) as f32).collect();
        if let Ok(policy) = NoisePolicy::new(self.policy.shape(), mean, sigma) {
            self.policy = policy;
        }
    }

    fn policy(&self) -> NoisePolicy {
        self.policy.clone()
    }
}

/// Natural gradients of the expected advantage by `mu` and by log-sigma, whose Fisher information is `1 / sigma^2` and 2:
/// `mean_k A_k sigma e_k` and `mean_k A_k (e_k^2 - 1) / 2` with `e = (z - mu) / sigma`.
fn natural_gradient<'a>(
    policy: &NoisePolicy,
    samples: impl Iterator<Item = (&'a [f32], f64)>,
) -> (Vec<f64>, Vec<f64>) {
    let (mut by_mean, mut by_log_sigma) = (vec![0.0; policy.mean().len()], vec![0.0; policy.mean().len()]);
    let mut count = 0usize;
    for (values, advantage) in samples {
        count += 1;
        for (at, &value) in values.iter().enumerate() {
            let (mu, sigma) = (f64::from(policy.mean()[at]), f64::from(policy.sigma()[at]));
            let unit = (f64::from(value) - mu) / sigma;
            by_mean[at] += advantage * sigma * unit;
            by_log_sigma[at] += 0.5 * advantage * (unit * unit - 1.0);
        }
    }
    let average = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / count.max(1) as f64).collect();
    (average(by_mean), average(by_log_sigma))
}

#[cfg(test)]
mod tests {
    use super::*;
    use noisefind::core::ports::Reward;

    #[test]
    fn natural_gradient_by_hand() {
        // e = (1, -2) with advantages (1, -1): mean (1 * 2 * 1 - 2 * -2) / 2 = 3, log-sigma (0 - 1.5) / 2.
        let policy = NoisePolicy::new(NoiseShape::image(1, 1, 1), vec![1.0], vec![2.0]).unwrap();
        let samples: [(&[f32], f64); 2] = [(&[3.0], 1.0), (&[-3.0], -1.0)];
        assert_eq!(natural_gradient(&policy, samples.into_iter()), (vec![3.0], vec![-0.75]));
    }

    #[test]
    fn climbs_a_linear_reward() {
        let mut search = SeparableNes::new(NoiseShape::image(1, 2, 2));
        for iteration in 0..20 {
            let noises = search.ask(1, iteration, search.batch_size() as u32);
            let reward = |noise: &Noise| Reward::Given(f64::from(noise.values()[0]));
            let told: Vec<Evaluation> =
                noises.into_iter().map(|noise| Evaluation { reward: reward(&noise), noise }).collect();
            search.tell(&told);
        }
        assert!(search.policy().mean()[0] > 2.0, "{:?}", search.policy().mean());
    }
}

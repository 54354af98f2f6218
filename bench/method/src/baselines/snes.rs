//! Separable natural evolution strategy (sNES) with its published defaults.
//!
//! Source: Wierstra et al., "Natural Evolution Strategies", JMLR 2014, algorithm 6 and table 1. Of CMA-ES, the crate
//! `cmaes` (0.2.2) offers the full covariance only, of 1024 x 1024 numbers here, and no separable form.

use noisefind::core::Result;
use noisefind::core::evaluation::Batch;
use noisefind::core::gaussian::Gaussian;
use noisefind::core::method::{Method, Update};
use noisefind::core::noise::NoiseShape;
use noisefind::core::policy::NoisePolicy;
use noisefind::core::state::MethodState;

/// The search between two generations.
pub struct SeparableNes {
    policy: NoisePolicy,
}

impl SeparableNes {
    /// A search from `N(0, I)`.
    pub fn new(shape: NoiseShape) -> Self {
        Self { policy: NoisePolicy::standard(shape) }
    }

    /// Samples of one generation, `4 + floor(3 ln d)`.
    pub fn batch_size(shape: NoiseShape) -> usize {
        4 + (3.0 * (shape.numel() as f64).ln()) as usize
    }

    fn gaussian(&self) -> &Gaussian {
        &self.policy.components()[0]
    }
}

impl Method for SeparableNes {
    fn policy(&self) -> &NoisePolicy {
        &self.policy
    }

    fn tell(&mut self, batch: &Batch) -> Result<Update> {
        let mut ranked: Vec<(&[f32], f64)> =
            batch.given().map(|(one, reward)| (one.noise.values(), reward)).collect();
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let count = ranked.len() as f64;
        let raw = |rank: usize| ((0.5 * count + 1.0).ln() - (rank as f64 + 1.0).ln()).max(0.0);
        let total: f64 = (0..ranked.len()).map(raw).sum();
        if total <= 0.0 {
            return Ok(Update::default());
        }
        // The published step sums over the samples, `natural_gradient` averages.
        let utility = |rank: usize| count * (raw(rank) / total - 1.0 / count);
        let samples = ranked.iter().enumerate().map(|(rank, (values, _))| (*values, utility(rank)));
        let gaussian = self.gaussian();
        let (by_mean, by_log_sigma) = natural_gradient(gaussian, samples);
        let moved = gaussian.mean().iter().zip(by_mean);
        let mean = moved.map(|(&mu, step)| (f64::from(mu) + step) as f32).collect();
        let dimensions = gaussian.dimensions() as f64;
        let rate = (3.0 + dimensions.ln()) / (5.0 * dimensions.sqrt());
        let stretched = gaussian.sigma().iter().zip(by_log_sigma);
        let sigma =
            stretched.map(|(&sigma, slope)| (f64::from(sigma) * (rate * slope).exp()) as f32).collect();
        self.policy = NoisePolicy::new(self.policy.shape(), vec![Gaussian::new(mean, sigma)?])?;
        Ok(Update { updated: true, effective_sample_size: count, expected_reward: None })
    }

    /// It has no memory but its policy.
    fn save(&self) -> MethodState {
        MethodState::default()
    }

    fn restore(&mut self, policy: NoisePolicy, _state: &MethodState) -> Result<()> {
        self.policy = policy;
        Ok(())
    }
}

/// Natural gradients of the expected advantage by `mu` and by log-sigma, whose Fisher information is `1 / sigma^2` and 2:
/// `mean_k A_k sigma e_k` and `mean_k A_k (e_k^2 - 1) / 2` with `e = (z - mu) / sigma`.
fn natural_gradient<'a>(
    gaussian: &Gaussian,
    samples: impl Iterator<Item = (&'a [f32], f64)>,
) -> (Vec<f64>, Vec<f64>) {
    let (mut by_mean, mut by_log_sigma) =
        (vec![0.0; gaussian.dimensions()], vec![0.0; gaussian.dimensions()]);
    let mut count = 0usize;
    for (values, advantage) in samples {
        count += 1;
        for (at, &value) in values.iter().enumerate() {
            let (mu, sigma) = (f64::from(gaussian.mean()[at]), f64::from(gaussian.sigma()[at]));
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
    use noisefind::core::evaluation::Evaluation;
    use noisefind::core::ports::Reward;
    use noisefind::core::run::{Run, RunConfig};

    #[test]
    fn natural_gradient_by_hand() {
        // e = (1, -2) with advantages (1, -1): mean (1 * 2 * 1 - 2 * -2) / 2 = 3, log-sigma (0 - 1.5) / 2.
        let gaussian = Gaussian::new(vec![1.0], vec![2.0]).unwrap();
        let samples: [(&[f32], f64); 2] = [(&[3.0], 1.0), (&[-3.0], -1.0)];
        assert_eq!(natural_gradient(&gaussian, samples.into_iter()), (vec![3.0], vec![-0.75]));
    }

    #[test]
    fn follows_a_linear_reward() {
        let shape = NoiseShape::image(1, 2, 2);
        let batch_size = SeparableNes::batch_size(shape);
        let config = RunConfig { evaluations: 20 * batch_size, batch_size, ..RunConfig::default() };
        let mut run = Run::new(config, Box::new(SeparableNes::new(shape))).unwrap();
        for _ in 0..20 {
            let told = run.ask().into_iter().map(|noise| {
                let reward = Reward::Given(f64::from(noise.values()[0]));
                Evaluation { noise, reward }
            });
            run.tell(told.collect()).unwrap();
        }
        let mean = run.policy().stacked_mean();
        assert!(mean[0] > 2.0, "{mean:?}");
        let other = Run::resume(Box::new(SeparableNes::new(shape)), &run.state()).unwrap();
        assert_eq!(other.ask(), run.ask());
    }
}

//! The clipped objective of the paper's ratio clipping (RCA), with summed log-ratios, and its gradient in closed form.
//!
//! `L_p = -mean_i min(rho_i A_i, clip(rho_i, 1 - eps, 1 + eps) A_i)` with `rho = pi_theta(z) / pi_old(z)`
//! (Schulman et al., "Proximal Policy Optimization Algorithms", 2017, arXiv 1707.06347, equation 7).

use crate::evaluation::Batch;
use crate::gaussian::Gaussian;

/// Log-ratios beyond this do not fit a finite weight and carry no information that a clip would keep.
const LARGEST_LOG_RATIO: f64 = 20.0;

/// Loss and gradient at one Gaussian.
#[derive(Clone, Debug, PartialEq)]
pub struct ClippedObjective {
    /// `L_p`.
    pub loss: f64,
    /// Gradient of the loss by `mu`.
    pub by_mean: Vec<f64>,
    /// Gradient of the loss by `sigma` (not its logarithm).
    pub by_sigma: Vec<f64>,
    /// `rho` of every given sample, in order.
    pub ratios: Vec<f64>,
}

/// The objective of `new` over the given samples of `batches`; `advantages` has one number for each of them.
/// `clip_range` is `eps`; without one the objective is the importance-weighted mean (equation 6 there).
pub fn clipped_objective<'a>(
    new: &Gaussian,
    batches: impl IntoIterator<Item = &'a Batch>,
    advantages: &[f64],
    clip_range: Option<f64>,
) -> ClippedObjective {
    let dimensions = new.dimensions();
    let mut objective = ClippedObjective {
        loss: 0.0,
        by_mean: vec![0.0; dimensions],
        by_sigma: vec![0.0; dimensions],
        ratios: Vec::with_capacity(advantages.len()),
    };
    let scale = 1.0 / advantages.len().max(1) as f64;
    let samples =
        batches.into_iter().flat_map(|batch| batch.given().map(move |(sample, _)| (&batch.policy, sample)));
    for ((old, sample), &advantage) in samples.zip(advantages) {
        let values = sample.noise.values();
        let log_ratio = new.sum_log_ratio(values, old.component_of(sample.key()));
        let ratio = libm::exp(log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO));
        let clipped = clip_range.map_or(ratio, |eps| ratio.clamp(1.0 - eps, 1.0 + eps));
        objective.loss -= scale * (ratio * advantage).min(clipped * advantage);
        objective.ratios.push(ratio);
        if ratio * advantage > clipped * advantage {
            // The min chose the clipped branch, which is constant in theta.
            continue;
        }
        // d rho / d theta = rho * d log pi / d theta.
        let weight = -scale * ratio * advantage;
        let (by_mean, by_log_sigma) = new.log_prob_gradient(values);
        for (at, &sigma) in new.sigma().iter().enumerate() {
            objective.by_mean[at] += weight * by_mean[at];
            objective.by_sigma[at] += weight * by_log_sigma[at] / f64::from(sigma);
        }
    }
    objective
}

/// How many equally weighted samples carry as much as these weights: `(sum w)^2 / sum w^2`
/// (Kish, "Survey Sampling", 1965).
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Evaluation;
    use crate::noise::{Noise, NoiseShape, SampleKey};
    use crate::policy::NoisePolicy;
    use crate::ports::Reward;

    const SHAPE: NoiseShape = NoiseShape::image(1, 1, 2);

    fn gaussian(mean: [f32; 2], sigma: [f32; 2]) -> Gaussian {
        Gaussian::new(mean.to_vec(), sigma.to_vec()).unwrap()
    }

    fn batch(old: Gaussian, noises: &[[f32; 2]]) -> Batch {
        let evaluation = |(index, values): (usize, &[f32; 2])| {
            let key = SampleKey { seed: 0, iteration: 0, index: index as u32 };
            let noise = Noise::new(key, SHAPE, values.to_vec()).unwrap();
            Evaluation { noise, reward: Reward::Given(1.0) }
        };
        let policy = NoisePolicy::new(SHAPE, vec![old]).unwrap();
        Batch { iteration: 0, policy, evaluations: noises.iter().enumerate().map(evaluation).collect() }
    }

    #[test]
    fn ratio_is_exactly_one_before_the_first_update() {
        let start = gaussian([0.3, -0.1], [0.9, 1.1]);
        let batch = batch(start.clone(), &[[0.1, 2.0], [-1.0, 0.5]]);
        let objective = clipped_objective(&start, [&batch], &[1.0, -2.0], Some(0.2));
        assert_eq!(objective.ratios, [1.0, 1.0]);
        assert_eq!(objective.loss, 0.5);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let batch = batch(gaussian([0.0, 0.0], [1.0, 1.0]), &[[0.5, -0.5], [0.25, 1.0], [-1.5, 0.75]]);
        let advantages = [1.0, -0.5, 2.0];
        let loss = |mean, sigma| clipped_objective(&gaussian(mean, sigma), [&batch], &advantages, None).loss;
        let here = clipped_objective(&gaussian([0.125, -0.25], [1.25, 0.75]), [&batch], &advantages, None);
        let step = 2f32.powi(-8);
        let by_mean = loss([0.125 + step, -0.25], [1.25, 0.75]) - loss([0.125 - step, -0.25], [1.25, 0.75]);
        let by_sigma = loss([0.125, -0.25], [1.25, 0.75 + step]) - loss([0.125, -0.25], [1.25, 0.75 - step]);
        assert!((here.by_mean[0] - by_mean / (2.0 * f64::from(step))).abs() < 1e-4);
        assert!((here.by_sigma[1] - by_sigma / (2.0 * f64::from(step))).abs() < 1e-3);
    }

    #[test]
    fn the_clip_stops_going_further_but_lets_a_policy_come_back() {
        // The sample lies at +1, so a mean moved to +0.5 has a ratio above 1.2 for it.
        let batch = batch(gaussian([0.0, 0.0], [1.0, 1.0]), &[[1.0, 0.0]]);
        let moved = gaussian([0.5, 0.0], [1.0, 1.0]);
        let further = clipped_objective(&moved, [&batch], &[1.0], Some(0.2));
        assert!(further.ratios[0] > 1.2);
        assert_eq!(further.by_mean, [0.0, 0.0]);
        let back = clipped_objective(&moved, [&batch], &[-1.0], Some(0.2));
        assert!(back.by_mean[0] > 0.0, "descending the loss must lower the mean");
    }

    #[test]
    fn effective_sample_size_counts_equal_weights() {
        assert_eq!(effective_sample_size(&[2.0; 5]), 5.0);
        assert_eq!(effective_sample_size(&[1.0, 0.0]), 1.0);
        assert_eq!(effective_sample_size(&[]), 0.0);
    }
}

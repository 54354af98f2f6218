//! The Gaussian-process surrogate of the reward over directions of noise.
//!
//! One high reward says little about the neighbours of its noise: where a prompt asks for two objects, the default
//! model's rewards of two noises of cosine similarity 0.7 correlate by 0.1 to 0.3 only. A component should be centred
//! where a whole neighbourhood is good, and the evaluations near it tell that together.
//!
//! Model: `r_i = m + f(u_i) + e_i` with noises `u_i` scaled to length 1, and the kernel
//! `k(u, v) = a max(u . v, 0)^4 + b (u . v)`: the positive part of a polynomial kernel of degree 4 for neighbours, plus
//! a linear kernel (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 4.2.2). The constant `m` has a
//! normal prior (section 2.7). Samples of a component with centre `v` and radius `c` have direction `c v` plus a part
//! that is orthogonal to nearly everything, so their expected reward is the posterior mean at `c v`.
//!
//! A centre is a linear combination of the observed noises. Everything is computed from their Gram matrix and costs
//! the same whatever the size of a noise.

use super::linear_system::{cholesky, solve};
use crate::method::effective_sample_size;

/// Prior variances of the neighbour kernel and of the linear kernel, as fractions of the variance of the rewards. The
/// rest is noise of the single observation.
const NEIGHBOUR_VARIANCE: f64 = 0.7;
const LINEAR_VARIANCE: f64 = 0.1;
/// Prior variance of the constant `m`.
const CONSTANT_VARIANCE: f64 = 1.0;
/// Observations with the highest rewards from which the search for each centre starts.
const STARTS: usize = 6;
/// Largest cosine similarity of two centres.
const LARGEST_COSINE: f64 = 0.5;
/// A centre is dropped when its posterior mean plus [`CONFIDENCE`] standard deviations is below this fraction of the
/// best centre's posterior mean.
const SMALLEST_FRACTION: f64 = 0.8;
const CONFIDENCE: f64 = 1.0;
/// Steps of the gradient ascent, each of at most half the length of a centre.
const STEPS: usize = 40;

/// An evaluation as the surrogate uses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation<'a> {
    /// Cosine similarity of its noise with the noise of each observation before it.
    pub cosines: &'a [f64],
    /// Its standardised reward.
    pub reward: f64,
}

/// The centre of a component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Centre {
    /// Weights of the observed noises of length 1; their combination has length 1.
    pub weights: Vec<f64>,
    /// Kish's effective size of the weights that the posterior mean gives to the observations.
    pub effective_sample_size: f64,
}

/// A noise scaled to length 1; a zero stays zero.
pub(super) fn direction(noise: &[f32]) -> Vec<f32> {
    let norm = noise.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    noise.iter().map(|&x| (f64::from(x) * scale) as f32).collect()
}

/// Cosine similarity of two directions of length 1.
pub(super) fn cosine(first: &[f32], second: &[f32]) -> f64 {
    first.iter().zip(second).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The observation with the highest reward as a centre; `None` where all rewards are equal.
pub(super) fn best_observation(observations: &[Observation]) -> Option<Centre> {
    let reward = |at: usize| observations[at].reward;
    let best = (0..observations.len()).max_by(|&a, &b| reward(a).total_cmp(&reward(b)))?;
    let weights = (0..observations.len()).map(|at| if at == best { 1.0 } else { 0.0 }).collect();
    (!is_flat(observations)).then_some(Centre { weights, effective_sample_size: 1.0 })
}

fn is_flat(observations: &[Observation]) -> bool {
    observations.iter().all(|one| one.reward == 0.0)
}

/// The Gaussian process given the observations.
pub(super) struct Surrogate {
    /// Gram matrix: cosine similarities of the observed noises, `[n, n]`.
    gram: Vec<f64>,
    rewards: Vec<f64>,
    /// Cholesky factor `L` of the covariance `K` of the rewards, noise included, `[n, n]`.
    factor: Vec<f64>,
    /// `alpha = K^-1 r` (Rasmussen and Williams, algorithm 2.1, line 3).
    alpha: Vec<f64>,
}

/// A point of the gradient ascent, of length 1.
struct Point {
    weights: Vec<f64>,
    /// Its cosine similarity with each observed noise.
    cosines: Vec<f64>,
}

impl Surrogate {
    /// `None` where nothing can be learnt: no observations, or equal rewards.
    pub(super) fn new(observations: &[Observation]) -> Option<Self> {
        let count = observations.len();
        let (mut gram, mut factor) = (vec![0.0; count * count], vec![0.0; count * count]);
        for (i, one) in observations.iter().enumerate() {
            for (j, &cosine) in one.cosines.iter().enumerate() {
                (gram[i * count + j], gram[j * count + i]) = (cosine, cosine);
                factor[i * count + j] = CONSTANT_VARIANCE + kernel(cosine);
            }
            gram[i * count + i] = 1.0;
            // Prior and noise variances of a standardised reward add up to 1.
            factor[i * count + i] = CONSTANT_VARIANCE + 1.0;
        }
        cholesky(&mut factor, count).filter(|()| !is_flat(observations))?;
        let rewards: Vec<f64> = observations.iter().map(|one| one.reward).collect();
        let alpha = solve(&factor, count, &rewards);
        Some(Self { gram, rewards, factor, alpha })
    }

    /// At most `count` centres of the highest posterior mean at `radius`, the best first. No two are closer than
    /// [`LARGEST_COSINE`], and none is known to be much worse than the best.
    pub(super) fn best_centres(&self, radius: f64, count: usize) -> Vec<Centre> {
        let mut order: Vec<usize> = (0..self.rewards.len()).collect();
        order.sort_by(|&a, &b| self.rewards[b].total_cmp(&self.rewards[a]));
        let mut chosen: Vec<Point> = Vec::new();
        let mut highest = f64::NEG_INFINITY;
        while chosen.len() < count {
            let starts = order.iter().map(|&at| self.observed(at)).filter(|start| is_apart(start, &chosen));
            let ascents = starts.take(STARTS).map(|start| self.ascend(start, &chosen, radius));
            let Some((mean, point)) = ascents.max_by(|(a, _), (b, _)| a.total_cmp(b)) else { break };
            highest = highest.max(mean);
            if mean + CONFIDENCE * self.deviation(&point, radius) < SMALLEST_FRACTION * highest {
                break;
            }
            chosen.push(point);
        }
        let centre = |point: Point| {
            let (_, weights) = self.observation_weights(&point, radius);
            let sizes: Vec<f64> = weights.into_iter().map(f64::abs).collect();
            Centre { effective_sample_size: effective_sample_size(&sizes), weights: point.weights }
        };
        chosen.into_iter().map(centre).collect()
    }

    /// Posterior mean of the standardised reward of a noise, from its cosine similarity with each observed one.
    pub(super) fn posterior_mean(&self, cosines: &[f64]) -> f64 {
        CONSTANT_VARIANCE * self.alpha.iter().sum::<f64>() + self.mean_of_f(cosines, 1.0)
    }

    /// Posterior mean of `f` alone, `k*' alpha` (Rasmussen and Williams, equation 2.25), at `radius` times a direction.
    fn mean_of_f(&self, cosines: &[f64], radius: f64) -> f64 {
        cosines.iter().zip(&self.alpha).map(|(&cosine, alpha)| alpha * kernel(radius * cosine)).sum()
    }

    /// Posterior standard deviation of `f` at `radius` times `point`: the root of `k** - k*' K^-1 k*` (equation 2.26).
    fn deviation(&self, point: &Point, radius: f64) -> f64 {
        let (covariances, weights) = self.observation_weights(point, radius);
        let explained: f64 = covariances.iter().zip(weights).map(|(a, b)| a * b).sum();
        (kernel(radius * radius) - explained).max(0.0).sqrt()
    }

    /// Covariances `k*` of `f` at `radius` times `point` with the observations, and the weights `K^-1 k*` that the
    /// posterior mean there gives to their rewards.
    fn observation_weights(&self, point: &Point, radius: f64) -> (Vec<f64>, Vec<f64>) {
        let covariances: Vec<f64> = point.cosines.iter().map(|&cosine| kernel(radius * cosine)).collect();
        let weights = solve(&self.factor, self.alpha.len(), &covariances);
        (covariances, weights)
    }

    /// Gradient ascent of the posterior mean on the unit sphere, never closer to `others` than [`LARGEST_COSINE`];
    /// -> the posterior mean of `f` and the point.
    fn ascend(&self, start: Point, others: &[Point], radius: f64) -> (f64, Point) {
        let mut here = start;
        let mut highest = self.mean_of_f(&here.cosines, radius);
        let mut step = 0.5;
        for _ in 0..STEPS {
            let weights = self.alpha.iter().zip(&here.cosines);
            let gradient = weights.map(|(alpha, &cosine)| alpha * kernel_slope(radius * cosine)).collect();
            let Some(uphill) = self.combination(gradient) else { break };
            let Some(there) = here.moved(step, &uphill) else { break };
            let reached = self.mean_of_f(&there.cosines, radius);
            if reached > highest && is_apart(&there, others) {
                (here, highest) = (there, reached);
            } else {
                step *= 0.5;
            }
        }
        (highest, here)
    }

    /// An observed noise.
    fn observed(&self, at: usize) -> Point {
        let count = self.alpha.len();
        let mut weights = vec![0.0; count];
        weights[at] = 1.0;
        Point { weights, cosines: self.gram[at * count..(at + 1) * count].to_vec() }
    }

    /// A combination of observed noises, scaled to length 1; `None` of a zero.
    fn combination(&self, weights: Vec<f64>) -> Option<Point> {
        // The matrix is symmetric, so its rows can be added as columns, four at a time: each sum is taken in the order of
        // the observations as before, but neighbouring sums are vector code.
        let count = weights.len();
        let mut cosines = vec![0.0; count];
        let (fours, rest) = weights.as_chunks::<4>();
        let mut rows = self.gram.chunks_exact(count.max(1));
        for four in fours {
            let [Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| rows.next()) else { break };
            for ((((sum, a), b), c), d) in cosines.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum = *sum + a * four[0] + b * four[1] + c * four[2] + d * four[3];
            }
        }
        for (row, weight) in rows.zip(rest) {
            cosines.iter_mut().zip(row).for_each(|(sum, cosine)| *sum += cosine * weight);
        }
        Point { weights, cosines }.scaled()
    }
}

impl Point {
    fn moved(&self, step: f64, direction: &Point) -> Option<Self> {
        let add = |from: &[f64], to: &[f64]| from.iter().zip(to).map(|(a, b)| a + step * b).collect();
        let weights = add(&self.weights, &direction.weights);
        Self { weights, cosines: add(&self.cosines, &direction.cosines) }.scaled()
    }

    /// Scaled to length 1; `None` of a zero.
    fn scaled(mut self) -> Option<Self> {
        let norm = self.cosine(&self).sqrt();
        if !norm.is_finite() || norm <= 0.0 {
            return None;
        }
        self.weights.iter_mut().chain(&mut self.cosines).for_each(|value| *value /= norm);
        Some(self)
    }

    /// Cosine similarity with `other`.
    fn cosine(&self, other: &Self) -> f64 {
        self.weights.iter().zip(&other.cosines).map(|(a, b)| a * b).sum()
    }
}

fn is_apart(point: &Point, others: &[Point]) -> bool {
    others.iter().all(|other| point.cosine(other) < LARGEST_COSINE)
}

/// Prior covariance of `f` at two points with dot product `cosine`.
fn kernel(cosine: f64) -> f64 {
    let square = cosine.max(0.0) * cosine.max(0.0);
    NEIGHBOUR_VARIANCE * square * square + LINEAR_VARIANCE * cosine
}

/// The derivative of [`kernel`].
fn kernel_slope(cosine: f64) -> f64 {
    let positive = cosine.max(0.0);
    4.0 * NEIGHBOUR_VARIANCE * positive * positive * positive + LINEAR_VARIANCE
}

#[cfg(test)]
mod tests {
    use super::super::standardise::standardise;
    use super::*;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    const SIZE: usize = 400;

    fn random(index: u32) -> Vec<f32> {
        direction(&Stream::new(SampleKey { seed: 3, iteration: 0, index }, Domain::Test).normals(SIZE))
    }

    fn near(centre: &[f32], index: u32, radius: f32) -> Vec<f32> {
        let own = random(index);
        let mixed: Vec<f32> =
            centre.iter().zip(own).map(|(c, o)| radius * c + (1.0 - radius * radius).sqrt() * o).collect();
        direction(&mixed)
    }

    /// Noises with their rewards.
    #[derive(Default)]
    struct Evaluations {
        noises: Vec<Vec<f32>>,
        rewards: Vec<f64>,
    }

    impl Evaluations {
        fn add(&mut self, noise: Vec<f32>, reward: f64) {
            self.noises.push(noise);
            self.rewards.push(reward);
        }

        /// Noises that are nearly orthogonal to each other.
        fn unrelated(count: u32, reward: impl Fn(f64) -> f64) -> Self {
            let mut all = Self::default();
            (0..count).for_each(|at| all.add(random(at), reward(f64::from(at))));
            all
        }

        fn cosines(&self, noise: &[f32]) -> Vec<f64> {
            self.noises.iter().map(|other| cosine(noise, other)).collect()
        }

        fn surrogate(&self) -> Option<Surrogate> {
            let rows: Vec<Vec<f64>> = self.noises.iter().map(|noise| self.cosines(noise)).collect();
            let rows = rows.iter().enumerate().map(|(at, row)| &row[..at]);
            let observations: Vec<Observation> = rows
                .zip(standardise(&self.rewards))
                .map(|(cosines, reward)| Observation { cosines, reward })
                .collect();
            Surrogate::new(&observations)
        }

        fn best_centres(&self, count: usize) -> Vec<Centre> {
            self.surrogate().expect("the rewards differ").best_centres(0.7, count)
        }

        /// Cosine similarity of `centre` and `noise`.
        fn cosine_of(&self, centre: &Centre, noise: &[f32]) -> f64 {
            self.cosines(noise).iter().zip(&centre.weights).map(|(a, b)| a * b).sum()
        }
    }

    #[test]
    fn among_unrelated_noises_the_best_is_the_centre() {
        let all = Evaluations::unrelated(16, |at| at % 7.0);
        let best = all.best_centres(1).remove(0);
        assert!(all.cosine_of(&best, &all.noises[6]).max(all.cosine_of(&best, &all.noises[13])) > 0.9);
    }

    #[test]
    fn a_good_neighbourhood_beats_one_high_reward() {
        let (good, lucky) = (random(100), random(200));
        let mut all = Evaluations::unrelated(24, |at| -0.5 + 0.04 * at);
        (0..8).for_each(|at| all.add(near(&good, 300 + at, 0.8), 2.0 + 0.1 * f64::from(at % 3)));
        all.add(lucky.clone(), 2.6);
        (0..4).for_each(|at| all.add(near(&lucky, 400 + at, 0.8), -0.3));
        let best = all.best_centres(1).remove(0);
        let reached = all.cosine_of(&best, &good);
        assert!(reached > 0.9, "the middle of the good ones, nearer to it than any: {reached}");
        assert!(all.cosine_of(&best, &lucky) < 0.2);
        let cosines = all.noises.iter().map(|noise| all.cosine_of(&best, noise));
        let square: f64 = cosines.zip(&best.weights).map(|(a, b)| a * b).sum();
        assert!((square - 1.0).abs() < 1e-6, "{square}");
    }

    #[test]
    fn two_good_neighbourhoods_are_two_centres_and_a_poor_one_is_none() {
        let (good, other, poor) = (random(100), random(200), random(300));
        let mut all = Evaluations::unrelated(24, |at| -0.5 + 0.04 * at);
        for (centre, reward, first) in [(&good, 2.2, 400), (&other, 2.0, 500), (&poor, -1.0, 600)] {
            (first..first + 8)
                .for_each(|at| all.add(near(centre, at, 0.8), reward + 0.1 * f64::from(at % 3)));
        }
        let best = all.best_centres(4);
        assert_eq!(best.len(), 2, "no third one has a posterior mean that is high enough");
        assert!(all.cosine_of(&best[0], &good) > 0.9 && all.cosine_of(&best[1], &other) > 0.9);
        assert!(best.iter().all(|centre| all.cosine_of(centre, &poor) < 0.3), "known to be poor");
        assert_eq!(all.best_centres(1), best[..1]);
    }

    #[test]
    fn the_posterior_mean_falls_from_neighbours_to_unrelated_noises() {
        let good = random(100);
        let mut all = Evaluations::unrelated(24, |at| at % 3.0 - 1.0);
        (0..8).for_each(|at| all.add(near(&good, 300 + at, 0.8), 3.0));
        let surrogate = all.surrogate().expect("the rewards differ");
        let expected = [good.clone(), near(&good, 400, 0.7), random(500)]
            .map(|noise| surrogate.posterior_mean(&all.cosines(&noise)));
        assert!(expected[0] > expected[1] + 0.2 && expected[1] > expected[2] + 0.2, "{expected:?}");
        assert!(expected[2].abs() < 0.5, "an unrelated noise has the constant alone: {}", expected[2]);
    }

    #[test]
    fn equal_rewards_have_no_centre() {
        assert!(Evaluations::unrelated(3, |_| 1.0).surrogate().is_none());
        assert!(Evaluations::default().surrogate().is_none());
        assert_eq!(best_observation(&[Observation { cosines: &[], reward: 0.0 }; 3]), None);
        assert_eq!(best_observation(&[]), None);
    }
}

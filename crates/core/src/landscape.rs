//! Where in the space of noises the reward is high, told from all evaluations so far: a Gaussian process.
//!
//! One high reward says little about the noise's neighbours: where a prompt asks for two objects, the default model's
//! rewards of two noises that have 0.7 in common correlate by 0.1 to 0.3 only. What is wanted is a noise whose
//! neighbourhood is good, and the evaluations near it tell that together.
//!
//! Model: `r_i = m + f(u_i) + e_i` with the low frequencies `u_i` of a noise scaled to length 1 and
//! `cov(f(u), f(v)) = a (u . v)_+^4 + b (u . v)`: noises that share a layout have similar rewards, the others only as
//! far as a direction explains. The reward of the policy with mean along `v` is the posterior mean at `c v`, where
//! `c` is the share that a sample keeps of the mean.
//! Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2 and 4.2.

use crate::linear_system::{cholesky, solve};
use crate::statistics::{mean, standard_deviation};

/// Shares of the reward's variance: what neighbours have in common, what a direction explains. The rest is a noise's own.
const NEIGHBOURS: f64 = 0.7;
const DIRECTION: f64 = 0.1;
/// Prior variance of the level `m`.
const LEVEL_VARIANCE: f64 = 1.0;
/// Best noises that the climb starts from.
const STARTS: usize = 6;
/// Steps of the climb, each of at most half the length of a place.
const STEPS: usize = 40;

/// An evaluation as the landscape sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Low frequencies of the noise, scaled to length 1.
    pub place: &'a [f32],
    /// The reward, in any unit.
    pub reward: f64,
}

/// The place of a noise with these low frequencies: they are scaled to length 1.
pub fn place(coefficients: &[f32]) -> Vec<f32> {
    let values: Vec<f64> = coefficients.iter().map(|&x| f64::from(x)).collect();
    scaled(&values).unwrap_or(values).into_iter().map(|x| x as f32).collect()
}

/// The place of length 1 around which the policy can expect the highest reward, when its samples keep `kept` of
/// it. `None` where nothing can be learnt: no evaluations, or rewards without spread.
pub fn best_place(seen: &[Seen], kept: f64) -> Option<Vec<f32>> {
    let rewards: Vec<f64> = seen.iter().map(|one| one.reward).collect();
    let (level, spread) = (mean(&rewards), standard_deviation(&rewards));
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let standard: Vec<f64> = rewards.iter().map(|reward| (reward - level) / spread).collect();
    let weights = weights(seen, &standard)?;
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
    let climbed = order.iter().take(STARTS).map(|&start| climb(seen, &weights, kept, seen[start].place));
    climbed
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, place)| place.iter().map(|&x| x as f32).collect())
}

/// `K^-1 r`.
fn weights(seen: &[Seen], rewards: &[f64]) -> Option<Vec<f64>> {
    let count = seen.len();
    let mut matrix = vec![0.0; count * count];
    for i in 0..count {
        for j in 0..=i {
            let alike = dot(seen[i].place.iter().map(|&x| f64::from(x)), seen[j].place);
            matrix[i * count + j] = LEVEL_VARIANCE + covariance(alike);
        }
        matrix[i * count + i] += 1.0 - NEIGHBOURS - DIRECTION;
    }
    cholesky(&mut matrix, count)?;
    Some(solve(&matrix, count, rewards))
}

fn covariance(alike: f64) -> f64 {
    let square = alike.max(0.0) * alike.max(0.0);
    NEIGHBOURS * square * square + DIRECTION * alike
}

/// The derivative of [`covariance`].
fn slope(alike: f64) -> f64 {
    let positive = alike.max(0.0);
    4.0 * NEIGHBOURS * positive * positive * positive + DIRECTION
}

/// Climbs the expected reward over the sphere; -> the reward above the level and the place.
fn climb(seen: &[Seen], weights: &[f64], kept: f64, start: &[f32]) -> (f64, Vec<f64>) {
    let mut place: Vec<f64> = start.iter().map(|&x| f64::from(x)).collect();
    let alike = |place: &[f64]| -> Vec<f64> {
        seen.iter().map(|one| kept * dot(place.iter().copied(), one.place)).collect()
    };
    let value = |alike: &[f64]| -> f64 { alike.iter().zip(weights).map(|(&a, w)| w * covariance(a)).sum() };
    let mut here = alike(&place);
    let mut highest = value(&here);
    let mut step = 0.5;
    for _ in 0..STEPS {
        let mut gradient = vec![0.0; place.len()];
        for ((one, weight), &a) in seen.iter().zip(weights).zip(&here) {
            let pull = weight * slope(a);
            gradient.iter_mut().zip(one.place).for_each(|(sum, &x)| *sum += pull * f64::from(x));
        }
        let Some(uphill) = scaled(&gradient) else { break };
        let Some(moved) = scaled(&place.iter().zip(&uphill).map(|(p, g)| p + step * g).collect::<Vec<_>>())
        else {
            break;
        };
        let there = alike(&moved);
        let reached = value(&there);
        if reached > highest {
            (place, here, highest) = (moved, there, reached);
        } else {
            step *= 0.5;
        }
    }
    (highest, place)
}

/// Scaled to length 1; `None` of a zero.
fn scaled(values: &[f64]) -> Option<Vec<f64>> {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    (norm > 0.0 && norm.is_finite()).then(|| values.iter().map(|value| value / norm).collect())
}

fn dot(first: impl Iterator<Item = f64>, second: &[f32]) -> f64 {
    first.zip(second).map(|(a, &b)| a * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    const SIZE: usize = 400;

    fn random(index: u32) -> Vec<f32> {
        place(&Stream::new(SampleKey { seed: 3, iteration: 0, index }, Domain::Fake).normals(SIZE))
    }

    fn near(centre: &[f32], index: u32, kept: f32) -> Vec<f32> {
        let own = random(index);
        let mixed: Vec<f32> =
            centre.iter().zip(own).map(|(c, o)| kept * c + (1.0 - kept * kept).sqrt() * o).collect();
        place(&mixed)
    }

    fn alike(first: &[f32], second: &[f32]) -> f64 {
        dot(first.iter().map(|&x| f64::from(x)), second)
    }

    #[test]
    fn of_strangers_the_best_is_the_place() {
        let places: Vec<Vec<f32>> = (0..16).map(random).collect();
        let seen: Vec<Seen> =
            places.iter().zip(0..).map(|(place, at)| Seen { place, reward: f64::from(at % 7) }).collect();
        let best = best_place(&seen, 0.7).unwrap();
        assert!(alike(&best, &places[6]).max(alike(&best, &places[13])) > 0.9);
    }

    #[test]
    fn a_good_neighbourhood_beats_a_lucky_stranger() {
        let (good, lucky) = (random(100), random(200));
        let mut places: Vec<(Vec<f32>, f64)> =
            (0..24).map(|at| (random(at), -0.5 + 0.04 * f64::from(at))).collect();
        places.extend((0..8).map(|at| (near(&good, 300 + at, 0.8), 2.0 + 0.1 * f64::from(at % 3))));
        places.push((lucky.clone(), 2.6));
        places.extend((0..4).map(|at| (near(&lucky, 400 + at, 0.8), -0.3)));
        let seen: Vec<Seen> = places.iter().map(|(place, reward)| Seen { place, reward: *reward }).collect();
        let best = best_place(&seen, 0.7).unwrap();
        assert!(
            alike(&best, &good) > 0.9,
            "the middle of the good ones, nearer to it than any: {}",
            alike(&best, &good)
        );
        assert!(alike(&best, &lucky) < 0.2);
    }

    #[test]
    fn flat_rewards_have_no_best_place() {
        let place = random(1);
        assert_eq!(best_place(&[Seen { place: &place, reward: 1.0 }; 3], 0.7), None);
        assert_eq!(best_place(&[], 0.7), None);
    }
}

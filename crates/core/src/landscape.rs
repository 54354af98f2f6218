//! Where in the space of noises the reward is high, told from all evaluations so far: a Gaussian process.
//!
//! One high reward says little about the noise's neighbours: where a prompt asks for two objects, the default model's
//! rewards of two noises that have 0.7 in common correlate by 0.1 to 0.3 only. What is wanted are places whose
//! neighbourhoods are good, and the evaluations near them tell that together.
//!
//! Model: `r_i = m + f(u_i) + e_i` with the noises `u_i` scaled to length 1 and
//! `cov(f(u), f(v)) = a (u . v)_+^4 + b (u . v)`: neighbours have similar rewards, the others only as far as a direction
//! explains. The reward of the policy with mean along `v` is the posterior mean at `c v`, where `c` is the share that a
//! sample keeps of the mean. A place is a mixture of the evaluated noises, so everything is told from how alike those are,
//! and costs the same whatever the size of a noise.
//! Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2 and 4.2.

use crate::linear_system::{cholesky, solve};

/// Shares of the reward's variance: what neighbours have in common, what a direction explains. The rest is a noise's own.
const NEIGHBOURS: f64 = 0.7;
const DIRECTION: f64 = 0.1;
/// Prior variance of the level `m`.
const LEVEL_VARIANCE: f64 = 1.0;
/// Best noises that the climb to each place starts from.
const STARTS: usize = 6;
/// Two places are places of their own where they have less than this in common.
const APART: f64 = 0.5;
/// A place is given up when the reward around it rises by less than this share of what it rises around the best one,
/// even where doubt, in standard deviations, speaks for it.
const WORST: f64 = 0.8;
const DOUBT: f64 = 1.0;
/// Steps of the climb, each of at most half the length of a place.
const STEPS: usize = 40;

/// An evaluation as the landscape sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What its noise has in common, `u . v`, with each noise that was seen before it.
    pub alike: &'a [f64],
    /// What its reward was better than expected, in standard deviations of all.
    pub advantage: f64,
}

/// A place worth drawing around.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// How much of each evaluated noise of length 1 it is; the sum has length 1.
    pub mixture: Vec<f64>,
    /// How many evaluations say so: Kish's size of the weights that the expected reward gives them.
    pub effective_sample_size: f64,
}

/// A noise scaled to length 1; a zero stays one.
pub fn direction(noise: &[f32]) -> Vec<f32> {
    let norm = noise.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    noise.iter().map(|&x| (f64::from(x) * scale) as f32).collect()
}

/// What two noises of length 1 have in common.
pub fn alike(first: &[f32], second: &[f32]) -> f64 {
    first.iter().zip(second).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The noise with the highest reward as a place; `None` where nothing can be learnt.
pub fn best_seen(seen: &[Seen]) -> Option<Place> {
    let best = (0..seen.len()).max_by(|&a, &b| seen[a].advantage.total_cmp(&seen[b].advantage))?;
    let mixture = (0..seen.len()).map(|at| if at == best { 1.0 } else { 0.0 }).collect();
    (!is_flat(seen)).then_some(Place { mixture, effective_sample_size: 1.0 })
}

fn is_flat(seen: &[Seen]) -> bool {
    seen.iter().all(|one| one.advantage == 0.0)
}

/// The Gaussian process after the evaluations.
pub struct Landscape {
    /// What each two evaluated noises have in common, `[evaluations, evaluations]`.
    alike: Vec<f64>,
    advantages: Vec<f64>,
    /// Cholesky factor of the covariance `K` of the rewards.
    factor: Vec<f64>,
    /// `K^-1 r`.
    weights: Vec<f64>,
}

/// A point of the climb.
struct Point {
    mixture: Vec<f64>,
    /// What it has in common with each evaluated noise.
    alike: Vec<f64>,
}

impl Landscape {
    /// `None` where nothing can be learnt: no evaluations, or rewards without spread.
    pub fn new(seen: &[Seen]) -> Option<Self> {
        let count = seen.len();
        let (mut alike, mut factor) = (vec![0.0; count * count], vec![0.0; count * count]);
        for (i, one) in seen.iter().enumerate() {
            for (j, &common) in one.alike.iter().enumerate() {
                (alike[i * count + j], alike[j * count + i]) = (common, common);
                factor[i * count + j] = LEVEL_VARIANCE + covariance(common);
            }
            alike[i * count + i] = 1.0;
            factor[i * count + i] = LEVEL_VARIANCE + 1.0;
        }
        cholesky(&mut factor, count).filter(|()| !is_flat(seen))?;
        let advantages: Vec<f64> = seen.iter().map(|one| one.advantage).collect();
        let weights = solve(&factor, count, &advantages);
        Some(Self { alike, advantages, factor, weights })
    }

    /// At most `count` places around which the policy can expect the highest rewards when its samples keep `kept` of
    /// them, the best first. They are places of their own, and none is known to be much worse than the best.
    pub fn best_places(&self, kept: f64, count: usize) -> Vec<Place> {
        let mut order: Vec<usize> = (0..self.advantages.len()).collect();
        order.sort_by(|&a, &b| self.advantages[b].total_cmp(&self.advantages[a]));
        let mut chosen: Vec<Point> = Vec::new();
        let mut highest = f64::NEG_INFINITY;
        while chosen.len() < count {
            let starts = order.iter().map(|&at| self.evaluated(at)).filter(|start| is_apart(start, &chosen));
            let climbed = starts.take(STARTS).map(|start| self.climb(start, &chosen, kept));
            let Some((height, point)) = climbed.max_by(|(a, _), (b, _)| a.total_cmp(b)) else { break };
            highest = highest.max(height);
            if height + DOUBT * self.deviation(&point, kept) < WORST * highest {
                break;
            }
            chosen.push(point);
        }
        let place = |point: Point| Place {
            effective_sample_size: self.effective_sample_size(&point, kept),
            mixture: point.mixture,
        };
        chosen.into_iter().map(place).collect()
    }

    /// The advantage to be expected of a noise that has `alike` in common with each evaluated one.
    pub fn expected(&self, alike: &[f64]) -> f64 {
        LEVEL_VARIANCE * self.weights.iter().sum::<f64>() + self.height(alike, 1.0)
    }

    /// The expected reward above that of strangers, of samples that keep `kept` of what is `alike`.
    fn height(&self, alike: &[f64], kept: f64) -> f64 {
        alike.iter().zip(&self.weights).map(|(&alike, weight)| weight * covariance(kept * alike)).sum()
    }

    /// Standard deviation of the height at `point`.
    fn deviation(&self, point: &Point, kept: f64) -> f64 {
        let (with, shares) = self.shares(point, kept);
        let told: f64 = with.iter().zip(shares).map(|(a, b)| a * b).sum();
        (covariance(kept * kept) - told).max(0.0).sqrt()
    }

    /// How many evaluations tell the height at `point`.
    fn effective_sample_size(&self, point: &Point, kept: f64) -> f64 {
        let (_, shares) = self.shares(point, kept);
        let sum: f64 = shares.iter().map(|share| share.abs()).sum();
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        if squares > 0.0 { sum * sum / squares } else { 0.0 }
    }

    /// Covariance of the height at `point` with each evaluation, and the weight of each in that height.
    fn shares(&self, point: &Point, kept: f64) -> (Vec<f64>, Vec<f64>) {
        let with: Vec<f64> = point.alike.iter().map(|&alike| covariance(kept * alike)).collect();
        let shares = solve(&self.factor, self.weights.len(), &with);
        (with, shares)
    }

    /// Climbs over the sphere, never nearer to `others` than [`APART`]; -> the height and the point.
    fn climb(&self, start: Point, others: &[Point], kept: f64) -> (f64, Point) {
        let mut here = start;
        let mut highest = self.height(&here.alike, kept);
        let mut step = 0.5;
        for _ in 0..STEPS {
            let pulls = self.weights.iter().zip(&here.alike);
            let Some(uphill) =
                self.point(pulls.map(|(weight, &alike)| weight * slope(kept * alike)).collect())
            else {
                break;
            };
            let Some(there) = here.moved(step, &uphill) else { break };
            let reached = self.height(&there.alike, kept);
            if reached > highest && is_apart(&there, others) {
                (here, highest) = (there, reached);
            } else {
                step *= 0.5;
            }
        }
        (highest, here)
    }

    /// An evaluated noise.
    fn evaluated(&self, at: usize) -> Point {
        let count = self.weights.len();
        let mut mixture = vec![0.0; count];
        mixture[at] = 1.0;
        Point { mixture, alike: self.alike[at * count..(at + 1) * count].to_vec() }
    }

    /// The mixture of evaluated noises, scaled to length 1; `None` of a zero.
    fn point(&self, mixture: Vec<f64>) -> Option<Point> {
        let rows = self.alike.chunks_exact(self.weights.len().max(1));
        let alike = rows.map(|row| row.iter().zip(&mixture).map(|(a, b)| a * b).sum()).collect();
        Point { mixture, alike }.scaled()
    }
}

impl Point {
    fn moved(&self, step: f64, direction: &Point) -> Option<Self> {
        let add = |from: &[f64], to: &[f64]| from.iter().zip(to).map(|(a, b)| a + step * b).collect();
        let mixture = add(&self.mixture, &direction.mixture);
        Self { mixture, alike: add(&self.alike, &direction.alike) }.scaled()
    }

    /// Scaled to length 1; `None` of a zero.
    fn scaled(mut self) -> Option<Self> {
        let norm = self.common(&self).sqrt();
        if !norm.is_finite() || norm <= 0.0 {
            return None;
        }
        self.mixture.iter_mut().chain(&mut self.alike).for_each(|value| *value /= norm);
        Some(self)
    }

    /// What it has in common with `other`.
    fn common(&self, other: &Self) -> f64 {
        self.mixture.iter().zip(&other.alike).map(|(a, b)| a * b).sum()
    }
}

/// Whether `point` is a place of its own beside `others`.
fn is_apart(point: &Point, others: &[Point]) -> bool {
    others.iter().all(|other| point.common(other) < APART)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantage::advantages;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    const SIZE: usize = 400;

    fn random(index: u32) -> Vec<f32> {
        direction(&Stream::new(SampleKey { seed: 3, iteration: 0, index }, Domain::Fake).normals(SIZE))
    }

    fn near(centre: &[f32], index: u32, kept: f32) -> Vec<f32> {
        let own = random(index);
        let mixed: Vec<f32> =
            centre.iter().zip(own).map(|(c, o)| kept * c + (1.0 - kept * kept).sqrt() * o).collect();
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

        fn strangers(count: u32, reward: impl Fn(f64) -> f64) -> Self {
            let mut all = Self::default();
            (0..count).for_each(|at| all.add(random(at), reward(f64::from(at))));
            all
        }

        fn alike(&self, noise: &[f32]) -> Vec<f64> {
            self.noises.iter().map(|other| alike(noise, other)).collect()
        }

        fn landscape(&self) -> Option<Landscape> {
            let rows: Vec<Vec<f64>> = self.noises.iter().map(|noise| self.alike(noise)).collect();
            let rows = rows.iter().enumerate().map(|(at, row)| &row[..at]);
            let seen: Vec<Seen> = rows
                .zip(advantages(&self.rewards))
                .map(|(alike, advantage)| Seen { alike, advantage })
                .collect();
            Landscape::new(&seen)
        }

        fn best_places(&self, count: usize) -> Vec<Place> {
            self.landscape().expect("the rewards differ").best_places(0.7, count)
        }

        /// What `place` has in common with `noise`.
        fn common(&self, place: &Place, noise: &[f32]) -> f64 {
            self.alike(noise).iter().zip(&place.mixture).map(|(a, b)| a * b).sum()
        }
    }

    #[test]
    fn of_strangers_the_best_is_the_place() {
        let all = Evaluations::strangers(16, |at| at % 7.0);
        let best = all.best_places(1).remove(0);
        assert!(all.common(&best, &all.noises[6]).max(all.common(&best, &all.noises[13])) > 0.9);
    }

    #[test]
    fn a_good_neighbourhood_beats_a_lucky_stranger() {
        let (good, lucky) = (random(100), random(200));
        let mut all = Evaluations::strangers(24, |at| -0.5 + 0.04 * at);
        (0..8).for_each(|at| all.add(near(&good, 300 + at, 0.8), 2.0 + 0.1 * f64::from(at % 3)));
        all.add(lucky.clone(), 2.6);
        (0..4).for_each(|at| all.add(near(&lucky, 400 + at, 0.8), -0.3));
        let best = all.best_places(1).remove(0);
        let reached = all.common(&best, &good);
        assert!(reached > 0.9, "the middle of the good ones, nearer to it than any: {reached}");
        assert!(all.common(&best, &lucky) < 0.2);
        let length: f64 = all
            .noises
            .iter()
            .map(|noise| all.common(&best, noise))
            .zip(&best.mixture)
            .map(|(a, b)| a * b)
            .sum();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }

    #[test]
    fn two_good_neighbourhoods_are_two_places_and_a_poor_one_is_none() {
        let (good, other, poor) = (random(100), random(200), random(300));
        let mut all = Evaluations::strangers(24, |at| -0.5 + 0.04 * at);
        for (centre, reward, first) in [(&good, 2.2, 400), (&other, 2.0, 500), (&poor, -1.0, 600)] {
            (first..first + 8)
                .for_each(|at| all.add(near(centre, at, 0.8), reward + 0.1 * f64::from(at % 3)));
        }
        let best = all.best_places(4);
        assert_eq!(best.len(), 2, "no third one rises far enough");
        assert!(all.common(&best[0], &good) > 0.9 && all.common(&best[1], &other) > 0.9);
        assert!(best.iter().all(|place| all.common(place, &poor) < 0.3), "known to be poor");
        assert_eq!(all.best_places(1), best[..1]);
    }

    #[test]
    fn what_is_expected_falls_from_the_neighbours_to_the_strangers() {
        let good = random(100);
        let mut all = Evaluations::strangers(24, |at| at % 3.0 - 1.0);
        (0..8).for_each(|at| all.add(near(&good, 300 + at, 0.8), 3.0));
        let landscape = all.landscape().expect("the rewards differ");
        let expected = [good.clone(), near(&good, 400, 0.7), random(500)]
            .map(|noise| landscape.expected(&all.alike(&noise)));
        assert!(expected[0] > expected[1] + 0.2 && expected[1] > expected[2] + 0.2, "{expected:?}");
        assert!(expected[2].abs() < 0.5, "nothing is known of a stranger but the level: {}", expected[2]);
    }

    #[test]
    fn flat_rewards_have_no_best_place() {
        assert!(Evaluations::strangers(3, |_| 1.0).landscape().is_none());
        assert!(Evaluations::default().landscape().is_none());
        assert_eq!(best_seen(&[Seen { alike: &[], advantage: 0.0 }; 3]), None);
        assert_eq!(best_seen(&[]), None);
    }
}

//! Where in the space of noises the reward is high, told from all evaluations so far: a Gaussian process.
//!
//! One high reward says little about the noise's neighbours: where a prompt asks for two objects, the default model's
//! rewards of two noises that have 0.7 in common correlate by 0.1 to 0.3 only. What is wanted are noises whose
//! neighbourhoods are good, and the evaluations near them tell that together.
//!
//! Model: `r_i = m + f(u_i) + e_i` with the low frequencies `u_i` of a noise scaled to length 1 and
//! `cov(f(u), f(v)) = a (u . v)_+^4 + b (u . v)`: noises that share a layout have similar rewards, the others only as
//! far as a direction explains. The reward of the policy with mean along `v` is the posterior mean at `c v`, where
//! `c` is the share that a sample keeps of the mean.
//! Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2 and 4.2.

use crate::linear_system::{cholesky, solve};

/// Shares of the reward's variance: what neighbours have in common, what a direction explains. The rest is a noise's own.
const NEIGHBOURS: f64 = 0.7;
const DIRECTION: f64 = 0.1;
/// Prior variance of the level `m`.
const LEVEL_VARIANCE: f64 = 1.0;
/// Best noises that the climb to each place starts from.
const STARTS: usize = 6;
/// Two places are layouts of their own where they have less than this in common.
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
    /// Low frequencies of the noise, scaled to length 1.
    pub layout: &'a [f32],
    /// What its reward was better than expected, in standard deviations of all.
    pub advantage: f64,
}

/// A layout worth drawing around.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Low frequencies, of length 1.
    pub layout: Vec<f32>,
    /// How many evaluations say so: Kish's size of the weights that the expected reward gives them.
    pub effective_sample_size: f64,
}

/// The layout of a noise with these low frequencies: they are scaled to length 1.
pub fn layout(coefficients: &[f32]) -> Vec<f32> {
    let values: Vec<f64> = coefficients.iter().map(|&x| f64::from(x)).collect();
    scaled(&values).unwrap_or(values).into_iter().map(|x| x as f32).collect()
}

/// At most `count` places around which the policy can expect the highest rewards when its samples keep `kept` of them,
/// the best first. They are layouts of their own, and none is known to be much worse than the best. Empty where nothing
/// can be learnt: no evaluations, or rewards without spread.
pub fn best_places(seen: &[Seen], kept: f64, count: usize) -> Vec<Place> {
    if is_flat(seen) {
        return Vec::new();
    }
    let Some(landscape) = Landscape::new(seen, kept) else { return Vec::new() };
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|&a, &b| seen[b].advantage.total_cmp(&seen[a].advantage));
    let mut chosen: Vec<Vec<f32>> = Vec::new();
    let mut highest = f64::NEG_INFINITY;
    while chosen.len() < count {
        let starts = order.iter().map(|&at| seen[at].layout).filter(|layout| is_apart(layout, &chosen));
        let climbed = starts.take(STARTS).map(|start| landscape.climb(start, &chosen));
        let Some((height, layout)) = climbed.max_by(|(a, _), (b, _)| a.total_cmp(b)) else { break };
        highest = highest.max(height);
        if height + DOUBT * landscape.deviation(&layout) < WORST * highest {
            break;
        }
        chosen.push(layout);
    }
    chosen
        .into_iter()
        .map(|layout| Place { effective_sample_size: landscape.effective_sample_size(&layout), layout })
        .collect()
}

/// The layout of the noise with the highest reward; `None` where nothing can be learnt.
pub fn best_seen(seen: &[Seen]) -> Option<Place> {
    let best = seen.iter().max_by(|a, b| a.advantage.total_cmp(&b.advantage)).filter(|_| !is_flat(seen))?;
    Some(Place { layout: best.layout.to_vec(), effective_sample_size: 1.0 })
}

/// The advantage to be expected of a noise with each of `layouts`. Empty where nothing can be learnt.
pub fn expected(seen: &[Seen], layouts: &[Vec<f32>]) -> Vec<f64> {
    let landscape = Landscape::new(seen, 1.0).filter(|_| !is_flat(seen));
    let expected = |landscape: Landscape| {
        let level = LEVEL_VARIANCE * landscape.weights.iter().sum::<f64>();
        layouts.iter().map(|layout| level + landscape.height(&landscape.alike(layout))).collect()
    };
    landscape.map(expected).unwrap_or_default()
}

fn is_flat(seen: &[Seen]) -> bool {
    seen.iter().all(|one| one.advantage == 0.0)
}

/// Whether `layout` is one of its own beside `others`.
fn is_apart(layout: &[f32], others: &[Vec<f32>]) -> bool {
    others.iter().all(|other| dot(layout, other) < APART)
}

/// The Gaussian process after the evaluations.
struct Landscape<'a> {
    seen: &'a [Seen<'a>],
    kept: f64,
    /// Cholesky factor of `K`.
    factor: Vec<f64>,
    /// `K^-1 r`.
    weights: Vec<f64>,
}

impl<'a> Landscape<'a> {
    fn new(seen: &'a [Seen<'a>], kept: f64) -> Option<Self> {
        let count = seen.len();
        let mut factor = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                factor[i * count + j] = LEVEL_VARIANCE + covariance(dot(seen[i].layout, seen[j].layout));
            }
            factor[i * count + i] += 1.0 - NEIGHBOURS - DIRECTION;
        }
        cholesky(&mut factor, count)?;
        let advantages: Vec<f64> = seen.iter().map(|one| one.advantage).collect();
        let weights = solve(&factor, count, &advantages);
        Some(Self { seen, kept, factor, weights })
    }

    /// What a sample of the policy around `layout` has in common with each evaluation.
    fn alike(&self, layout: &[f32]) -> Vec<f64> {
        self.seen.iter().map(|one| self.kept * dot(layout, one.layout)).collect()
    }

    /// The expected reward above that of strangers.
    fn height(&self, alike: &[f64]) -> f64 {
        alike.iter().zip(&self.weights).map(|(&alike, weight)| weight * covariance(alike)).sum()
    }

    /// Standard deviation of the height at `layout`.
    fn deviation(&self, layout: &[f32]) -> f64 {
        let (with, shares) = self.shares(layout);
        let told: f64 = with.iter().zip(shares).map(|(a, b)| a * b).sum();
        (covariance(self.kept * self.kept) - told).max(0.0).sqrt()
    }

    /// How many evaluations tell the height at `layout`.
    fn effective_sample_size(&self, layout: &[f32]) -> f64 {
        let (_, shares) = self.shares(layout);
        let sum: f64 = shares.iter().map(|share| share.abs()).sum();
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        if squares > 0.0 { sum * sum / squares } else { 0.0 }
    }

    /// Covariance of the height at `layout` with each evaluation, and the weight of each in that height.
    fn shares(&self, layout: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let with: Vec<f64> = self.alike(layout).into_iter().map(covariance).collect();
        let shares = solve(&self.factor, self.seen.len(), &with);
        (with, shares)
    }

    /// Climbs over the sphere, never nearer to `others` than [`APART`]; -> the height and the layout.
    fn climb(&self, start: &[f32], others: &[Vec<f32>]) -> (f64, Vec<f32>) {
        let mut layout = start.to_vec();
        let mut here = self.alike(&layout);
        let mut highest = self.height(&here);
        let mut step = 0.5;
        for _ in 0..STEPS {
            let mut gradient = vec![0.0; layout.len()];
            for ((one, weight), &alike) in self.seen.iter().zip(&self.weights).zip(&here) {
                let pull = weight * slope(alike);
                gradient.iter_mut().zip(one.layout).for_each(|(sum, &x)| *sum += pull * f64::from(x));
            }
            let Some(uphill) = scaled(&gradient) else { break };
            let moved: Vec<f64> = layout.iter().zip(&uphill).map(|(&p, g)| f64::from(p) + step * g).collect();
            let Some(moved) = scaled(&moved) else { break };
            let moved: Vec<f32> = moved.into_iter().map(|x| x as f32).collect();
            let there = self.alike(&moved);
            let reached = self.height(&there);
            if reached > highest && is_apart(&moved, others) {
                (layout, here, highest) = (moved, there, reached);
            } else {
                step *= 0.5;
            }
        }
        (highest, layout)
    }
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

/// Scaled to length 1; `None` of a zero.
fn scaled(values: &[f64]) -> Option<Vec<f64>> {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    (norm > 0.0 && norm.is_finite()).then(|| values.iter().map(|value| value / norm).collect())
}

fn dot(first: &[f32], second: &[f32]) -> f64 {
    first.iter().zip(second).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantage::advantages;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    const SIZE: usize = 400;

    fn random(index: u32) -> Vec<f32> {
        layout(&Stream::new(SampleKey { seed: 3, iteration: 0, index }, Domain::Fake).normals(SIZE))
    }

    fn near(centre: &[f32], index: u32, kept: f32) -> Vec<f32> {
        let own = random(index);
        let mixed: Vec<f32> =
            centre.iter().zip(own).map(|(c, o)| kept * c + (1.0 - kept * kept).sqrt() * o).collect();
        layout(&mixed)
    }

    /// Layouts with their rewards, as advantages.
    fn standardised(places: &[(Vec<f32>, f64)]) -> Vec<Seen<'_>> {
        let rewards: Vec<f64> = places.iter().map(|(_, reward)| *reward).collect();
        let scaled = advantages(&rewards);
        places.iter().zip(scaled).map(|((layout, _), advantage)| Seen { layout, advantage }).collect()
    }

    #[test]
    fn of_strangers_the_best_is_the_place() {
        let places: Vec<Vec<f32>> = (0..16).map(random).collect();
        let seen: Vec<Seen> = places
            .iter()
            .zip(0..)
            .map(|(layout, at)| Seen { layout, advantage: f64::from(at % 7) - 3.0 })
            .collect();
        let best = best_places(&seen, 0.7, 1).remove(0).layout;
        assert!(dot(&best, &places[6]).max(dot(&best, &places[13])) > 0.9);
    }

    #[test]
    fn a_good_neighbourhood_beats_a_lucky_stranger() {
        let (good, lucky) = (random(100), random(200));
        let mut places: Vec<(Vec<f32>, f64)> =
            (0..24).map(|at| (random(at), -0.5 + 0.04 * f64::from(at))).collect();
        places.extend((0..8).map(|at| (near(&good, 300 + at, 0.8), 2.0 + 0.1 * f64::from(at % 3))));
        places.push((lucky.clone(), 2.6));
        places.extend((0..4).map(|at| (near(&lucky, 400 + at, 0.8), -0.3)));
        let seen = standardised(&places);
        let best = best_places(&seen, 0.7, 1).remove(0).layout;
        assert!(
            dot(&best, &good) > 0.9,
            "the middle of the good ones, nearer to it than any: {}",
            dot(&best, &good)
        );
        assert!(dot(&best, &lucky) < 0.2);
    }

    #[test]
    fn two_good_neighbourhoods_are_two_places_and_a_poor_one_is_none() {
        let (good, other, poor) = (random(100), random(200), random(300));
        let mut places: Vec<(Vec<f32>, f64)> =
            (0..24).map(|at| (random(at), -0.5 + 0.04 * f64::from(at))).collect();
        for (centre, reward, first) in [(&good, 2.2, 400), (&other, 2.0, 500), (&poor, -1.0, 600)] {
            let own = (first..first + 8).map(|at| (near(centre, at, 0.8), reward + 0.1 * f64::from(at % 3)));
            places.extend(own);
        }
        let seen = standardised(&places);
        let best = best_places(&seen, 0.7, 4);
        assert_eq!(best.len(), 2, "no third one rises far enough");
        assert!(dot(&best[0].layout, &good) > 0.9 && dot(&best[1].layout, &other) > 0.9);
        assert!(best.iter().all(|place| dot(&place.layout, &poor) < 0.3), "known to be poor");
        assert_eq!(best_places(&seen, 0.7, 1), best[..1]);
    }

    #[test]
    fn what_is_expected_falls_from_the_neighbours_to_the_strangers() {
        let good = random(100);
        let mut places: Vec<(Vec<f32>, f64)> =
            (0..24).map(|at| (random(at), f64::from(at % 3) - 1.0)).collect();
        places.extend((0..8).map(|at| (near(&good, 300 + at, 0.8), 3.0)));
        let layouts = [good.clone(), near(&good, 400, 0.7), random(500)];
        let expected = expected(&standardised(&places), &layouts);
        assert!(expected[0] > expected[1] + 0.2 && expected[1] > expected[2] + 0.2, "{expected:?}");
        assert!(expected[2].abs() < 0.5, "nothing is known of a stranger but the level: {}", expected[2]);
    }

    #[test]
    fn flat_rewards_have_no_best_place() {
        let layout = random(1);
        assert!(best_places(&[Seen { layout: &layout, advantage: 0.0 }; 3], 0.7, 2).is_empty());
        assert_eq!(best_seen(&[Seen { layout: &layout, advantage: 0.0 }; 3]), None);
        assert!(best_places(&[], 0.7, 2).is_empty());
        assert!(expected(&[], &[random(1)]).is_empty());
    }
}

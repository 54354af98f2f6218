//! Bayesian regression of the reward on the frequency coefficients of the noise, over all evaluations so far.
//!
//! Model: `u_i = b + g . c_i + e_i` with utility `u`, coefficients `c` and prior `g_j ~ N(0, tau^2 w(band j))`, where
//! `w` gives each octave of a run of octaves the same variance and 0 to all others. A prompt about a place is decided
//! by the mean colour of the noise, one about a colour by what lies a few octaves higher, and few samples do not tell
//! which it is: the posterior is averaged over the runs by their evidence. The share of explained variance `tau^2` of
//! each run and the correlation inside antithetic pairs (their even part, which no direction explains) maximise the
//! evidence. With fewer evaluations than coefficients the posterior is found in the space of the evaluations, so its
//! cost grows with `n^3` and not with `d`.
//! Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.1, 5.2 and 5.4.

use std::ops::RangeInclusive;

use crate::linear_system::{cholesky, solve};
use crate::objective::effective_sample_size;
use crate::statistics::standard_deviation;

/// Candidate shares of the utility's variance that the direction explains.
const SHARES: [f64; 8] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95];
/// Candidate correlations of the unexplained parts of an antithetic pair.
const PAIR_CORRELATIONS: [f64; 3] = [0.0, 0.4, 0.8];
/// Prior variance of the intercept, wide against utilities of variance 1.
const INTERCEPT_VARIANCE: f64 = 10.0;
/// Less than this no direction of few samples is aligned by chance alone.
const SMALLEST_ALIGNMENT: f64 = 0.05;
/// One evaluation as the regression sees it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Frequency coefficients of the noise.
    pub coefficients: &'a [f32],
    /// Advantage of the sample, on a scale of variance about 1.
    pub utility: f64,
    /// Observations with the same number are an antithetic pair; `None` for independent samples.
    pub pair: Option<u64>,
    /// Variance of this observation's unexplained part relative to the newest ones.
    pub noise: f64,
}

/// The posterior of the direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Posterior mean of `g`, one number a coefficient.
    pub gradient: Vec<f64>,
    /// The explained share `tau^2`, averaged over the runs.
    pub explained_share: f64,
    /// Expected cosine between the gradient and the true direction, above 0 and at most 1.
    pub alignment: f64,
    /// Effective number of observations under their noise.
    pub effective_sample_size: f64,
}

/// Fits the model; `bands` has the frequency band of each coefficient. `None` where nothing can be learnt:
/// fewer than two observations or utilities without spread.
pub fn fit(observations: &[Observation], bands: &[usize]) -> Option<Fit> {
    let first = observations.first()?.utility;
    if observations.iter().all(|observation| observation.utility == first) {
        return None;
    }
    let problem = Problem::new(observations, bands);
    let candidates = problem.candidates();
    let highest = candidates.iter().map(|one| one.evidence).fold(f64::NEG_INFINITY, f64::max);
    let mut gradient = vec![0.0; bands.len()];
    let (mut total, mut share) = (0.0, 0.0);
    for Candidate { run, share: explained, evidence, dual } in &candidates {
        let probability = libm::exp(evidence - highest);
        total += probability;
        share += probability * explained;
        let weights = problem.prior(run);
        let mut along = vec![0.0; bands.len()];
        for (observation, dual) in observations.iter().zip(dual) {
            for (sum, &coefficient) in along.iter_mut().zip(observation.coefficients) {
                *sum += dual * f64::from(coefficient);
            }
        }
        for ((slope, along), &band) in gradient.iter_mut().zip(along).zip(bands) {
            *slope += probability * explained * weights[octave(band)] * along;
        }
    }
    if total == 0.0 {
        return None;
    }
    gradient.iter_mut().for_each(|slope| *slope /= total);
    let share = share / total;
    // Under the prior `E |g|^2` is the explained variance, of which the posterior mean has kept `|gradient|^2`.
    let utilities: Vec<f64> = observations.iter().map(|observation| observation.utility).collect();
    let variance = standard_deviation(&utilities).powi(2);
    let kept = gradient.iter().map(|slope| slope * slope).sum::<f64>() / (share * variance);
    let precisions: Vec<f64> = observations.iter().map(|observation| 1.0 / observation.noise).collect();
    Some(Fit {
        gradient,
        explained_share: share,
        alignment: kept.sqrt().clamp(SMALLEST_ALIGNMENT, 1.0),
        effective_sample_size: effective_sample_size(&precisions),
    })
}

/// The octave of a band: the constant alone, then 1, 2, 3 to 4, 5 to 8 and so on.
fn octave(band: usize) -> usize {
    if band == 0 { 0 } else { 1 + band.next_power_of_two().ilog2() as usize }
}

/// A run of octaves with the share of variance that it explains best, the evidence for it and its dual solution.
struct Candidate {
    run: RangeInclusive<usize>,
    share: f64,
    evidence: f64,
    dual: Vec<f64>,
}

/// Gram matrices of the coefficients, one an octave, and what else the evidence needs.
struct Problem<'a> {
    observations: &'a [Observation<'a>],
    /// `gram[octave][i * n + j]` for `j <= i`.
    gram: Vec<Vec<f64>>,
    /// Coefficients of each octave.
    sizes: Vec<usize>,
}

impl<'a> Problem<'a> {
    fn new(observations: &'a [Observation<'a>], bands: &[usize]) -> Self {
        let count = observations.len();
        let octaves = bands.iter().map(|&band| octave(band) + 1).max().unwrap_or(0);
        let mut members = vec![Vec::new(); octaves];
        bands.iter().enumerate().for_each(|(at, &band)| members[octave(band)].push(at));
        let gram = members.iter().map(|members| {
            let rows: Vec<Vec<f32>> = observations
                .iter()
                .map(|observation| members.iter().map(|&at| observation.coefficients[at]).collect())
                .collect();
            let mut gram = vec![0.0; count * count];
            for i in 0..count {
                for j in 0..=i {
                    gram[i * count + j] =
                        rows[i].iter().zip(&rows[j]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                }
            }
            gram
        });
        Self { observations, gram: gram.collect(), sizes: members.iter().map(Vec::len).collect() }
    }

    /// Prior variance of one coefficient in each octave: the same sum in every octave of `run`, 1 in all.
    fn prior(&self, run: &RangeInclusive<usize>) -> Vec<f64> {
        let inhabited = self.sizes[run.clone()].iter().filter(|&&size| size > 0).count() as f64;
        let weight = |(octave, &size): (usize, &usize)| {
            if run.contains(&octave) && size > 0 { 1.0 / (inhabited * size as f64) } else { 0.0 }
        };
        self.sizes.iter().enumerate().map(weight).collect()
    }

    /// Every run of octaves with its best share, under the pair correlation that suits the widest run best.
    fn candidates(&self) -> Vec<Candidate> {
        let octaves = self.sizes.len();
        let paired = self.observations.iter().any(|observation| observation.pair.is_some());
        let correlations = if paired { &PAIR_CORRELATIONS[..] } else { &PAIR_CORRELATIONS[..1] };
        let best_of = |run: RangeInclusive<usize>, correlations: &[f64]| {
            let tried = correlations.iter().flat_map(|&correlation| SHARES.map(|share| (correlation, share)));
            tried
                .filter_map(|(correlation, share)| {
                    let (evidence, dual) = self.evidence(&run, share, correlation)?;
                    Some((correlation, Candidate { run: run.clone(), share, evidence, dual }))
                })
                .max_by(|(_, a), (_, b)| a.evidence.total_cmp(&b.evidence))
        };
        let Some((correlation, _)) = best_of(0..=octaves - 1, correlations) else { return Vec::new() };
        let runs = (0..octaves).flat_map(|first| (first..octaves).map(move |last| first..=last));
        runs.filter(|run| self.sizes[run.clone()].iter().any(|&size| size > 0))
            .filter_map(|run| best_of(run, &[correlation]).map(|(_, candidate)| candidate))
            .collect()
    }

    /// Log-evidence up to a constant, `-n/2 ln V - ln|A| / 2` with `V = u' A^-1 u / n`, and `A^-1 u`, where
    /// `V A` is the utilities' covariance.
    fn evidence(&self, run: &RangeInclusive<usize>, share: f64, correlation: f64) -> Option<(f64, Vec<f64>)> {
        let count = self.observations.len();
        let weights = self.prior(run);
        let mut matrix = vec![INTERCEPT_VARIANCE; count * count];
        for (gram, weight) in self.gram.iter().zip(weights).filter(|(_, weight)| *weight > 0.0) {
            matrix.iter_mut().zip(gram).for_each(|(sum, product)| *sum += share * weight * product);
        }
        for (i, first) in self.observations.iter().enumerate() {
            matrix[i * count + i] += (1.0 - share) * first.noise;
            for (j, second) in self.observations[..i].iter().enumerate() {
                if first.pair.is_some() && first.pair == second.pair {
                    matrix[i * count + j] +=
                        (1.0 - share) * correlation * (first.noise * second.noise).sqrt();
                }
            }
        }
        let utilities: Vec<f64> = self.observations.iter().map(|observation| observation.utility).collect();
        let half_log_determinant = cholesky(&mut matrix, count)?;
        let dual = solve(&matrix, count, &utilities);
        let variance = utilities.iter().zip(&dual).map(|(u, a)| u * a).sum::<f64>() / count as f64;
        Some((-0.5 * count as f64 * libm::log(variance) - half_log_determinant, dual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::SampleKey;
    use crate::rng::{Domain, Stream};

    fn stream(index: u32) -> Stream {
        Stream::new(SampleKey { seed: 5, iteration: 0, index }, Domain::Fake)
    }

    fn cosine(first: &[f64], second: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(first, second) / (dot(first, first) * dot(second, second)).sqrt()
    }

    #[test]
    fn finds_a_low_frequency_direction_with_fewer_samples_than_coefficients() {
        let bands: Vec<usize> = (0..256).map(|at| (at as f64).sqrt() as usize).collect();
        let truth: Vec<f64> = bands.iter().map(|&band| if band < 4 { 0.2 } else { 0.0 }).collect();
        let rows: Vec<Vec<f32>> = (0..96).map(|index| stream(index).normals(256)).collect();
        let errors = stream(1000).normals(96);
        let observations: Vec<Observation> = rows
            .iter()
            .zip(&errors)
            .map(|(row, &error)| Observation {
                coefficients: row,
                utility: 3.0
                    + row.iter().zip(&truth).map(|(&c, g)| f64::from(c) * g).sum::<f64>()
                    + 0.5 * f64::from(error),
                pair: None,
                noise: 1.0,
            })
            .collect();
        let spectral = fit(&observations, &bands).unwrap();
        let ridge = fit(&observations, &vec![0; 256]).unwrap();
        assert!(cosine(&spectral.gradient, &truth) > 0.85, "{}", cosine(&spectral.gradient, &truth));
        assert!(cosine(&spectral.gradient, &truth) > cosine(&ridge.gradient, &truth) + 0.1);
        assert!(spectral.explained_share >= 0.4);
        let aligned = cosine(&spectral.gradient, &truth);
        assert!((spectral.alignment - aligned).abs() < 0.2, "{} against {aligned}", spectral.alignment);
    }

    #[test]
    fn flat_utilities_teach_nothing() {
        let row = [1.0f32, 2.0];
        let observation = Observation { coefficients: &row, utility: 1.0, pair: None, noise: 1.0 };
        assert_eq!(fit(&[observation, observation], &[0, 1]), None);
        assert_eq!(fit(&[], &[0, 1]), None);
    }
}

//! Pseudo numerical methods: a linear multistep method (PLMS), and the Runge-Kutta steps (PRK) that may come before it.
//!
//! Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds", ICLR 2022, equations 9, 12 and 13.

use noisefind_nn::error::Result;

use super::betas::{MoreBetas, ZeroSnr, alphas_cumprod};
use super::sigmas::{Points, level_at, timesteps};
use super::step::{Combination, Source, Step};
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig, steps_refused};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "pndm",
    class_name: "PNDMScheduler",
    predictions: &[PredictionType::Epsilon, PredictionType::VPrediction],
    parameters: &[
        ("num_train_timesteps", "1000"),
        ("beta_start", "0.0001"),
        ("beta_end", "0.02"),
        ("beta_schedule", "\"linear\""),
        ("trained_betas", "null"),
        ("skip_prk_steps", "false"),
        ("set_alpha_to_one", "false"),
        ("prediction_type", "\"epsilon\""),
        ("timestep_spacing", "\"leading\""),
        ("steps_offset", "0"),
    ],
    aliases: &[],
    schedule,
};

/// Runge-Kutta steps, each of four calls.
const PRK_STEPS: usize = 3;
const CALLS: usize = 4;

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let alphas = alphas_cumprod(config, ZeroSnr::Unknown, MoreBetas::None)?;
    let times = timesteps(config, request.steps, Points::Whole, alphas.len())?;
    let stride = (alphas.len() / request.steps) as f64;
    let beyond = if config.flag("set_alpha_to_one") { 1.0 } else { f64::from(alphas[0]) };
    let sampler = Sampler { config, prediction: config.prediction()?, alphas, beyond, stride };
    let steps = if config.flag("skip_prk_steps") {
        sampler.multistep_only(times)
    } else {
        sampler.with_runge_kutta(&times, request.steps)
    };
    Ok(Schedule::of(steps?, 1.0))
}

struct Sampler<'a> {
    config: &'a SchedulerConfig,
    prediction: PredictionType,
    alphas: Vec<f32>,
    beyond: f64,
    stride: f64,
}

impl Sampler<'_> {
    /// The multistep method alone; its second call takes the first step again with a better slope.
    fn multistep_only(&self, mut times: Vec<f64>) -> Result<Vec<Step>> {
        if times.len() > 1 {
            times.insert(1, times[1]);
        }
        let step = |(call, &time): (usize, &f64)| match call {
            0 => Ok(Step {
                value: Some(Combination::of(Source::Output)),
                anchor: Some(Combination::of(Source::Sample)),
                ..self.step(time, time, time - self.stride, Source::Sample, slope(&[1.0]))?
            }),
            1 => {
                let slope = vec![(Source::Output, 0.5), (Source::Past(0), 0.5)];
                self.step(time, time + self.stride, time, Source::Anchor, slope)
            }
            later => {
                let order = later.min(4);
                let weights: &[f64] = match order {
                    2 => &[3.0 / 2.0, -1.0 / 2.0],
                    3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
                    _ => &ADAMS_BASHFORTH,
                };
                self.multistep(time, slope(weights))
            }
        };
        times.iter().enumerate().map(step).collect()
    }

    /// Three Runge-Kutta steps, and the multistep method from their outputs on.
    fn with_runge_kutta(&self, times: &[f64], steps: usize) -> Result<Vec<Step>> {
        if times.len() <= PRK_STEPS {
            return Err(steps_refused(
                steps,
                format!("{} and more for skip_prk_steps = false", PRK_STEPS + 1),
            ));
        }
        let half = (self.alphas.len() / steps / 2) as f64;
        let mut calls = Vec::new();
        for at in 0..PRK_STEPS {
            let (start, end) = (times[at], times[at + 1]);
            for (call, time) in [start, end + half, end + half, end].into_iter().enumerate() {
                let before = if call % 2 == 0 { time - half } else { time };
                let (from, slope) = match call {
                    0 => (Source::Sample, slope(&[1.0])),
                    1 | 2 => (Source::Anchor, slope(&[1.0])),
                    _ => (Source::Anchor, slope(&[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0])), // equation 13
                };
                let mut step = self.step(time, start, before, from, slope)?;
                step.value = Some(Combination::of(Source::Output));
                if call == 0 {
                    step.anchor = Some(Combination::of(Source::Sample));
                }
                calls.push(step);
            }
        }
        // The last multistep weights want the outputs at the starts of three Runge-Kutta steps.
        for (at, &time) in times[PRK_STEPS..].iter().enumerate() {
            let place = |back: usize| {
                if back <= at { back } else { at + CALLS * (back - at) }
            };
            let terms = ADAMS_BASHFORTH.iter().enumerate().map(|(back, &weight)| match back {
                0 => (Source::Output, weight),
                back => (Source::Past(place(back) - 1), weight),
            });
            calls.push(self.multistep(time, terms.collect())?);
        }
        Ok(calls)
    }

    fn multistep(&self, time: f64, slope: Vec<(Source, f64)>) -> Result<Step> {
        let step = self.step(time, time, time - self.stride, Source::Sample, slope)?;
        Ok(Step { value: Some(Combination::of(Source::Output)), ..step })
    }

    /// A call at `time` that moves `from` between two times along a slope (equation 9).
    fn step(&self, time: f64, start: f64, end: f64, from: Source, slope: Vec<(Source, f64)>) -> Result<Step> {
        let alpha = level_at(self.config, &self.alphas, start)?;
        let alpha_prev = if end >= 0.0 { level_at(self.config, &self.alphas, end)? } else { self.beyond };
        let denominator = alpha * (1.0 - alpha_prev).sqrt() + (alpha * (1.0 - alpha) * alpha_prev).sqrt();
        let factor = -(alpha_prev - alpha) / denominator;
        let epsilon = self.prediction.epsilon(alpha.sqrt(), (1.0 - alpha).sqrt());
        let scale = (alpha_prev / alpha).sqrt() + factor * epsilon[0];
        let next =
            slope.into_iter().fold(Combination::default().plus(from, scale), |next, (source, weight)| {
                next.plus(source, factor * epsilon[1] * weight)
            });
        Ok(Step { next, ..Step::at(time) })
    }
}

/// Weights of the newest outputs, newest first (equation 12).
const ADAMS_BASHFORTH: [f64; 4] = [55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0];

/// A slope of the newest outputs, newest first.
fn slope(weights: &[f64]) -> Vec<(Source, f64)> {
    let source = |back: usize| if back == 0 { Source::Output } else { Source::Past(back - 1) };
    weights.iter().enumerate().map(|(back, &weight)| (source(back), weight)).collect()
}

//! Samplers: which noise levels are visited, and how a sample moves from one to the next.
//!
//! A schedule is computed once; a solver is one function of a sample's state, the denoiser's output and, for
//! stochastic solvers, noise. Samples are plain f32 numbers on the host, so that every device takes the same path.
//! Reference: the schedulers of diffusers 0.42.1.

mod config;
mod ddim;
mod euler;
mod flow;
mod lcm;
mod multistep;
mod pndm;
mod tables;

pub use config::{BetaSchedule, PredictionType, SchedulerConfig, SolverKind, TimestepSpacing};
use noisefind_nn::error::{Error, Result};
use tables::alphas_cumprod;

/// The steps from noise to picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    steps: Vec<Step>,
    init_noise_sigma: f32,
    prediction: PredictionType,
    bound: Bound,
}

/// One call of the denoiser and what follows it.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    timestep: f32,
    /// Multiplies the sample before the denoiser sees it.
    input_scale: f32,
    update: Update,
}

/// The solver's numbers for one step.
#[derive(Clone, Debug, PartialEq)]
enum Update {
    Ddim(ddim::Step),
    Pndm(pndm::Step),
    Euler(euler::Step),
    Multistep(multistep::Step),
    Lcm(lcm::Step),
    Flow(flow::Step),
}

/// What is done to the predicted clean sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    None,
    /// Clipped to this magnitude.
    Clip(f32),
    /// Dynamic thresholding (Saharia et al. 2022): clipped to a quantile of its magnitudes, at most `maximum`, and
    /// divided by it.
    Threshold {
        quantile: f64,
        maximum: f32,
    },
}

/// A sample on its way, with what its solver remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleState {
    /// The sample in memory order.
    pub values: Vec<f32>,
    /// Outputs of earlier steps, newest last.
    history: Vec<Vec<f32>>,
    /// An earlier sample that a solver goes back to.
    kept: Vec<f32>,
}

impl SampleState {
    /// A sample before its first step: unit noise times [`Schedule::init_noise_sigma`].
    pub fn new(values: Vec<f32>) -> Self {
        Self { values, history: Vec::new(), kept: Vec::new() }
    }
}

impl Schedule {
    /// The schedule of `num_inference_steps` steps; `eta` (0 to 1) is the share of fresh noise in DDIM's steps.
    ///
    /// # Errors
    /// Where the number of steps is 0 or more than the model was trained for, or `eta` is out of range.
    pub fn new(config: &SchedulerConfig, num_inference_steps: usize, eta: f32) -> Result<Self> {
        let maximum = match config.kind {
            SolverKind::Lcm => config.original_inference_steps,
            _ => config.num_train_timesteps,
        };
        if !(1..=maximum).contains(&num_inference_steps) {
            return Err(Error::Option {
                option: "num-inference-steps",
                found: num_inference_steps.to_string(),
                expected: format!("1 to {maximum}"),
            });
        }
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Option { option: "eta", found: eta.to_string(), expected: "0 to 1".into() });
        }
        let alphas = alphas_cumprod(config);
        let (steps, init_noise_sigma) = match config.kind {
            SolverKind::Ddim => (ddim::steps(config, &alphas, num_inference_steps, f64::from(eta)), 1.0),
            SolverKind::Pndm => (pndm::steps(config, &alphas, num_inference_steps), 1.0),
            SolverKind::Euler | SolverKind::EulerAncestral => {
                euler::steps(config, &alphas, num_inference_steps)
            }
            SolverKind::DpmSolverMultistep => (multistep::steps(config, &alphas, num_inference_steps), 1.0),
            SolverKind::Lcm => (lcm::steps(config, &alphas, num_inference_steps), 1.0),
            SolverKind::FlowMatchEuler => (flow::steps(config, num_inference_steps), 1.0),
        };
        let bound = match (config.thresholding, config.clip_sample_range) {
            (Some((quantile, maximum)), _) => Bound::Threshold { quantile, maximum },
            (None, Some(range)) => Bound::Clip(range),
            (None, None) => Bound::None,
        };
        Ok(Self { steps, init_noise_sigma, prediction: config.prediction_type, bound })
    }

    /// Calls of the denoiser, which some solvers make once more than steps were asked for.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to do; never for a schedule made by [`Schedule::new`].
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The times that the denoiser is told, in order.
    pub fn timesteps(&self) -> Vec<f32> {
        self.steps.iter().map(|step| step.timestep).collect()
    }

    /// Standard deviation of the first sample: unit noise is multiplied by it.
    pub fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }

    /// Factor between the sample and what the denoiser sees at step `at`.
    pub fn input_scale(&self, at: usize) -> f32 {
        self.steps[at].input_scale
    }

    /// Moves a sample over step `at`, given the denoiser's output; `noise` is called where the step needs fresh noise.
    pub fn step(&self, at: usize, state: &mut SampleState, output: &[f32], noise: impl FnOnce() -> Vec<f32>) {
        match &self.steps[at].update {
            Update::Ddim(step) => ddim::step(step, self.prediction, self.bound, state, output, noise),
            Update::Pndm(step) => pndm::step(step, self.prediction, state, output),
            Update::Euler(step) => euler::step(step, self.prediction, state, output, noise),
            Update::Multistep(step) => multistep::step(step, self.prediction, self.bound, state, output),
            Update::Lcm(step) => lcm::step(step, self.prediction, self.bound, state, output, noise),
            Update::Flow(step) => flow::step(step, state, output),
        }
    }
}

/// The clean sample that an output predicts at a noise level `alpha` (the cumulative product), within its bound.
fn predicted_sample(
    prediction: PredictionType,
    bound: Bound,
    alpha: f64,
    sample: &[f32],
    output: &[f32],
) -> Vec<f32> {
    let (signal, noise) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
    let pairs = sample.iter().zip(output);
    let mut clean: Vec<f32> = match prediction {
        PredictionType::Epsilon => pairs.map(|(x, e)| (x - noise * e) / signal).collect(),
        PredictionType::Sample => output.to_vec(),
        PredictionType::VPrediction => pairs.map(|(x, v)| signal * x - noise * v).collect(),
    };
    match bound {
        Bound::None => {}
        Bound::Clip(range) => clean.iter_mut().for_each(|x| *x = x.clamp(-range, range)),
        Bound::Threshold { quantile, maximum } => {
            // The quantile lies between the smallest bound, 1, and the largest.
            let limit = magnitude_quantile(&clean, quantile).clamp(1.0, maximum.max(1.0));
            clean.iter_mut().for_each(|x| *x = x.clamp(-limit, limit) / limit);
        }
    }
    clean
}

/// The quantile of the absolute values, interpolated linearly between neighbours.
fn magnitude_quantile(values: &[f32], quantile: f64) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let at = quantile * magnitudes.len().saturating_sub(1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (magnitudes.get(low), magnitudes.get(high)) {
        (Some(&a), Some(&b)) => a + (b - a) * (at - low as f64) as f32,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;

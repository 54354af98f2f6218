//! Euler's method for networks with the preconditioning of Karras et al.
//!
//! Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, table 1 and algorithm 1.

use noisefind_nn::error::Result;

use super::euler::towards;
use super::sigmas::{check_start, closed, karras, linspace};
use super::step::Step;
use super::{PredictionType, Request, Schedule, SchedulerClass, SchedulerConfig};

pub(super) const CLASS: SchedulerClass = SchedulerClass {
    name: "edm-euler",
    class_name: "EDMEulerScheduler",
    predictions: &[PredictionType::Edm],
    parameters: &[
        ("sigma_min", "0.002"),
        ("sigma_max", "80.0"),
        ("sigma_data", "0.5"),
        ("sigma_schedule", "\"karras\""),
        ("num_train_timesteps", "1000"),
        ("prediction_type", "\"epsilon\""),
        ("rho", "7.0"),
        ("final_sigmas_type", "\"zero\""),
    ],
    aliases: &[],
    schedule,
};

fn schedule(config: &SchedulerConfig, request: &Request) -> Result<Schedule> {
    let network = Preconditioning::read(config)?;
    let sigmas = network.levels(config, request.steps)?;
    let last = match config.one_of("final_sigmas_type", &["zero", "sigma_min"])? {
        0 => 0.0,
        _ => sigmas[sigmas.len() - 1],
    };
    let times: Vec<f64> = sigmas.iter().map(|sigma| 0.25 * sigma.ln()).collect();
    check_start(&times, request.steps)?;
    let sigmas = closed(sigmas, last);
    let steps = times.iter().zip(sigmas.windows(2)).map(|(&time, pair)| {
        let (sigma, next) = (pair[0], pair[1]);
        Step {
            input_scale: network.input_scale(sigma),
            next: towards(network.clean(sigma), sigma, next - sigma),
            ..Step::at(time)
        }
    });
    Ok(Schedule::of(steps.collect(), network.init_noise_sigma()))
}

/// How a network's input and output are scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preconditioning {
    sigma_min: f64,
    sigma_max: f64,
    sigma_data: f64,
    /// Of the output: -1 for `v_prediction`.
    sign: f64,
}

impl Preconditioning {
    pub(super) fn read(config: &SchedulerConfig) -> Result<Self> {
        let positive = |key| {
            let number = config.finite(key)?;
            config.check(key, number > 0.0, number, "a positive number")?;
            Ok(number)
        };
        Ok(Self {
            sigma_min: positive("sigma_min")?,
            sigma_max: positive("sigma_max")?,
            sigma_data: positive("sigma_data")?,
            sign: [1.0, -1.0][config.one_of("prediction_type", &["epsilon", "v_prediction"])?],
        })
    }

    /// The noise levels that are visited, highest first.
    pub(super) fn levels(&self, config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
        let sigmas = if config.one_of("sigma_schedule", &["karras", "exponential"])? == 0 {
            let rho = config.finite("rho")?;
            config.check("rho", rho > 0.0, rho, "a positive number")?;
            karras(self.sigma_max, self.sigma_min, rho, &linspace(0.0, 1.0, steps))
        } else if steps == 1 {
            vec![self.sigma_min]
        } else {
            let logs = linspace(self.sigma_max.ln(), self.sigma_min.ln(), steps);
            logs.into_iter().map(f64::exp).collect()
        };
        Ok(sigmas.into_iter().map(|sigma| f64::from(sigma as f32)).collect())
    }

    /// The lowest level of training.
    pub(super) fn sigma_min(&self) -> f64 {
        self.sigma_min
    }

    pub(super) fn init_noise_sigma(&self) -> f64 {
        (self.sigma_max * self.sigma_max + 1.0).sqrt()
    }

    pub(super) fn input_scale(&self, sigma: f64) -> f32 {
        (1.0 / (sigma * sigma + self.sigma_data * self.sigma_data).sqrt()) as f32
    }

    /// Factors of sample and output in the predicted clean sample.
    pub(super) fn clean(&self, sigma: f64) -> [f64; 2] {
        let data = self.sigma_data;
        let square = sigma * sigma + data * data;
        [data * data / square, self.sign * sigma * data / square.sqrt()]
    }
}

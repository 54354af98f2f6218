//! Schedulers: which noise levels are visited, and how a sample moves from one to the next.
//!
//! A scheduler is one file, which lays out the [`Schedule`] of its class, and one row of `CLASSES`. Reference: the
//! schedulers of diffusers 0.42.1.

mod betas;
mod config;
mod prediction;
mod sigmas;
mod step;

mod ddim;
mod ddpm;
mod deis;
mod dpm;
mod dpm2;
mod dpm2_ancestral;
mod dpm_multistep;
mod dpm_singlestep;
mod edm_dpm_multistep;
mod edm_euler;
mod euler;
mod euler_ancestral;
mod flow_match_euler;
mod heun;
mod lcm;
mod lms;
mod pndm;
mod tcd;
mod unipc;

use std::fmt;
use std::str::FromStr;

pub use config::{SchedulerConfig, SchedulerFile};
use noisefind_nn::error::{Error, Result};
pub use prediction::PredictionType;
use serde_json::{Map, Value};
use step::Step;
pub use step::{Samples, State};

/// All classes that are implemented.
const CLASSES: &[SchedulerClass] = &[
    ddim::CLASS,
    ddpm::CLASS,
    pndm::CLASS,
    euler::CLASS,
    euler_ancestral::CLASS,
    heun::CLASS,
    lms::CLASS,
    dpm_multistep::CLASS,
    dpm_singlestep::CLASS,
    dpm2::CLASS,
    dpm2_ancestral::CLASS,
    deis::CLASS,
    unipc::CLASS,
    lcm::CLASS,
    tcd::CLASS,
    edm_euler::CLASS,
    edm_dpm_multistep::CLASS,
    flow_match_euler::CLASS,
];

/// A name, the class, and the parameters with their values.
type Preset = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Names for a class with values of its parameters.
const PRESETS: &[Preset] = &[
    ("dpmpp-2m-karras", "dpmpp-2m", &[("use_karras_sigmas", "true")]),
    ("dpmpp-2m-sde", "dpmpp-2m", &[("algorithm_type", "sde-dpmsolver++")]),
    (
        "dpmpp-2m-sde-karras",
        "dpmpp-2m",
        &[("algorithm_type", "sde-dpmsolver++"), ("use_karras_sigmas", "true")],
    ),
    ("dpmpp-3m", "dpmpp-2m", &[("solver_order", "3")]),
    ("dpmpp-3m-sde", "dpmpp-2m", &[("solver_order", "3"), ("algorithm_type", "sde-dpmsolver++")]),
    ("euler-karras", "euler", &[("use_karras_sigmas", "true")]),
];

/// One class of schedulers.
#[derive(Debug)]
pub struct SchedulerClass {
    /// The name that users write.
    pub name: &'static str,
    /// The class in diffusers.
    pub class_name: &'static str,
    /// What a denoiser's output may mean.
    predictions: &'static [PredictionType],
    /// Parameters with their defaults as JSON.
    parameters: &'static [(&'static str, &'static str)],
    /// Values of other classes that the class replaces by its own: parameter, values, replacement.
    aliases: &'static [(&'static str, &'static [&'static str], &'static str)],
    /// Lays out the steps.
    schedule: fn(&SchedulerConfig, &Request) -> Result<Schedule>,
}

/// What is asked of a schedule.
struct Request {
    /// Denoising steps.
    steps: usize,
    /// Share of fresh noise, for classes that take it.
    eta: f64,
}

impl PartialEq for SchedulerClass {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl SchedulerClass {
    /// All of them.
    pub fn all() -> &'static [Self] {
        CLASSES
    }

    fn of_name(class_name: &str) -> Option<&'static Self> {
        CLASSES.iter().find(|class| class.class_name == class_name)
    }

    fn class_names() -> String {
        CLASSES.iter().map(|class| class.class_name).collect::<Vec<_>>().join(", ")
    }

    /// Whether the class is defined for a denoiser with this output.
    pub fn defined_for(&self, prediction: PredictionType) -> bool {
        self.predictions.contains(&prediction)
    }

    /// What the class takes a value of another class for.
    fn alias_of(&self, key: &str, value: &Value) -> Option<Value> {
        let fits = |(name, values, _): &&(&str, &[&str], &str)| {
            *name == key && values.iter().any(|other| value == *other)
        };
        self.aliases.iter().find(fits).map(|(_, _, own)| (*own).into())
    }

    /// Writes the replaced values into `keys`, as the class does in its own config.
    fn adopt_aliases(&self, keys: &mut Map<String, Value>) {
        for (key, value) in keys {
            if let Some(own) = self.alias_of(key, value) {
                *value = own;
            }
        }
    }
}

/// A scheduler as the user names it: `NAME` or `NAME,PARAMETER=VALUE,...`.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerChoice {
    class: &'static SchedulerClass,
    overrides: Map<String, Value>,
    text: String,
}

impl SchedulerChoice {
    /// The class.
    pub fn class(&self) -> &'static SchedulerClass {
        self.class
    }

    /// Every name that stands for a scheduler.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CLASSES.iter().map(|class| class.name).chain(PRESETS.iter().map(|(name, _, _)| *name))
    }
}

impl fmt::Display for SchedulerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SchedulerChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |found: &str, expected: String| Error::Option {
            option: "scheduler",
            found: found.to_owned(),
            expected,
        };
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let (class_name, preset) = PRESETS
            .iter()
            .find(|(preset, _, _)| *preset == name)
            .map_or((name, &[][..]), |(_, class, values)| (*class, *values));
        let class = CLASSES
            .iter()
            .find(|class| class.name == class_name)
            .ok_or_else(|| refused(name, Self::names().collect::<Vec<_>>().join(", ")))?;
        let mut overrides = Map::new();
        let pairs = preset.iter().map(|&(key, value)| Some((key, value)));
        for pair in pairs.chain(parts.map(|part| part.split_once('='))) {
            let known = pair.filter(|(key, _)| class.parameters.iter().any(|(name, _)| name == key));
            let Some((key, value)) = known else {
                let names: Vec<&str> = class.parameters.iter().map(|(name, _)| *name).collect();
                let expected = format!("PARAMETER=VALUE after {name}, with one of {}", names.join(", "));
                return Err(refused(text, expected));
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            overrides.insert(key.to_owned(), value);
        }
        Ok(Self { class, overrides, text: text.to_owned() })
    }
}

/// The steps from noise to sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    steps: Vec<Step>,
    init_noise_sigma: f32,
    /// Values that steps look back at.
    memory: usize,
}

impl Schedule {
    /// The schedule of `num_inference_steps` steps; `eta` (0 to 1) is the share of fresh noise in the steps of classes
    /// that take it.
    ///
    /// # Errors
    /// Where a parameter is not implemented or out of range, the number of steps is 0 or more than the model was trained
    /// for, or `eta` is out of range.
    pub fn new(config: &SchedulerConfig, num_inference_steps: usize, eta: f32) -> Result<Self> {
        let maximum = config.whole("num_train_timesteps", 1, betas::MOST_TIMESTEPS)?;
        if !(1..=maximum).contains(&num_inference_steps) {
            return Err(steps_refused(num_inference_steps, format!("1 to {maximum}")));
        }
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Option { option: "eta", found: eta.to_string(), expected: "0 to 1".into() });
        }
        (config.class().schedule)(config, &Request { steps: num_inference_steps, eta: f64::from(eta) })
    }

    /// The schedule of these steps.
    fn of(steps: Vec<Step>, init_noise_sigma: f64) -> Self {
        let memory = steps.iter().map(Step::depth).max().unwrap_or(0);
        Self { steps, init_noise_sigma: init_noise_sigma as f32, memory }
    }

    /// Calls of the denoiser, which some schedulers make more of than steps were asked for.
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

    /// Whether step `at` draws fresh noise.
    pub fn draws_noise(&self, at: usize) -> bool {
        self.steps[at].draws_noise()
    }

    /// The clean sample that the scheduler predicts at step `at`, from the state before it and the denoiser's output.
    pub fn clean(&self, at: usize, state: &State, output: &Samples) -> Samples {
        state.clean(&self.steps[at], output)
    }

    /// Moves samples over step `at`, given the denoiser's output and, where [`Self::draws_noise`], standard normal noise.
    pub fn step(&self, at: usize, state: State, output: Samples, noise: Option<Samples>) -> State {
        state.advance(&self.steps[at], self.memory, output, noise)
    }
}

/// The error about a number of steps.
fn steps_refused(found: usize, expected: String) -> Error {
    Error::Option { option: "num-inference-steps", found: found.to_string(), expected }
}

#[cfg(test)]
mod tests;

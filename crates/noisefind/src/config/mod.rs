//! Settings: what the user gave, and what it becomes when every value is resolved.
//!
//! One flag of the command line is one field of the same name here and one key of `config.toml`.

mod declare;
mod file;
mod generation;
mod range;
pub mod reward;
mod setting;
mod tune;

pub use generation::{GenerationConfig, LoadingConfig, NoiseRng};
pub(crate) use range::within;
pub use tune::{ModelDefaults, TuneConfig, TuneOptions};
pub(crate) use tune::{checked_prompt, no_reward};

/// The model that runs where no `--model` is given: four passes of the denoiser an image.
pub const DEFAULT_MODEL: &str = "emoji-64-turbo";

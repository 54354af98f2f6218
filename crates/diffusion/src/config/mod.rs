//! The JSON configs of a diffusion model's parts, resolved once into types that cannot be wrong.

mod model_index;
mod scheduler;
mod unet;
mod vae;

pub use model_index::ModelIndex;
pub use scheduler::{BetaSchedule, PredictionType, SchedulerConfig, SolverKind, TimestepSpacing};
pub use unet::{TextTimeConfig, UnetBlock, UnetConfig};
pub use vae::{AutoencoderKlConfig, AutoencoderTinyConfig, VaeConfig};

//! Frozen diffusion models, opened from their public folder layout.
//!
//! The parts ([`unet`], [`vae`], and the text encoders of [`noisefind_nn::clip`]) are driven by their own configs
//! ([`config`]); [`pipeline`] joins them to a generator.

pub mod config;
pub mod pipeline;
pub mod scheduler;
pub mod unet;
pub mod vae;

pub use noisefind_nn::{
    DeviceChoice, DtypeChoice, EmbeddedFile, Error, HubSettings, LoraSource, ModelFiles, Placement, Result,
};
pub use pipeline::{DiffusionGenerator, DiffusionModel, GenerationOptions, Latents, LoadOptions, ModelInfo};
pub use vae::Decoding;

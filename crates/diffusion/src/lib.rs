//! Frozen diffusion models, opened from their public folder layout.
//!
//! A model has one or two text encoders ([`text`]), a denoiser ([`denoiser`]), a decoder ([`decoder`]) and a scheduler
//! ([`scheduler`]). Each kind has a table of the classes that are implemented, and each part is chosen from it by the class
//! that the folder names. [`pipeline`] joins them to a generator.

pub mod decoder;
pub mod denoiser;
mod layers;
pub mod model_index;
pub mod pipeline;
pub mod scheduler;
pub mod single_file;
pub mod text;

pub use decoder::Decoding;
pub use noisefind_nn::{
    DeviceChoice, DtypeChoice, EmbeddedFile, EmbeddingSource, Error, HubSettings, LoraSource, ModelFiles,
    Placement, Result,
};
pub use pipeline::{
    DecodedImage, DiffusionGenerator, DiffusionModel, GenerationOptions, Latents, LoadOptions, ModelInfo,
};
pub use text::TextLength;

//! What every frozen network needs, whether it generates or scores.
//!
//! A model is a folder of the Hugging Face ecosystem, its id there, or the same files compiled into the program
//! ([`files`], [`hub`]). Its parts are driven by their own configs ([`config`]), checked while they load ([`weights`]),
//! and written with a handful of fused operations ([`ops`]). [`text`] and [`clip`] are the parts that diffusion models
//! and scorers have in common.

pub mod clip;
pub mod clip_vocabulary;
pub mod config;
pub mod device;
pub mod error;
pub mod files;
pub mod hub;
pub mod json;
pub mod lora;
mod open_file;
pub mod ops;
pub mod repacked;
pub mod text;
pub mod textual_inversion;
mod torch_file;
pub mod weight_file;
pub mod weight_names;
pub mod weights;

pub use device::{DeviceChoice, DtypeChoice, Placement};
pub use error::{Error, Result};
pub use files::{EmbeddedFile, ModelFiles};
pub use hub::HubSettings;
pub use lora::LoraSource;
pub use textual_inversion::EmbeddingSource;

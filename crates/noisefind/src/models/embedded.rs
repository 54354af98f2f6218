//! The default model and its fast version, which travel inside the program.

use noisefind_diffusion::{EmbeddedFile, ModelFiles};

use crate::config::DEFAULT_MODEL;
use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/embedded_model.rs"));

/// The default model distilled into a few steps without the guidance pass.
pub const TURBO: &str = "emoji-64-turbo";

/// One model inside the program.
#[derive(Debug)]
pub struct EmbeddedModel {
    /// What the user calls it.
    pub name: &'static str,
    /// [`crate::models::hash`] of its files.
    pub sha256: &'static str,
    /// SHA-256 of each file that holds weights, by path.
    pub weights: &'static [(&'static str, &'static str)],
    /// Path and content, by path.
    files: &'static [EmbeddedFile],
}

impl EmbeddedModel {
    /// The model inside the program that has this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }
}

/// Whether `name` stands for a model inside the program, in builds that carry it.
pub fn is_name(name: &str) -> bool {
    [DEFAULT_MODEL, TURBO].contains(&name)
}

/// The files of the model called `name`.
///
/// # Errors
/// Where this build does not carry it.
pub fn files(name: &str) -> Result<ModelFiles> {
    let model = EmbeddedModel::named(name).ok_or_else(|| Error::NoEmbeddedModel(name.to_owned()))?;
    Ok(ModelFiles::embedded(model.name, model.files))
}

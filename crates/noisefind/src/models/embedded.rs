//! The default model, which travels inside the program.

use noisefind_diffusion::{EmbeddedFile, ModelFiles};

use crate::config::DEFAULT_MODEL;
use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/embedded_model.rs"));

/// The files of the default model.
///
/// # Errors
/// Where this build carries no model.
pub fn files() -> Result<ModelFiles> {
    if FILES.is_empty() {
        Err(Error::NoEmbeddedModel { name: DEFAULT_MODEL })
    } else {
        Ok(ModelFiles::embedded(DEFAULT_MODEL, FILES))
    }
}

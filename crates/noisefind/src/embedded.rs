//! The default model, which travels inside the program.

use noisefind_diffusion::{EmbeddedFile, ModelFiles};

use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/embedded_model.rs"));

/// The name of the model that ships with the program.
pub const NAME: &str = "emoji-64";

/// The files of the default model.
///
/// # Errors
/// Where this build carries no model.
pub fn files() -> Result<ModelFiles> {
    if FILES.is_empty() { Err(Error::NoEmbeddedModel) } else { Ok(ModelFiles::embedded(NAME, FILES)) }
}

//! The models inside the program: the default one, the one that it was distilled from, and the default video model.

#[cfg(feature = "video-model")]
use std::sync::LazyLock;

use noisefind_diffusion::{EmbeddedFile, ModelFiles};

use crate::config::DEFAULT_MODEL;
use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/embedded_model.rs"));

/// The model that the default one was distilled from: 20 steps with guidance.
pub const TEACHER: &str = "emoji-64";

/// The default video model: 8 frames of 64 pixels a side. In builds with the feature `video-model`.
pub const VIDEO: &str = "emoji-64-video";

/// The names of the models that the program brings along, the default first.
pub const NAMES: [&str; 3] = [DEFAULT_MODEL, TEACHER, VIDEO];

/// One model inside the program.
#[derive(Debug)]
pub struct EmbeddedModel {
    /// What the user calls it.
    pub name: &'static str,
    /// [`crate::models::hash`] of its files.
    pub sha256: &'static str,
    /// SHA-256 of each file that holds weights, by path.
    pub weights: &'static [(&'static str, &'static str)],
    /// Path and content, by path; empty where another crate has them.
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
    NAMES.contains(&name)
}

/// The files of the model called `name`.
///
/// # Errors
/// Where this build does not carry it.
pub fn files(name: &str) -> Result<ModelFiles> {
    let Some(model) = EmbeddedModel::named(name) else {
        let feature = if name == VIDEO { "build it with its default feature video-model, or " } else { "" };
        return Err(Error::NoEmbeddedModel { name: name.to_owned(), feature });
    };
    Ok(match name {
        VIDEO => ModelFiles::embedded(model.name, video_files()).over(files(TEACHER)?),
        _ => ModelFiles::embedded(model.name, model.files),
    })
}

/// The files of the video model that are not those of the default model.
fn video_files() -> &'static [EmbeddedFile] {
    #[cfg(feature = "video-model")]
    {
        static FILES: LazyLock<Vec<EmbeddedFile>> = LazyLock::new(|| {
            let file = |&(path, bytes)| EmbeddedFile { path, bytes };
            noisefind_video_model::FILES.iter().map(file).collect()
        });
        &FILES
    }
    #[cfg(not(feature = "video-model"))]
    &[]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::models::registry::ModelSource;

    /// The folder of the distilled model names its base, so that opening the folder gives what is inside the program.
    #[test]
    fn a_model_inside_the_program_is_its_folder() {
        for name in [DEFAULT_MODEL, TEACHER, VIDEO] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name);
            let folder = ModelSource::find(&folder.display().to_string()).unwrap();
            let inside = ModelSource::find(name).unwrap();
            assert_eq!(inside.hashes().unwrap(), folder.hashes().unwrap(), "{name}");
            assert_eq!(inside.defaults().unwrap(), folder.defaults().unwrap(), "{name}");
            assert_eq!(inside.defaults().unwrap().success_reward.is_some(), name != VIDEO);
        }
    }

    #[test]
    fn what_two_models_have_in_common_is_held_once() {
        let bytes = |name: &str, path: &str| {
            let files = EmbeddedModel::named(name).unwrap().files;
            files.iter().find(|file| file.path == path).unwrap().bytes
        };
        let vae = "vae/diffusion_pytorch_model.safetensors";
        assert!(std::ptr::eq(bytes(DEFAULT_MODEL, vae), bytes(TEACHER, vae)));
        let unet = "unet/diffusion_pytorch_model.safetensors";
        assert_ne!(bytes(DEFAULT_MODEL, unet), bytes(TEACHER, unet));
    }
}

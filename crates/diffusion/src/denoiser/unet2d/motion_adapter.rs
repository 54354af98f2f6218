//! Where the motion modules of AnimateDiff come from: a `MotionAdapter` folder of diffusers, the same as a part of a
//! model, or a file with the names of AnimateDiff's own program (`mm_sd_v15_v2.ckpt`).
//!
//! Reference for the names: `scripts/convert_animatediff_motion_module_to_diffusers.py` of diffusers 0.42.1.

use std::path::Path;

use noisefind_nn::config::Keys;
use noisefind_nn::device::{DeviceChoice, DtypeChoice, Placement};
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::{ModelFiles, in_folder};
use noisefind_nn::weights::Weights;
use serde_json::{Map, Value, json};

/// The part of a pipeline that is a motion adapter.
pub(crate) const PART: &str = "motion_adapter";

const STEM: &str = "diffusion_pytorch_model";

/// Motion modules that make a video model of a model of still images.
#[derive(Clone, Debug)]
pub struct MotionAdapter {
    files: ModelFiles,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// A folder with `config.json` and weights; empty for the top.
    Folder(&'static str),
    /// A file of weights alone.
    File(String),
}

impl MotionAdapter {
    /// The adapter called `name`: a folder, a file of AnimateDiff's own program, or an id on the hub.
    ///
    /// # Errors
    /// Where it is none of them, or the hub does not give it.
    pub fn find(name: &str) -> Result<Self> {
        let path = Path::new(name);
        if !path.is_file() {
            return Ok(Self { files: ModelFiles::find(name)?, place: Place::Folder("") });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = ModelFiles::directory(folder.unwrap_or(Path::new(".")))?;
        Ok(Self { files, place: Place::File(file) })
    }

    /// The part `motion_adapter` of a model.
    pub fn in_model(model: &ModelFiles) -> Self {
        Self { files: model.clone(), place: Place::Folder(PART) }
    }

    /// How messages call it.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::Folder("") => self.files.name().to_owned(),
            Place::Folder(folder) => self.files.display(folder),
            Place::File(file) => self.files.display(file),
        }
    }

    /// Its config; of a file the one that its tensors imply.
    pub(super) fn keys(&self) -> Result<Keys> {
        match &self.place {
            Place::Folder(folder) => Keys::read(&self.files, &in_folder(folder, "config.json")),
            Place::File(_) => {
                let weights = self.weights(&Placement::open(DeviceChoice::Cpu, DtypeChoice::F32)?)?;
                let config = implied_config(&weights).ok_or_else(|| Error::Unfit {
                    file: self.name(),
                    reason: "expected tensors that begin with down_blocks.0.motion_modules.0, found none"
                        .into(),
                })?;
                Ok(Keys::of(self.name(), config))
            }
        }
    }

    /// Its tensors under the names of diffusers.
    pub(super) fn weights(&self, placement: &Placement) -> Result<Weights> {
        match &self.place {
            Place::Folder(folder) => Weights::open(&self.files, folder, STEM, placement),
            Place::File(file) => {
                let mut weights = Weights::open_file(&self.files, file, placement)?;
                weights.rename(diffusers_name);
                Ok(weights)
            }
        }
    }
}

/// The name in diffusers of a tensor that AnimateDiff's own program names; its names are those of diffusers otherwise.
fn diffusers_name(name: &str) -> String {
    // Every attention stores the same encodings of positions.
    const RENAMED: [(&str, &str); 8] = [
        (".temporal_transformer.", "."),
        (".attention_blocks.0.pos_encoder.", ".pos_embed."),
        (".attention_blocks.1.pos_encoder.", ".pos_embed."),
        (".attention_blocks.0.", ".attn1."),
        (".attention_blocks.1.", ".attn2."),
        (".norms.0.", ".norm1."),
        (".norms.1.", ".norm2."),
        (".ff_norm.", ".norm3."),
    ];
    let name = name.strip_prefix("module.").unwrap_or(name).to_owned();
    RENAMED.iter().fold(name, |name, (theirs, ours)| name.replace(theirs, ours))
}

/// What the config of these motion modules would say; `None` where there are none. The original program has eight heads
/// everywhere, as the default is.
fn implied_config(weights: &Weights) -> Option<Map<String, Value>> {
    let width = |level: usize| {
        Some(weights.shape(&format!("down_blocks.{level}.motion_modules.0.proj_in.weight"))?[0])
    };
    let first = "down_blocks.0.motion_modules";
    let count = |prefix: &str| {
        (0..)
            .take_while(|at| weights.names().any(|name| name.starts_with(&format!("{prefix}.{at}."))))
            .count()
    };
    let channels: Vec<usize> = (0..).map_while(width).collect();
    let positions = weights.shape(&format!("{first}.0.transformer_blocks.0.pos_embed.pe"));
    let config = json!({
        "block_out_channels": channels,
        "motion_layers_per_block": count(first),
        "motion_transformer_layers_per_block": count(&format!("{first}.0.transformer_blocks")),
        "motion_max_seq_length": positions.and_then(|shape| shape.get(1)),
        "use_motion_mid_block": weights.names().any(|name| name.starts_with("mid_block.")),
    });
    match config {
        Value::Object(config) if !channels.is_empty() => Some(config),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn original_names_become_those_of_diffusers() {
        let module = "down_blocks.1.motion_modules.0";
        let original = format!("module.{module}.temporal_transformer");
        for (theirs, ours) in [
            ("proj_in.weight", "proj_in.weight"),
            (
                "transformer_blocks.0.attention_blocks.1.to_out.0.bias",
                "transformer_blocks.0.attn2.to_out.0.bias",
            ),
            ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", "transformer_blocks.0.pos_embed.pe"),
            ("transformer_blocks.0.norms.1.weight", "transformer_blocks.0.norm2.weight"),
            ("transformer_blocks.0.ff_norm.bias", "transformer_blocks.0.norm3.bias"),
        ] {
            assert_eq!(diffusers_name(&format!("{original}.{theirs}")), format!("{module}.{ours}"));
        }
    }
}

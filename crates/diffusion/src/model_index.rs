//! `model_index.json`: which parts a pipeline has.

use serde_json::Value;

use noisefind_nn::config::Keys;
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;

/// The parts of a pipeline and the switches that belong to none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The pipeline's class, for information: parts are recognised by their own configs.
    pub class_name: String,
    /// Names of the folders that hold a part.
    pub parts: Vec<String>,
    /// The class of each of them.
    classes: Vec<String>,
    /// Whether an absent negative prompt means zeros instead of the encoding of the empty text.
    pub force_zeros_for_empty_prompt: bool,
}

impl ModelIndex {
    pub(crate) const FILE: &str = "model_index.json";

    /// Reads `model_index.json`.
    ///
    /// # Errors
    /// Where it is absent or damaged.
    pub fn read(model: &ModelFiles) -> Result<Self> {
        let keys = Keys::read(model, Self::FILE)?;
        let is_part = |value: &Value| {
            value.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string))
        };
        let class = |value: &Value| value[1].as_str().unwrap_or_default().to_owned();
        let (parts, classes) = keys
            .entries()
            .filter(|(_, value)| is_part(value))
            .map(|(name, value)| (name.to_owned(), class(value)))
            .unzip();
        Ok(Self {
            class_name: keys.required("_class_name")?,
            parts,
            classes,
            force_zeros_for_empty_prompt: keys.or("force_zeros_for_empty_prompt", false)?,
        })
    }

    /// Steps and guidance scale that the pipeline's class takes where nothing is said.
    pub fn default_steps_and_guidance(&self) -> (usize, f64) {
        match self.class_name.as_str() {
            "LatentConsistencyModelPipeline" => (4, 8.5),
            "StableDiffusionXLPipeline" => (50, 5.0),
            // The older name stands in copies of text-to-video-ms-1.7b.
            "TextToVideoSDPipeline" | "TextToVideoMSPipeline" => (50, 9.0),
            _ => (50, 7.5),
        }
    }

    /// The class of a part, where the pipeline has it.
    pub fn class_of(&self, part: &str) -> Option<&str> {
        self.parts.iter().position(|name| name == part).map(|at| self.classes[at].as_str())
    }

    /// Whether the pipeline has this part.
    pub fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|name| name == part)
    }
}

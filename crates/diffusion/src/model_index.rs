//! `model_index.json`: which parts a pipeline has.

use serde_json::Value;

use noisefind_nn::config::Keys;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;

/// The parts of a pipeline and the switches that belong to none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The pipeline's class as the file names it.
    pub class_name: String,
    /// The pipeline that the class stands for.
    pub pipeline: PipelineClass,
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
    /// Where it is absent or damaged, or its pipeline is not implemented.
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
        let class_name: String = keys.required("_class_name")?;
        let pipeline = PipelineClass::of(&class_name).ok_or_else(|| Error::Pipeline {
            file: keys.file().to_owned(),
            class: class_name.clone(),
            kind: kind_of(&class_name),
            implemented: PipelineClass::NAMES.map(|(name, _)| name).join(", "),
        })?;
        Ok(Self {
            // A parameter of this pipeline alone.
            force_zeros_for_empty_prompt: pipeline == PipelineClass::StableDiffusionXl
                && keys.flag("force_zeros_for_empty_prompt", true),
            class_name,
            pipeline,
            parts,
            classes,
        })
    }

    /// Steps and guidance scale that the pipeline's class takes where nothing is said.
    pub fn default_steps_and_guidance(&self) -> (usize, f64) {
        match self.pipeline {
            PipelineClass::LatentConsistency => (4, 8.5),
            PipelineClass::StableDiffusionXl => (50, 5.0),
            PipelineClass::TextToVideo => (50, 9.0),
            PipelineClass::StableDiffusion | PipelineClass::AnimateDiff => (50, 7.5),
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

/// The pipelines that are implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineClass {
    /// Stable Diffusion 1 and 2.
    StableDiffusion,
    /// Stable Diffusion XL.
    StableDiffusionXl,
    /// Latent consistency models.
    LatentConsistency,
    /// ModelScope's text-to-video.
    TextToVideo,
    /// AnimateDiff.
    AnimateDiff,
}

impl PipelineClass {
    const NAMES: [(&str, Self); 6] = [
        ("StableDiffusionPipeline", Self::StableDiffusion),
        ("StableDiffusionXLPipeline", Self::StableDiffusionXl),
        ("LatentConsistencyModelPipeline", Self::LatentConsistency),
        ("TextToVideoSDPipeline", Self::TextToVideo),
        ("AnimateDiffPipeline", Self::AnimateDiff),
        // The older name stands in copies of text-to-video-ms-1.7b.
        ("TextToVideoMSPipeline", Self::TextToVideo),
    ];

    fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }
}

/// What a pipeline is whose class is not implemented, in words.
fn kind_of(class: &str) -> &'static str {
    const KINDS: &[(&str, &str)] = &[
        ("Inpaint", "an inpainting pipeline"),
        ("StableDiffusionXLImg2Img", "the refiner of Stable Diffusion XL"),
        ("ControlNet", "a pipeline that follows a control image"),
        ("Upscale", "an upscaling pipeline"),
        ("Img2Img", "a pipeline that starts from an image"),
        ("Pix2Pix", "a pipeline that changes an image"),
        ("StableDiffusion3", "Stable Diffusion 3"),
        ("Flux", "a pipeline of FLUX"),
        ("PixArt", "a pipeline of PixArt"),
        ("PAG", "a pipeline with perturbed-attention guidance"),
        ("AltDiffusion", "a pipeline with another text encoder"),
        ("Kandinsky", "a pipeline of Kandinsky"),
    ];
    KINDS.iter().find(|(part, _)| class.contains(part)).map_or("a pipeline of another kind", |(_, kind)| kind)
}

/// The class of a part, with what names it.
pub(crate) struct PartClass {
    pub(crate) name: String,
    file: String,
    key: &'static str,
}

impl PartClass {
    /// The class of the part in `folder` (empty for a part in a folder of its own): the one that `model_index.json` names, or else that of the part's own config, or
    /// else `default`.
    ///
    /// # Errors
    /// Where the index is damaged, or the config's `_class_name` is no text.
    pub(crate) fn of(
        model: &ModelFiles,
        (folder, part): (&str, &'static str),
        keys: &Keys,
        default: &str,
    ) -> Result<Self> {
        let own = keys.or("_class_name", default.to_owned())?;
        let index = if folder.is_empty() || !model.contains(ModelIndex::FILE) {
            None
        } else {
            ModelIndex::read(model)?.class_of(folder).map(str::to_owned)
        };
        Ok(match index {
            Some(name) => Self { name, file: model.display(ModelIndex::FILE), key: part },
            None => Self { name: own, file: keys.file().to_owned(), key: "_class_name" },
        })
    }

    /// The error that this class is none of those that are `known`.
    pub(crate) fn unknown(self, known: impl Iterator<Item = &'static str>) -> Error {
        let expected = known.collect::<Vec<_>>().join(" or ");
        Error::Config { file: self.file, key: self.key, found: self.name, expected }
    }
}

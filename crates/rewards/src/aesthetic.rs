//! The LAION aesthetic predictor: how much people like an image, from its CLIP ViT-L/14 embedding; about 1 to 10.
//!
//! Reference: `christophschuhmann/improved-aesthetic-predictor`, `sac+logos+ava1-l14-linearMSE.pth`. The published head
//! is five linear layers without anything between them.

#[cfg(test)]
mod tests;

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::clip::ClipModel;
use noisefind_nn::weights::Weights;
use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};

use crate::Error;
use crate::clip_score::image_features;
use crate::features::{mean_over_frames, weights_file};
use crate::linear_stack::LinearStack;
use crate::preprocess::Preprocessor;

/// Widths of the published head, from the embedding to the score, with the names of the layers between them.
const WIDTHS: [usize; 6] = [768, 1024, 128, 64, 16, 1];
const LAYERS: [usize; 5] = [0, 2, 4, 6, 7];

/// The head alone.
pub struct AestheticHead {
    layers: LinearStack,
}

impl AestheticHead {
    /// Opens the published file by its path inside `files`, or a safetensors file of the same name and tensors.
    ///
    /// # Errors
    /// Where the file is absent, damaged or another model's.
    pub fn open(files: &ModelFiles, path: &str) -> Result<Self, Error> {
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32)?;
        let weights = Weights::open_file(files, &weights_file(files, path), &placement)?;
        let layers = LinearStack::load(&weights.root(), &LAYERS, &WIDTHS);
        weights.finish(&[])?;
        Ok(Self { layers })
    }

    /// The score of an embedding of 768 numbers, which is normalised first.
    pub fn score(&self, embedding: &[f32]) -> f64 {
        let length = embedding.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
        let unit: Vec<f64> = embedding.iter().map(|&number| f64::from(number) / length).collect();
        self.layers.forward(unit)
    }
}

/// The head together with the CLIP model that it was trained on.
pub struct Aesthetic {
    clip: ClipModel,
    preprocessor: Preprocessor,
    head: AestheticHead,
}

impl Aesthetic {
    /// Opens the `CLIPModel` folder of ViT-L/14 (`clip_folder` of `clip`, empty for the top) and the head.
    ///
    /// # Errors
    /// Where a file is absent or damaged, or the CLIP model has another width than the head.
    pub fn open(
        clip: &ModelFiles,
        clip_folder: &str,
        head: AestheticHead,
        placement: &Placement,
    ) -> Result<Self, Error> {
        let model = ClipModel::open(clip, clip_folder, placement)?;
        let width = model.text().config().projection_dim;
        if width != Some(WIDTHS[0]) {
            return Err(Error::Config {
                file: clip.display("config.json"),
                key: "projection_dim",
                found: width.map_or_else(|| "null".to_owned(), |width| width.to_string()),
                expected: "768, as CLIP ViT-L/14 has",
            });
        }
        let preprocessor = Preprocessor::read(clip, clip_folder, model.vision().config().image_size)?;
        Ok(Self { clip: model, preprocessor, head })
    }
}

impl Scorer for Aesthetic {
    fn name(&self) -> &str {
        "aesthetic"
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let features = image_features(&self.clip, &self.preprocessor, media)?;
        let scores = features.iter().map(|embedding| self.head.score(embedding));
        Ok(mean_over_frames("aesthetic", media, scores))
    }
}

//! CLIP score: the cosine between an image's embedding and the prompt's, under any `CLIPModel`.
//!
//! Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021. With the weights
//! of Kirstain et al., "Pick-a-Pic", NeurIPS 2023, and their scale it is PickScore.

#[cfg(test)]
mod tests;

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::clip::ClipModel;
use noisefind_nn::text::Tokenizer;
use noisefind_nn::{ModelFiles, Placement};

use crate::Error;
use crate::features::{PromptCache, cosine, mean_over_frames};
use crate::preprocess::Preprocessor;
use crate::vocabularies::clip_tokenizer;

/// Frames that go through the vision tower at once; bounds the memory of large towers.
const FRAMES_AT_ONCE: usize = 16;

/// What the cosine is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipVariant {
    /// `clip-score`: the cosine itself, in -1..=1.
    Cosine,
    /// `clip-score-100`: `100 cos`.
    Cosine100,
    /// `clip-score-hessel`: `2.5 max(0, cos)`, as Hessel et al. report it.
    Hessel,
    /// `pick-score`: `exp(logit_scale) cos`, the model's own logit.
    PickScore,
}

impl ClipVariant {
    /// The scorer's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cosine => "clip-score",
            Self::Cosine100 => "clip-score-100",
            Self::Hessel => "clip-score-hessel",
            Self::PickScore => "pick-score",
        }
    }

    fn of_cosine(self, cosine: f64, logit_scale: f64) -> f64 {
        match self {
            Self::Cosine => cosine,
            Self::Cosine100 => 100.0 * cosine,
            Self::Hessel => 2.5 * cosine.max(0.0),
            Self::PickScore => logit_scale * cosine,
        }
    }
}

/// The scorer.
pub struct ClipScore {
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    variant: ClipVariant,
    prompt: PromptCache<Vec<f32>>,
}

impl ClipScore {
    /// Opens a `CLIPModel` folder of transformers (`config.json`, weights, tokenizer, preprocessor) in `folder` of
    /// `files` (empty for their top); where tokenizer or preprocessor are absent, they are CLIP's own.
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(
        files: &ModelFiles,
        folder: &str,
        variant: ClipVariant,
        placement: &Placement,
    ) -> Result<Self, Error> {
        let model = ClipModel::open(files, folder, placement)?;
        let text = model.text().config();
        let tokenizer = clip_tokenizer(files, folder, text.max_position_embeddings, text.vocab_size)?;
        let preprocessor = Preprocessor::read(files, folder, model.vision().config().image_size)?;
        Ok(Self { model, tokenizer, preprocessor, variant, prompt: PromptCache::default() })
    }

    fn scores(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let (model, tokenizer) = (&self.model, &self.tokenizer);
        let text = self.prompt.get(prompt, || {
            let tokens = tokenizer.encode(prompt)?;
            // What follows the end token is masked, so the padding need not be computed.
            let features = model.text_features(&[tokens.ids[..tokens.length].to_vec()])?;
            Ok(features.into_iter().flatten().collect())
        })?;
        let logit_scale = f64::from(model.temperature());
        let scores = image_features(model, &self.preprocessor, media)?;
        let scores = scores.iter().map(|image| self.variant.of_cosine(cosine(text, image), logit_scale));
        Ok(mean_over_frames(self.variant.name(), media, scores))
    }
}

impl Scorer for ClipScore {
    fn name(&self) -> &str {
        self.variant.name()
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(self.scores(prompt, media)?)
    }
}

/// The projected embedding of every frame of every image or clip, in order, not normalised.
pub(crate) fn image_features(
    model: &ClipModel,
    preprocessor: &Preprocessor,
    media: &[Media],
) -> Result<Vec<Vec<f32>>, Error> {
    let side = model.vision().config().image_size;
    let pixels = preprocessor.pixels(media, side)?;
    let mut features = Vec::new();
    for part in pixels.chunks(FRAMES_AT_ONCE * side * side * 3) {
        features.extend(model.image_features(part.to_vec(), part.len() / (side * side * 3))?);
    }
    Ok(features)
}

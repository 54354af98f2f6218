//! CLIP score: the cosine between a picture's embedding and the prompt's, under any `CLIPModel`.
//!
//! Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021. With the weights
//! of Kirstain et al., "Pick-a-Pic", NeurIPS 2023, and their scale it is PickScore.

use std::str::FromStr;

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_diffusion::clip::ClipModel;
use noisefind_diffusion::text::Tokenizer;
use noisefind_diffusion::{ModelFiles, Placement};

use crate::Error;
use crate::features::{PromptCache, cosine, mean_over_frames};
use crate::preprocess::Preprocessor;

/// Frames that go through the vision tower at once; bounds the memory of large towers.
const FRAMES_AT_ONCE: usize = 16;

/// What the cosine is turned into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClipVariant {
    /// The cosine itself, in -1..=1.
    #[default]
    Cosine,
    /// `100 cos`.
    Cosine100,
    /// `2.5 max(0, cos)`, as Hessel et al. report it.
    Hessel,
    /// `exp(logit_scale) cos`, the model's own logit; PickScore.
    Logit,
}

impl FromStr for ClipVariant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "cosine" => Ok(Self::Cosine),
            "cosine-100" => Ok(Self::Cosine100),
            "hessel" => Ok(Self::Hessel),
            "logit" => Ok(Self::Logit),
            _ => Err(Error::ClipVariant(text.to_owned())),
        }
    }
}

/// The scorer.
pub struct ClipScore {
    name: &'static str,
    model: ClipModel,
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    variant: ClipVariant,
    prompt: PromptCache<Vec<f32>>,
}

impl ClipScore {
    /// Opens a `CLIPModel` folder of transformers (`config.json`, weights, tokenizer, preprocessor) in `folder` of
    /// `files` (empty for their top).
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(
        files: &ModelFiles,
        folder: &str,
        variant: ClipVariant,
        placement: &Placement,
    ) -> Result<Self, Error> {
        Self::named("clip-score", files, folder, variant, placement)
    }

    /// Opens PickScore, a `CLIPModel` whose score is its logit; see [`ClipScore::open`].
    ///
    /// # Errors
    /// As [`ClipScore::open`].
    pub fn open_pick_score(files: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self, Error> {
        Self::named("pick-score", files, folder, ClipVariant::Logit, placement)
    }

    fn named(
        name: &'static str,
        files: &ModelFiles,
        folder: &str,
        variant: ClipVariant,
        placement: &Placement,
    ) -> Result<Self, Error> {
        let model = ClipModel::open(files, folder, placement)?;
        let text = model.text().config();
        let tokenizer = Tokenizer::open(files, folder, text.max_position_embeddings, text.vocab_size)?;
        let preprocessor = Preprocessor::read(files, folder, model.vision().config().image_size)?;
        Ok(Self { name, model, tokenizer, preprocessor, variant, prompt: PromptCache::default() })
    }

    fn scores(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let (model, tokenizer) = (&self.model, &self.tokenizer);
        let text = self.prompt.get(prompt, || {
            let tokens = tokenizer.encode(prompt)?;
            // What follows the end token is masked, so the padding need not be computed.
            let features = model.text_features(&[tokens.ids[..tokens.length].to_vec()])?;
            Ok(features.into_iter().flatten().collect())
        })?;
        let cosines = image_features(model, &self.preprocessor, media)?
            .iter()
            .map(|picture| cosine(text, picture))
            .collect::<Vec<f64>>();
        let scale = f64::from(model.temperature());
        let score = |cosine: f64| match self.variant {
            ClipVariant::Cosine => cosine,
            ClipVariant::Cosine100 => 100.0 * cosine,
            ClipVariant::Hessel => 2.5 * cosine.max(0.0),
            ClipVariant::Logit => scale * cosine,
        };
        Ok(mean_over_frames(media, cosines.into_iter().map(score)))
    }
}

impl Scorer for ClipScore {
    fn name(&self) -> &str {
        self.name
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(self.scores(prompt, media)?)
    }
}

/// The projected embedding of every frame of every picture or clip, in order, not normalised.
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

//! ImageReward: how much people prefer an image for a prompt, trained on 137 000 expert comparisons.
//!
//! Xu et al., "ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation", NeurIPS 2023.
//! Reference: `THUDM/ImageReward`, version 1.0: BLIP's vision transformer and cross-attending BERT, then a linear head.

#[cfg(test)]
mod tests;
mod text;
pub(crate) mod tokenizer;
mod vision;

use burn_tensor::{DType, Tensor};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::weights::Weights;
use noisefind_nn::{ModelFiles, Placement};

use self::text::{TextConfig, TextEncoder};
use self::tokenizer::WordPiece;
use self::vision::VisionTower;
use crate::Error;
use crate::features::{PromptCache, mean_over_frames, weights_file};
use crate::linear_stack::LinearStack;
use crate::preprocess::Preprocessor;
use crate::resize::CropStart;

/// The scorer's name.
pub const NAME: &str = "image-reward";

/// Mean of the raw rewards over the authors' validation images.
const MEAN: f64 = 0.167_173_628_300_524_26;
/// Standard deviation of the same.
const STD: f64 = 1.033_339_496_605_407_2;
/// Names of the head's layers and the widths after each.
const HEAD_LAYERS: [usize; 5] = [0, 2, 4, 6, 7];
const HEAD_WIDTHS: [usize; 5] = [1024, 128, 64, 16, 1];
/// Frames that go through the towers at once; bounds the memory.
const FRAMES_AT_ONCE: usize = 8;

/// The prompt of the published self-test.
pub const SELF_TEST_PROMPT: &str =
    "a painting of an ocean with clouds and birds, day time, low depth field effect";
/// The rewards of the four images of the published self-test, `assets/images/1.webp` to `4.webp`.
pub const SELF_TEST_REWARDS: [f64; 4] =
    [0.581_162_273_883_819_6, 0.274_527_609_348_297_1, -1.413_181_900_978_088_4, -2.029_569_625_854_492];

/// The scorer.
pub struct ImageReward {
    vision: VisionTower,
    text: TextEncoder,
    head: LinearStack,
    tokenizer: WordPiece,
    preprocessor: Preprocessor,
    prompt: PromptCache<Tensor<3>>,
}

impl ImageReward {
    /// Opens a folder with `ImageReward.pt` (or `ImageReward.safetensors` of the same tensors) and `med_config.json`; the
    /// vocabulary is that of `bert-base-uncased` unless the folder has its own `vocab.txt`.
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(files: &ModelFiles, placement: &Placement) -> Result<Self, Error> {
        let config = TextConfig::read(files, "med_config.json")?;
        let tokenizer = WordPiece::open(files, config.vocab_size)?;
        let path = weights_file(files, "ImageReward.pt");
        let weights = Weights::open_file(files, &path, placement)?;
        let root = weights.root();
        let vision = VisionTower::load(&root.at("blip.visual_encoder"), &files.display(&path))?;
        let text = TextEncoder::load(&root.at("blip.text_encoder"), &config, vision.width);
        let widths: Vec<usize> = std::iter::once(config.hidden_size).chain(HEAD_WIDTHS).collect();
        let head = LinearStack::load(&root.at("mlp"), &HEAD_LAYERS, &widths);
        // What only BLIP's own training needs.
        weights.finish(&[
            "blip.vision_proj",
            "blip.text_proj",
            "blip.text_encoder.embeddings.position_ids",
        ])?;
        let preprocessor = Preprocessor::clip(vision.side, CropStart::HalfToEven);
        Ok(Self { vision, text, head, tokenizer, preprocessor, prompt: PromptCache::default() })
    }

    fn scores(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let (text, tokenizer) = (&self.text, &self.tokenizer);
        let prompt = self.prompt.get(prompt, || Ok(text.embed(&tokenizer.encode(prompt)?)))?;
        let side = self.vision.side;
        let pixels = self.preprocessor.pixels(media, side)?;
        let mut scores = Vec::new();
        for part in pixels.chunks(FRAMES_AT_ONCE * side * side * 3) {
            let images = self.vision.forward(part.to_vec(), part.len() / (side * side * 3));
            let first = self.text.forward(prompt.clone(), images);
            let hidden = first.dims()[1];
            let rows: Vec<f32> = first.cast(DType::F32).into_data().try_into_vec().map_err(|error| {
                noisefind_nn::Error::Readback { what: "the text's first token", reason: format!("{error:?}") }
            })?;
            let raw = rows
                .chunks(hidden)
                .map(|row| self.head.forward(row.iter().copied().map(f64::from).collect()));
            scores.extend(raw.map(|raw| (raw - MEAN) / STD));
        }
        Ok(mean_over_frames(NAME, media, scores.into_iter()))
    }
}

impl Scorer for ImageReward {
    fn name(&self) -> &str {
        NAME
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(self.scores(prompt, media)?)
    }
}

//! Human Preference Score v2 and v2.1: the cosine between image and prompt under a CLIP ViT-H/14 trained on
//! 800 000 human choices; about 0.25 to 0.32, printed in papers times 100.
//!
//! Wu et al., "Human Preference Score v2", arXiv 2306.09341. Reference: `tgxs002/HPSv2`. Images are brought to the
//! size of the model by their longer side, in floating point, and the rest is black.

#[cfg(test)]
mod tests;
mod towers;

use burn_tensor::{DType, Tensor};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::ops::Activation;
use noisefind_nn::text::Tokenizer;
use noisefind_nn::weights::Weights;
use noisefind_nn::{ModelFiles, Placement};

use self::towers::Vision;
use crate::Error;
use crate::cleaning::clean;
use crate::features::{PromptCache, cosine, mean_over_frames, weights_file};
use crate::open_clip::Text;
use crate::preprocess::{CLIP_MEAN, CLIP_STD, frames};
use crate::resize::{Filter, RgbPixels, resize_plane};
use crate::vocabularies::clip_tokenizer;

/// Frames that go through the vision tower at once; bounds the memory.
const FRAMES_AT_ONCE: usize = 8;

/// Which of the two published sets of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpsVersion {
    /// `HPS_v2_compressed.pt`.
    V2,
    /// `HPS_v2.1_compressed.pt`.
    V2_1,
}

impl HpsVersion {
    fn name(self) -> &'static str {
        match self {
            Self::V2 => "hps-v2",
            Self::V2_1 => "hps-v2.1",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::V2 => "HPS_v2_compressed.pt",
            Self::V2_1 => "HPS_v2.1_compressed.pt",
        }
    }
}

/// The scorer.
pub struct Hps {
    version: HpsVersion,
    vision: Vision,
    text: Text,
    tokenizer: Tokenizer,
    prompt: PromptCache<Vec<f32>>,
}

impl Hps {
    /// Opens a folder with the published file, or a safetensors file of the same name; CLIP's tokenizer is the public one
    /// unless the folder has its own.
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(files: &ModelFiles, version: HpsVersion, placement: &Placement) -> Result<Self, Error> {
        let path = weights_file(files, version.file());
        let file = files.display(&path);
        let mut weights = Weights::open_file(files, &path, placement)?;
        weights.rename(|name| name.replace("attn.in_proj_", "attn.in_proj."));
        let root = weights.root();
        let vision = Vision::load(&root.at("visual"), &file)?;
        let text = Text::load(&root, &file, Activation::GeluErf)?;
        weights.finish(&["logit_scale"])?;
        let tokenizer = clip_tokenizer(files, "", text.context_length, text.vocab_size)?;
        Ok(Self { version, vision, text, tokenizer, prompt: PromptCache::default() })
    }

    fn scores(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let (text, tokenizer) = (&self.text, &self.tokenizer);
        let prompt = self.prompt.get(prompt, || {
            let tokens = tokenizer.encode(&clean(prompt))?;
            numbers(text.forward(&tokens.ids[..tokens.length]))
        })?;
        let side = self.vision.side;
        let frames: Vec<RgbPixels> = media.iter().flat_map(frames).collect();
        let mut scores = Vec::with_capacity(frames.len());
        for part in frames.chunks(FRAMES_AT_ONCE) {
            let pixels = part.iter().flat_map(|frame| fit(frame, side)).collect();
            let embeddings = numbers(self.vision.forward(pixels, part.len()))?;
            scores.extend(embeddings.chunks(prompt.len()).map(|image| cosine(prompt, image)));
        }
        Ok(mean_over_frames(self.version.name(), media, scores.into_iter()))
    }
}

impl Scorer for Hps {
    fn name(&self) -> &str {
        self.version.name()
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(self.scores(prompt, media)?)
    }
}

/// The image by its longer side in the middle of a black square, normalised, `[side, side, 3]`.
fn fit(image: &RgbPixels, side: usize) -> Vec<f32> {
    let longest = image.width().max(image.height());
    let scaled = |length: usize| {
        let scale = side as f64 / longest as f64;
        ((length as f64 * scale).round_ties_even() as usize).clamp(1, side)
    };
    let (width, height) = (scaled(image.width()), scaled(image.height()));
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let mut pixels = vec![0.0; side * side * 3];
    for color in 0..3 {
        let plane: Vec<f32> =
            image.bytes().iter().skip(color).step_by(3).map(|&byte| f32::from(byte) / 255.0).collect();
        let from = (image.width(), image.height());
        let plane = resize_plane(&plane, from, (width, height), Filter::Bicubic);
        for (row, line) in plane.chunks_exact(width).enumerate() {
            for (column, &value) in line.iter().enumerate() {
                pixels[((top + row) * side + left + column) * 3 + color] = value;
            }
        }
    }
    let normalise = |(value, color): (f32, usize)| (value - CLIP_MEAN[color]) / CLIP_STD[color];
    pixels.into_iter().zip([0, 1, 2].into_iter().cycle()).map(normalise).collect()
}

fn numbers(embedding: Tensor<2>) -> Result<Vec<f32>, Error> {
    embedding.cast(DType::F32).into_data().try_into_vec().map_err(|error| {
        Error::Model(noisefind_nn::Error::Readback { what: "the embedding", reason: format!("{error:?}") })
    })
}

//! ViCLIP: the cosine between a clip and the prompt under a CLIP model of clips.
//!
//! Wang et al., "InternVid: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation", ICLR 2024.
//! Reference: `OpenGVLab/InternVideo`, `Data/InternVid/viclip`. Every size is taken from the tensors; heads have 64
//! channels, as in every published size, and a tower narrower than that has one head.

#[cfg(test)]
mod tests;
mod vision;

use burn_tensor::{DType, Tensor};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::ops::Activation;
use noisefind_nn::text::Tokenizer;
use noisefind_nn::weights::Weights;
use noisefind_nn::{ModelFiles, Placement};

use self::vision::Vision;
use crate::Error;
use crate::cleaning::clean;
use crate::features::{PromptCache, cosine};
use crate::open_clip::Text;
use crate::opencv::resize_linear;
use crate::resize::RgbPixels;
use crate::vocabularies::clip_tokenizer;

/// The scorer's name.
pub(crate) const NAME: &str = "viclip";

/// Names of the file in a folder: the published ones, and those of a folder in the layout of transformers.
pub(crate) const FILES: &str = "ViClip-InternVid-10M-FLT.pth|ViCLIP-L_InternVid-FLT-10M.pth|\
    ViCLIP-B_InternVid-FLT-10M.pth|viclip.safetensors|model.safetensors|pytorch_model.bin";

/// Mean of the three colours in ImageNet, which the reference subtracts.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of the three colours in ImageNet.
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The scorer.
pub struct ViClip {
    vision: Vision,
    text: Text,
    tokenizer: Tokenizer,
    prompt: PromptCache<Vec<f32>>,
}

impl ViClip {
    /// Opens the file `path` of `files`, or where `path` is a folder (empty for their top), the first of the usual names
    /// in it. CLIP's tokenizer is the public one unless the folder has its own.
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(files: &ModelFiles, path: &str, placement: &Placement) -> Result<Self, Error> {
        let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let (folder, path) = match files.contains(path) {
            true => (path.rsplit_once('/').map_or("", |(folder, _)| folder), path.to_owned()),
            false => {
                let names: Vec<String> = FILES.split('|').map(inside).collect();
                let there = names.iter().find(|name| files.contains(name)).or(names.first());
                (path, there.cloned().unwrap_or_default())
            }
        };
        let file = files.display(&path);
        let mut weights = Weights::open_file(files, &path, placement)?;
        weights.rename(|name| name.replace("attn.in_proj_", "attn.in_proj."));
        let root = weights.root();
        let vision = Vision::load(&root.at("vision_encoder"), &file)?;
        let text = Text::load(&root.at("text_encoder"), &file, Activation::QuickGelu)?;
        // The temperature belongs to training; other programs store the mask of the text tower.
        weights.finish(&["temp", "logit_scale", "text_encoder.logit_scale", "text_encoder.attn_mask"])?;
        let tokenizer = clip_tokenizer(files, folder, text.context_length, text.vocab_size)?;
        Ok(Self { vision, text, tokenizer, prompt: PromptCache::default() })
    }

    fn scores(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, Error> {
        let expected = self.vision.frames;
        if let Some(short) = media.iter().find(|media| media.frames() < expected) {
            return Err(Error::FewFrames { scorer: NAME, expected, found: short.frames() });
        }
        let (text, tokenizer) = (&self.text, &self.tokenizer);
        let prompt = self.prompt.get(prompt, || {
            let tokens = tokenizer.encode(&clean(prompt))?;
            numbers(text.forward(&tokens.ids[..tokens.length]))
        })?;
        let score = |media: &Media| {
            let clip = numbers(self.vision.forward(pixels(media, expected, self.vision.side)))?;
            Ok(Reward::from_number(NAME, cosine(prompt, &clip)))
        };
        media.iter().map(score).collect()
    }
}

impl Scorer for ViClip {
    fn name(&self) -> &str {
        NAME
    }

    fn min_frames(&self) -> usize {
        self.vision.frames
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(self.scores(prompt, media)?)
    }
}

/// The frames that the reference takes of `count`: `wanted` of them with the whole step `count / wanted`, from the first
/// on. Where the step leaves a rest, the last frames are not looked at.
fn sampled(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by((count / wanted).max(1)).take(wanted)
}

/// The sampled frames as `[frames, side, side, 3]` normalised numbers; the aspect is not kept.
fn pixels(media: &Media, frames: usize, side: usize) -> Vec<f32> {
    let image = |frame| RgbPixels::new(media.width(), media.height(), media.frame(frame).to_vec());
    let resized =
        sampled(media.frames(), frames).filter_map(image).map(|frame| resize_linear(&frame, side, side));
    let normalise = |(byte, color): (u8, usize)| (f32::from(byte) / 255.0 - MEAN[color]) / STD[color];
    resized
        .flat_map(|frame| frame.bytes().to_vec())
        .zip([0, 1, 2].into_iter().cycle())
        .map(normalise)
        .collect()
}

fn numbers(embedding: Tensor<2>) -> Result<Vec<f32>, Error> {
    embedding.cast(DType::F32).into_data().try_into_vec().map_err(|error| {
        Error::Model(noisefind_nn::Error::Readback { what: "the embedding", reason: format!("{error:?}") })
    })
}

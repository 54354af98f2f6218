//! Temporal consistency: the mean cosine between the CLIP features of neighbouring frames, 1 for a still clip.
//!
//! Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", CVPR 2024, section 3.1. VBench's
//! background consistency averages the cosines with the previous and with the first frame, each cut at 0, under CLIP
//! ViT-B/32; here only neighbours count, nothing is cut, and any `CLIPModel` serves, so values of different models
//! do not compare.

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::clip::ClipModel;
use noisefind_nn::{ModelFiles, Placement};

use crate::Error;
use crate::clip_score::image_features;
use crate::features::cosine;
use crate::preprocess::Preprocessor;

/// The scorer's name.
pub(crate) const NAME: &str = "temporal-consistency";

/// The scorer.
pub struct TemporalConsistency {
    model: ClipModel,
    preprocessor: Preprocessor,
}

impl TemporalConsistency {
    /// Opens a `CLIPModel` folder of transformers in `folder` of `files` (empty for their top).
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(files: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self, Error> {
        let model = ClipModel::open(files, folder, placement)?;
        let preprocessor = Preprocessor::read(files, folder, model.vision().config().image_size)?;
        Ok(Self { model, preprocessor })
    }
}

impl Scorer for TemporalConsistency {
    fn name(&self) -> &str {
        NAME
    }

    fn min_frames(&self) -> usize {
        2
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        if media.iter().any(|media| media.frames() < 2) {
            return Err(Error::FewFrames { scorer: NAME, expected: 2, found: 1 }.into());
        }
        let features = image_features(&self.model, &self.preprocessor, media)?;
        let mut rest = features.as_slice();
        let score = |media: &Media| {
            let (own, others) = rest.split_at(media.frames());
            rest = others;
            Reward::from_number(NAME, mean_cosine_of_neighbours(own))
        };
        Ok(media.iter().map(score).collect())
    }
}

fn mean_cosine_of_neighbours(frames: &[Vec<f32>]) -> f64 {
    let sum: f64 = frames.windows(2).map(|pair| cosine(&pair[0], &pair[1])).sum();
    sum / (frames.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Golden, placements};

    #[test]
    fn still_clips_are_consistent_and_flickering_ones_are_less() {
        let golden = Golden::open("clip");
        let [first, second, _]: [Media; 3] = golden.images(3).try_into().expect("three images");
        let side = first.width().min(second.width()).min(first.height()).min(second.height());
        let crop = |media: &Media| -> Vec<u8> {
            let rows = (0..side).flat_map(|row| {
                let start = row * media.width() * 3;
                media.pixels()[start..start + side * 3].to_vec()
            });
            rows.collect()
        };
        let clip = |frames: [&Media; 4]| {
            Media::new(4, side, side, frames.into_iter().flat_map(crop).collect()).expect("four frames")
        };
        let mut scorer = TemporalConsistency::open(&golden.files(), "", &placements()[0]).unwrap();
        let clips = [clip([&first; 4]), clip([&first, &first, &second, &second])];
        let flicker = clip([&first, &second, &first, &second]);
        let rewards = scorer.score("", &[clips[0].clone(), clips[1].clone(), flicker]).unwrap();
        let [still, once, flicker] = [0usize, 1, 2].map(|at| rewards[at].given().expect("a reward"));
        assert!((still - 1.0).abs() < 1e-6, "{still}");
        // One of three neighbours differs, and every one does.
        assert!(flicker < 0.999, "{flicker}");
        assert!((once - (2.0 + flicker) / 3.0).abs() < 1e-6, "{once} and {flicker}");
        let image = Media::new(1, 4, 4, vec![0; 48]).unwrap();
        let message = scorer.score("", &[image]).unwrap_err().to_string();
        assert!(message.contains("at least 2 frames, found 1"), "{message}");
    }
}

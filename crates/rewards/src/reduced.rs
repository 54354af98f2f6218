//! Scorers of images on clips, with some of the frames in place of all.

use noisefind_core::media::{FrameReduction, Media};
use noisefind_core::ports::{PortError, Reward, Scorer};

/// A scorer that gets of each clip the frames that a [`FrameReduction`] chooses; an image stays as it is.
pub struct Reduced {
    scorer: Box<dyn Scorer>,
    reduction: FrameReduction,
}

impl Reduced {
    /// Wraps `scorer`.
    pub fn new(scorer: Box<dyn Scorer>, reduction: FrameReduction) -> Self {
        Self { scorer, reduction }
    }
}

impl Scorer for Reduced {
    fn name(&self) -> &str {
        self.scorer.name()
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let reduced: Vec<Media> = media.iter().map(|media| media.reduced(self.reduction)).collect();
        self.scorer.score(prompt, &reduced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Brightness;

    #[test]
    fn a_clip_is_scored_by_the_chosen_frames() {
        let levels = [0u8, 51, 102, 153, 204, 255];
        let clip = Media::new(6, 1, 1, levels.iter().flat_map(|&level| [level; 3]).collect()).unwrap();
        for (reduction, expected) in [
            (FrameReduction::All, 0.5),
            (FrameReduction::Evenly(2), 0.5),
            (FrameReduction::Evenly(3), 0.6),
            (FrameReduction::First, 0.0),
        ] {
            let mut scorer = Reduced::new(Box::new(Brightness::default()), reduction);
            let rewards = scorer.score("a dog", std::slice::from_ref(&clip)).unwrap();
            let found = rewards[0].given().unwrap();
            assert!((found - expected).abs() < 1e-9, "{reduction:?}: {found} instead of {expected}");
        }
    }
}

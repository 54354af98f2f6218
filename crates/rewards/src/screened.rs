//! Blocked images never reach a scorer: a safety filter paints them black, and black is no bad try.

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};

/// A scorer for which all-black images and clips have no reward.
pub struct Screened {
    scorer: Box<dyn Scorer>,
}

impl Screened {
    /// Screens what `scorer` sees.
    pub fn new(scorer: Box<dyn Scorer>) -> Self {
        Self { scorer }
    }
}

impl Scorer for Screened {
    fn name(&self) -> &str {
        self.scorer.name()
    }

    fn min_frames(&self) -> usize {
        self.scorer.min_frames()
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let shown: Vec<usize> = (0..media.len()).filter(|&at| !is_black(&media[at])).collect();
        if shown.len() == media.len() {
            return self.scorer.score(prompt, media);
        }
        let mut rewards = vec![Reward::Missing("blocked: all pixels are black".to_owned()); media.len()];
        if shown.is_empty() {
            return Ok(rewards);
        }
        let asked: Vec<Media> = shown.iter().map(|&at| media[at].clone()).collect();
        for (at, reward) in shown.into_iter().zip(self.scorer.score(prompt, &asked)?) {
            rewards[at] = reward;
        }
        Ok(rewards)
    }
}

/// Whether every pixel is black.
fn is_black(media: &Media) -> bool {
    media.pixels().iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Brightness, gray};

    #[test]
    fn black_is_missing_and_the_others_keep_their_places() {
        let scorer = Brightness::default();
        let scored = scorer.scored();
        let mut screened = Screened::new(Box::new(scorer));
        let media = [gray(0.0), gray(0.25), gray(0.001), gray(0.5)];
        let rewards = screened.score("a dog", &media).unwrap();
        let blocked = Reward::Missing("blocked: all pixels are black".to_owned());
        assert_eq!(
            rewards,
            [blocked.clone(), Reward::Given(64.0 / 255.0), blocked.clone(), Reward::Given(128.0 / 255.0)]
        );
        assert_eq!(screened.score("a dog", &media[..1]).unwrap(), [blocked]);
        assert_eq!(scored.load(std::sync::atomic::Ordering::Relaxed), 2);
    }
}

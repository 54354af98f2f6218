//! A scorer without a model, for the tests of this crate.

use std::cell::Cell;
use std::rc::Rc;

use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};

/// Rewards the mean of all pixels, and counts what it has scored.
pub(crate) struct Brightness {
    pub(crate) factor: f64,
    pub(crate) missing_below: f64,
    pub(crate) scored: Rc<Cell<usize>>,
}

impl Default for Brightness {
    fn default() -> Self {
        Self { factor: 1.0, missing_below: f64::NEG_INFINITY, scored: Rc::default() }
    }
}

impl Brightness {
    /// How many pictures have been scored so far, also after the scorer has been given away.
    pub(crate) fn scored(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.scored)
    }
}

impl Scorer for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        self.scored.set(self.scored.get() + media.len());
        let reward = |media: &Media| {
            let values = media.values();
            let mean = values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64;
            if mean < self.missing_below {
                Reward::Missing("too dark".to_owned())
            } else {
                Reward::Given(mean * self.factor)
            }
        };
        Ok(media.iter().map(reward).collect())
    }
}

/// A flat gray picture.
pub(crate) fn gray(level: f32) -> Media {
    Media::new(1, 4, 4, vec![level; 48]).expect("48 values")
}

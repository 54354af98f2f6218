//! The two things the method knows of the world: a frozen generator and a black-box scorer.

use serde::{Deserialize, Serialize};

use crate::media::Media;
use crate::noise::{Noise, NoiseShape};

/// Whatever went wrong behind a port; the message names the culprit.
pub type PortError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The reward of one sample: higher is better, and a missing reward is missing, never 0.
///
/// In files it is a number, or the text of the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reward {
    /// A finite number.
    Given(f64),
    /// No number, with the reason ("blocked: all pixels are black").
    Missing(String),
}

impl Reward {
    /// Turns a number that `scorer` gave into a reward; a NaN or an infinity is missing.
    pub fn from_number(scorer: &str, number: f64) -> Self {
        if number.is_finite() {
            Self::Given(number)
        } else {
            Self::Missing(format!("{scorer} gave {number}, expected a finite number"))
        }
    }

    /// The number, where there is one.
    pub fn given(&self) -> Option<f64> {
        match self {
            Self::Given(number) => Some(*number),
            Self::Missing(_) => None,
        }
    }
}

/// A frozen text-to-image or text-to-video model: the whole denoising run as one function of the noise.
pub trait Generator: Send {
    /// Shape of the noise that this generator takes.
    fn noise_shape(&self) -> NoiseShape;

    /// Generates an image or clip for each noise, in the same order.
    ///
    /// # Errors
    /// Whatever the model reports; the method stops and can be resumed.
    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError>;

    /// As [`generate`](Self::generate), with the final latents that each media was decoded from, in the shape of
    /// the noise.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); where the generator gives no latents.
    fn generate_with_latents(
        &mut self,
        _prompt: &str,
        _noises: &[Noise],
    ) -> Result<Vec<(Media, Vec<f32>)>, PortError> {
        Err("this model does not give its latents".into())
    }

    /// The media of the clean samples that are predicted after each of `calls` calls of the denoiser, counted from 1: for
    /// each noise as many as `calls`. No further call is made.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); where the generator gives no clean estimates, or makes no such call.
    fn clean_estimates(
        &mut self,
        _prompt: &str,
        _noises: &[Noise],
        _calls: &[usize],
    ) -> Result<Vec<Vec<Media>>, PortError> {
        Err("this model does not give clean estimates".into())
    }

    /// A fixed-length embedding of the prompt for the value network, empty where the generator has none.
    ///
    /// # Errors
    /// Whatever the text encoder reports.
    fn prompt_embedding(&mut self, _prompt: &str) -> Result<Vec<f32>, PortError> {
        Ok(Vec::new())
    }
}

/// A black-box reward. It sees media and the prompt, never the noise or the policy.
///
/// A *judge* is a scorer whose rewards are 1 (the media shows what the prompt says) or 0, and missing where it
/// cannot read the prompt.
pub trait Scorer: Send {
    /// The name under which rewards of this scorer are recorded.
    fn name(&self) -> &str;

    /// The fewest frames that it scores: 1 for a scorer of images, which gives a clip the mean over its frames.
    fn min_frames(&self) -> usize {
        1
    }

    /// Scores each image or clip against the prompt, in the same order.
    ///
    /// # Errors
    /// Only for failures that concern the whole batch; a single bad sample is a [`Reward::Missing`].
    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError>;
}

//! Models, scorers and a judge that need no weights: the test doubles behind `--model fake` and `--model fake-video`,
//! compiled into tests only (feature `test-doubles`).
//!
//! The media shows the noise itself, the reward is how green it is, the judge accepts what is green enough. A
//! prompt with the word "blocked" comes out black now and then, as from a safety filter.
//! With them every command runs in milliseconds, so that a command line can be tested as a whole.

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::{Generator, PortError, Reward, Scorer};

use super::test_double::TestDouble;

/// Name of the model of images, of the scorer and the beginning of the judge's name.
const NAME: &str = "fake";
/// Name of the model of clips.
const VIDEO: &str = "fake-video";
/// Name of a scorer whose reward falls where that of [`FakeScorer`] rises.
const RED: &str = "fake-red";
/// Name of a scorer that gives the same reward to everything.
const FLAT: &str = "fake-flat";
/// Name of the judge.
const JUDGE: &str = "fake-judge";

/// Frames a second of the clips.
const FPS: f64 = 8.0;

/// Every model.
pub(super) const MODELS: [TestDouble; 2] = [
    TestDouble {
        name: NAME,
        generator: || Box::new(FakeGenerator::image()),
        scorer,
        reward: NAME,
        judge: JUDGE,
    },
    TestDouble {
        name: VIDEO,
        generator: || Box::new(FakeGenerator::video()),
        scorer,
        reward: NAME,
        judge: JUDGE,
    },
];

fn scorer(name: &str) -> Option<Box<dyn Scorer>> {
    Some(match name {
        NAME => Box::new(FakeScorer),
        FLAT => Box::new(FakeFlat),
        RED => Box::new(FakeRed),
        JUDGE => Box::new(FakeJudge),
        _ => return None,
    })
}

/// Shows each channel of its noise as one colour of an image or clip of 8x8 pixels, `1 / (1 + exp(-z))`.
pub struct FakeGenerator {
    shape: NoiseShape,
}

impl FakeGenerator {
    /// The generator of images, which takes noise of `[3, 8, 8]`.
    pub fn image() -> Self {
        Self { shape: NoiseShape::image(3, 8, 8) }
    }

    /// The generator of clips of four frames, which takes noise of `[3, 4, 8, 8]`.
    pub fn video() -> Self {
        Self { shape: NoiseShape { frames: Some(4), ..NoiseShape::image(3, 8, 8) } }
    }
}

impl Generator for FakeGenerator {
    fn noise_shape(&self) -> NoiseShape {
        self.shape
    }

    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError> {
        noises
            .iter()
            .map(|noise| {
                let blocked = prompt.contains("blocked") && noise.values()[0] > 0.0;
                let pixel = |value: &f32| if blocked { 0.0 } else { 1.0 / (1.0 + (-value).exp()) };
                let pixels: Vec<f32> = noise.values().iter().map(pixel).collect();
                let NoiseShape { frames, height, width, .. } = self.shape;
                let media = Media::quantise(frames.unwrap_or(1), height, width, &pixels)?;
                Ok(media.with_fps(frames.map(|_| FPS)))
            })
            .collect()
    }

    fn generate_with_latents(
        &mut self,
        prompt: &str,
        noises: &[Noise],
    ) -> Result<Vec<(Media, Vec<f32>)>, PortError> {
        let media = self.generate(prompt, noises)?;
        Ok(media.into_iter().zip(noises.iter().map(|noise| noise.values().to_vec())).collect())
    }

    fn prompt_embedding(&mut self, prompt: &str) -> Result<Vec<f32>, PortError> {
        Ok(vec![prompt.len() as f32 / 100.0; 4])
    }
}

/// Mean of green less mean of red and blue.
pub struct FakeScorer;

/// Mean of red less mean of green and blue.
pub struct FakeRed;

impl Scorer for FakeRed {
    fn name(&self) -> &str {
        RED
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(media.iter().map(|media| Reward::from_number(RED, excess(media, 0))).collect())
    }
}

impl Scorer for FakeScorer {
    fn name(&self) -> &str {
        NAME
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(media.iter().map(|media| Reward::from_number(NAME, greenness(media))).collect())
    }
}

/// The same reward for everything.
pub struct FakeFlat;

impl Scorer for FakeFlat {
    fn name(&self) -> &str {
        FLAT
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(vec![Reward::Given(1.0); media.len()])
    }
}

/// 1 for media that is green enough, else 0; it cannot read prompts without the word "green".
pub struct FakeJudge;

impl Scorer for FakeJudge {
    fn name(&self) -> &str {
        JUDGE
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let judge = |media: &Media| {
            if prompt.contains("green") {
                Reward::Given(f64::from(u8::from(greenness(media) > 0.02)))
            } else {
                Reward::Missing("the judge knows only the word green".to_owned())
            }
        };
        Ok(media.iter().map(judge).collect())
    }
}

fn greenness(media: &Media) -> f64 {
    excess(media, 1)
}

/// Mean of one colour less mean of the two others.
fn excess(media: &Media, colour: usize) -> f64 {
    let mean = |channel: usize| {
        let bytes = media.pixels().iter().skip(channel).step_by(3);
        let count = media.pixels().len() / 3;
        bytes.map(|byte| f64::from(*byte)).sum::<f64>() / (255 * count) as f64
    };
    1.5 * mean(colour) - 0.5 * (mean(0) + mean(1) + mean(2))
}

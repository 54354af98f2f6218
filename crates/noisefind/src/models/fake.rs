//! A model, a scorer and a judge that need no weights: the test doubles behind `--model fake`.
//!
//! The picture shows the noise itself, the reward is how green it is, the judge accepts what is green enough. A
//! prompt with the word "blocked" comes out black now and then, as from a safety filter.
//! With them every command runs in milliseconds, so that a command line can be tested as a whole.

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::{Generator, PortError, Reward, Scorer};

/// Name of the model, its scorer and the beginning of its judge's name.
pub const NAME: &str = "fake";

/// Name of a scorer that likes what [`FakeScorer`] dislikes.
pub const RED: &str = "fake-red";

/// Name of a scorer to which all pictures are alike.
pub const FLAT: &str = "fake-flat";

/// Name of the judge.
pub const JUDGE: &str = "fake-judge";

const SHAPE: NoiseShape = NoiseShape::image(3, 8, 8);

/// Draws each channel of its `[3, 8, 8]` noise as one colour of an 8x8 picture, `1 / (1 + exp(-z))`.
pub struct FakeGenerator;

impl Generator for FakeGenerator {
    fn noise_shape(&self) -> NoiseShape {
        SHAPE
    }

    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError> {
        noises
            .iter()
            .map(|noise| {
                let blocked = prompt.contains("blocked") && noise.values()[0] > 0.0;
                let pixel = |value: &f32| if blocked { 0.0 } else { 1.0 / (1.0 + (-value).exp()) };
                let pixels = noise.values().iter().map(pixel).collect();
                Media::new(1, SHAPE.height, SHAPE.width, pixels).ok_or_else(|| {
                    format!("noise of shape {:?} for the fake model", noise.shape().dims()).into()
                })
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
        Ok(media.iter().map(|media| Reward::from_number(excess(media, 0))).collect())
    }
}

impl Scorer for FakeScorer {
    fn name(&self) -> &str {
        NAME
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(media.iter().map(|media| Reward::from_number(greenness(media))).collect())
    }
}

/// The same for every picture.
pub struct FakeFlat;

impl Scorer for FakeFlat {
    fn name(&self) -> &str {
        FLAT
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(vec![Reward::Given(1.0); media.len()])
    }
}

/// 1 for a picture that is green enough, else 0; it cannot read prompts without the word "green".
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
    let plane = media.values().len() / 3;
    let mean = |channel: usize| {
        let values = &media.values()[channel * plane..(channel + 1) * plane];
        values.iter().map(|value| f64::from(*value)).sum::<f64>() / plane as f64
    };
    1.5 * mean(colour) - 0.5 * (mean(0) + mean(1) + mean(2))
}

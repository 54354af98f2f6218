//! A generator and rewards without a model.

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_core::ports::{Generator, PortError, Reward, Scorer};
use noisefind_core::rng::{Domain, Stream};

/// "Generates" the noise itself: the media holds the bytes of its values, padded with zeros to whole RGB pixels.
///
/// The media is a strip of one row, one frame for each frame of the noise; [`noise_values`] reads it back.
#[derive(Clone, Debug)]
pub struct IdentityGenerator {
    shape: NoiseShape,
    calls: usize,
}

impl IdentityGenerator {
    /// A generator that takes noise of `shape`.
    pub fn new(shape: NoiseShape) -> Self {
        Self { shape, calls: 0 }
    }

    /// How often [`Generator::generate`] was called.
    pub fn calls(&self) -> usize {
        self.calls
    }
}

impl Generator for IdentityGenerator {
    fn noise_shape(&self) -> NoiseShape {
        self.shape
    }

    fn generate(&mut self, _prompt: &str, noises: &[Noise]) -> Result<Vec<Media>, PortError> {
        self.calls += 1;
        let frames = self.shape.frames.unwrap_or(1);
        let width = (4 * self.shape.numel()).div_ceil(3 * frames);
        let generate = |noise: &Noise| {
            let mut bytes: Vec<u8> = noise.values().iter().flat_map(|value| value.to_le_bytes()).collect();
            bytes.resize(3 * frames * width, 0);
            Media::new(frames, 1, width, bytes).map_err(PortError::from)
        };
        noises.iter().map(generate).collect()
    }
}

/// The noise values behind media of an [`IdentityGenerator`], then zeros of the padding.
pub fn noise_values(media: &Media) -> Vec<f32> {
    let (values, _) = media.pixels().as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A scorer made of a function of the media.
pub struct FunctionScorer<F> {
    name: String,
    function: F,
}

impl<F: FnMut(&str, &Media) -> f64 + Send> FunctionScorer<F> {
    /// A scorer called `name`; a NaN of `function` is a missing reward.
    pub fn new(name: impl Into<String>, function: F) -> Self {
        Self { name: name.into(), function }
    }
}

impl<F: FnMut(&str, &Media) -> f64 + Send> Scorer for FunctionScorer<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        Ok(media.iter().map(|one| Reward::from_number("double", (self.function)(prompt, one))).collect())
    }
}

/// `w . z`: the larger along `weights`, the better, without end.
pub fn linear_reward(weights: Vec<f32>) -> impl FnMut(&str, &Media) -> f64 + Clone + Send {
    move |_, media| noise_values(media).iter().zip(&weights).map(|(z, w)| f64::from(z * w)).sum()
}

/// `-|z - optimum|^2`: best at `optimum`.
pub fn quadratic_reward(optimum: Vec<f32>) -> impl FnMut(&str, &Media) -> f64 + Clone + Send {
    move |_, media| {
        -noise_values(media).iter().zip(&optimum).map(|(z, best)| f64::from(z - best).powi(2)).sum::<f64>()
    }
}

/// The same number for everything.
pub fn flat_reward(reward: f64) -> impl FnMut(&str, &Media) -> f64 + Clone + Send {
    move |_, _| reward
}

/// `inner`, but missing with probability `rate`; which ones depends on the media alone.
pub fn sometimes_missing(
    rate: f64,
    mut inner: impl FnMut(&str, &Media) -> f64 + Send,
) -> impl FnMut(&str, &Media) -> f64 + Send {
    move |prompt, media| {
        let seed = media
            .pixels()
            .iter()
            .fold(0u64, |seed, &byte| seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)));
        let key = SampleKey { seed, iteration: 0, index: 0 };
        if Stream::new(key, Domain::Test).uniform() < rate { f64::NAN } else { inner(prompt, media) }
    }
}

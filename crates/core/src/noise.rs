//! The action of the one-step decision process: initial noise in unit space.

use serde::{Deserialize, Serialize};

use crate::rng::NoiseSource;

/// Shape of one initial noise: `[channels, (frames,) height, width]` of the latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NoiseShape {
    /// Latent channels.
    pub channels: usize,
    /// Latent frames; `None` for a model of images.
    pub frames: Option<usize>,
    /// Latent rows.
    pub height: usize,
    /// Latent columns.
    pub width: usize,
}

impl NoiseShape {
    /// Shape of the noise of an image.
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, frames: None, height, width }
    }

    /// How many numbers one noise has: the `d` of the method.
    pub const fn numel(&self) -> usize {
        let frames = match self.frames {
            Some(frames) => frames,
            None => 1,
        };
        self.channels * frames * self.height * self.width
    }

    /// The dimensions in memory order, without the batch.
    pub fn dims(&self) -> Vec<usize> {
        match self.frames {
            Some(frames) => vec![self.channels, frames, self.height, self.width],
            None => vec![self.channels, self.height, self.width],
        }
    }
}

/// Names one sample: everything random about it comes from this key, so it does not depend on the batch that it was
/// computed in, the thread count, the dtype or the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleKey {
    /// The run's seed.
    pub seed: u64,
    /// The iteration of the method, or a reserved number for samples outside of it.
    pub iteration: u32,
    /// The sample's number in its iteration, from 0.
    pub index: u32,
}

impl SampleKey {
    /// The iteration number of samples that judge a policy and are never learnt from.
    pub const FRESH: u32 = u32::MAX;

    /// Key of fresh sample `index` under `seed`; base and tuned policy have the same standard normals under it.
    pub const fn fresh(seed: u64, index: u32) -> Self {
        Self { seed, iteration: Self::FRESH, index }
    }

    /// Whether this sample judges a policy.
    pub const fn is_fresh(self) -> bool {
        self.iteration == Self::FRESH
    }
}

/// One initial noise `z_T` in *unit* space (a scheduler's `init_noise_sigma` is applied after it).
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Names this sample's other random numbers (steps of stochastic schedulers).
    pub key: SampleKey,
    /// The generator of all of this sample's random numbers.
    pub source: NoiseSource,
    shape: NoiseShape,
    values: Vec<f32>,
}

impl Noise {
    /// Wraps `values` in memory order of `shape`; `None` where their number differs from `shape.numel()`. Further
    /// random numbers of the sample come from the default generator.
    pub fn new(key: SampleKey, shape: NoiseShape, values: Vec<f32>) -> Option<Self> {
        let source = NoiseSource::default();
        (values.len() == shape.numel()).then_some(Self { key, source, shape, values })
    }

    /// The same noise, whose further random numbers come from `source`.
    pub fn with_source(self, source: NoiseSource) -> Self {
        Self { source, ..self }
    }

    /// The shape of this noise.
    pub fn shape(&self) -> NoiseShape {
        self.shape
    }

    /// The numbers in memory order, `shape().numel()` of them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

//! Everything random: streams keyed by (seed, iteration, index, domain), so that a sample's numbers never
//! depend on the batch, the thread or the device that computes it.
//!
//! Normals come from the Box-Muller transform in `f64`, with logarithm and sine from `libm`, so that they have
//! the same bits on every platform.

mod philox;
mod torch;

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

pub use philox::philox4x32_10;
pub use torch::{TorchStream, torch_normal};

use crate::noise::{NoiseShape, SampleKey};

/// What a stream is for; two domains never share a number, even under the same [`SampleKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Domain {
    /// Initial noise of the samples that the method learns from.
    InitialNoise = 0,
    /// Noise of a stochastic scheduler's steps.
    SchedulerStep = 1,
    /// Initial noise of the fresh samples that judge a policy.
    EvaluationNoise = 2,
    /// Resampling for confidence intervals.
    Bootstrap = 3,
    /// First weights of the value network.
    NetworkWeights = 4,
    /// Seeds handed to the PyTorch-compatible generator.
    TorchSeed = 5,
    /// Tests and test doubles.
    Test = 6,
}

/// Which generator gives initial noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSource {
    /// [`philox4x32_10`], keyed by the whole [`SampleKey`].
    #[default]
    Philox,
    /// [`TorchStream`], one generator for each sample; fresh sample `i` of seed `s` has the generator of seed `s + i`. This is
    /// `generator=[torch.Generator().manual_seed(s + i) for i in range(n)]` in diffusers.
    Torch,
    /// [`TorchStream`], one generator for a whole batch of fresh samples with one seed. This is
    /// `generator=torch.Generator().manual_seed(s)` with `num_images_per_prompt=size` in diffusers.
    TorchBatch {
        /// Samples in the batch.
        size: u32,
    },
}

/// One endless stream of random numbers, identified by a sample key, a domain and a step.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream of `key` in `domain`.
    pub fn new(key: SampleKey, domain: Domain) -> Self {
        Self::at_step(key, domain, 0)
    }

    /// The stream of `key` in `domain` at one step of a scheduler; `step` counts below 2^24.
    pub fn at_step(key: SampleKey, domain: Domain, step: u32) -> Self {
        Self {
            key: [key.seed as u32, (key.seed >> 32) as u32],
            counter: [0, key.index, key.iteration, (step << 8) | u32::from(domain as u8)],
            block: [0; 4],
            used: 4,
        }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        (u64::from(self.next_u32()) << 32) | u64::from(self.next_u32())
    }

    /// A uniform number in `0.0..1.0` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform index in `0..bound`; the bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Two independent standard normals (Box-Muller):
    /// `sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v)` with `u` in `(0, 1)` and `v` in `[0, 1)`.
    pub fn normal_pair(&mut self) -> [f64; 2] {
        const UNIT: f64 = 1.0 / 4_294_967_296.0;
        let u = (f64::from(self.next_u32()) + 0.5) * UNIT;
        let v = f64::from(self.next_u32()) * UNIT;
        let radius = (-2.0 * libm::log(u)).sqrt();
        let (sine, cosine) = libm::sincos(TAU * v);
        [radius * cosine, radius * sine]
    }

    /// `count` standard normals.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let [first, second] = self.normal_pair();
            values.extend([first as f32, second as f32]);
        }
        values.truncate(count);
        values
    }
}

/// The standard normal `epsilon` of one sample in memory order of `shape`, before any policy is applied.
pub fn standard_noise(source: NoiseSource, key: SampleKey, shape: NoiseShape) -> Vec<f32> {
    SampleStream::new(source, key, shape.numel()).initial()
}

/// All standard normals of one sample: first its initial noise, then the noise of each step of a stochastic scheduler.
#[derive(Clone, Debug)]
pub struct SampleStream {
    key: SampleKey,
    count: usize,
    torch: Option<TorchStream>,
    /// Samples that are drawn together, and which of them this is.
    batch: (usize, usize),
}

impl SampleStream {
    /// The stream of sample `key`, which draws `count` numbers at a time.
    pub fn new(source: NoiseSource, key: SampleKey, count: usize) -> Self {
        let (torch, batch) = match source {
            NoiseSource::Philox => (None, (1, 0)),
            NoiseSource::TorchBatch { size } if key.is_fresh() && key.index < size => {
                (Some(TorchStream::new(key.seed)), (size as usize, key.index as usize))
            }
            NoiseSource::Torch | NoiseSource::TorchBatch { .. } => {
                let seed = if key.is_fresh() {
                    key.seed.wrapping_add(u64::from(key.index))
                } else {
                    Stream::new(key, Domain::TorchSeed).next_u64()
                };
                (Some(TorchStream::new(seed)), (1, 0))
            }
        };
        Self { key, count, torch, batch }
    }

    /// The initial noise; to be asked for once, before any step.
    pub fn initial(&mut self) -> Vec<f32> {
        let domain = if self.key.is_fresh() { Domain::EvaluationNoise } else { Domain::InitialNoise };
        self.of_torch().unwrap_or_else(|| Stream::new(self.key, domain).normals(self.count))
    }

    /// The noise of `step`; to be asked for once for each step that draws noise, in order.
    pub fn step(&mut self, step: u32) -> Vec<f32> {
        self.of_torch()
            .unwrap_or_else(|| Stream::at_step(self.key, Domain::SchedulerStep, step).normals(self.count))
    }

    fn of_torch(&mut self) -> Option<Vec<f32>> {
        let (size, index) = self.batch;
        let all = self.torch.as_mut()?.normals(size * self.count);
        Some(all[index * self.count..(index + 1) * self.count].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SampleKey = SampleKey { seed: 7, iteration: 3, index: 5 };

    #[test]
    fn streams_differ_in_every_part_of_their_name() {
        let first = |key, domain, step| Stream::at_step(key, domain, step).next_u64();
        let base = first(KEY, Domain::InitialNoise, 0);
        assert_ne!(base, first(SampleKey { seed: 8, ..KEY }, Domain::InitialNoise, 0));
        assert_ne!(base, first(SampleKey { seed: 7 | 1 << 40, ..KEY }, Domain::InitialNoise, 0));
        assert_ne!(base, first(SampleKey { iteration: 4, ..KEY }, Domain::InitialNoise, 0));
        assert_ne!(base, first(SampleKey { index: 6, ..KEY }, Domain::InitialNoise, 0));
        assert_ne!(base, first(KEY, Domain::SchedulerStep, 0));
        assert_ne!(base, first(KEY, Domain::InitialNoise, 1));
    }

    #[test]
    fn normals_have_the_moments_of_a_standard_normal() {
        let count = 200_000;
        let values = Stream::new(KEY, Domain::InitialNoise).normals(count);
        let moment =
            |power: i32| values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count as f64;
        // Five standard errors of each moment: sqrt(1, 2, 15, 96) / sqrt(count).
        assert!(moment(1).abs() < 0.0112);
        assert!((moment(2) - 1.0).abs() < 0.0159);
        assert!(moment(3).abs() < 0.0434);
        assert!((moment(4) - 3.0).abs() < 0.1096);
    }

    #[test]
    fn a_shorter_draw_is_the_beginning_of_a_longer_one() {
        let long = Stream::new(KEY, Domain::Bootstrap).normals(17);
        assert_eq!(Stream::new(KEY, Domain::Bootstrap).normals(6), long[..6]);
    }

    #[test]
    fn fresh_torch_noise_counts_seeds_as_diffusers_does() {
        let shape = NoiseShape::image(4, 2, 2);
        let third = standard_noise(NoiseSource::Torch, SampleKey::fresh(42, 2), shape);
        assert_eq!(third, torch_normal(44, 16));
    }

    #[test]
    fn below_reaches_every_index_and_no_other() {
        let mut stream = Stream::new(KEY, Domain::Bootstrap);
        let mut seen = [false; 7];
        (0..500).for_each(|_| seen[stream.below(7)] = true);
        assert_eq!(seen, [true; 7]);
    }
}

//! The denoising loop: batches of samples through the same steps, each sample with its own state and noise.

use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::rng::step_noise;

use super::{DiffusionModel, PreparedPrompt};
use crate::scheduler::SampleState;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::ops::read_back;
use noisefind_nn::ops::release_buffers;

/// A sample in the decoder's space after the last step, before any scaling: `shape` says how it lies in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// Channels, rows and columns.
    pub shape: NoiseShape,
    /// The numbers in memory order.
    pub values: Vec<f32>,
}

impl DiffusionModel {
    /// Runs the sampler on each noise; latents come back in the same order, before decoding.
    ///
    /// # Errors
    /// Where a noise has another shape than the prompt was prepared for, the denoiser diverges, or the device fails.
    pub fn generate_latents(&self, prompt: &PreparedPrompt, noises: &[Noise]) -> Result<Vec<Latents>> {
        let shape = prompt.noise_shape;
        if let Some(other) = noises.iter().find(|noise| noise.shape() != shape) {
            return Err(Error::Shape { what: "noise", expected: shape.dims(), found: other.shape().dims() });
        }
        let batches = noises.chunks(prompt.batch_size).map(|batch| self.denoise(prompt, batch));
        let states: Result<Vec<Vec<SampleState>>> = batches.collect();
        release_buffers();
        let latents = states?.into_iter().flatten();
        Ok(latents.map(|state| Latents { shape, values: state.values }).collect())
    }

    fn denoise(&self, prompt: &PreparedPrompt, noises: &[Noise]) -> Result<Vec<SampleState>> {
        let schedule = &prompt.schedule;
        let sigma = schedule.init_noise_sigma();
        let start =
            |noise: &Noise| SampleState::new(noise.values().iter().map(|value| value * sigma).collect());
        let mut states: Vec<SampleState> = noises.iter().map(start).collect();
        for at in 0..schedule.len() {
            let outputs = self.predict(prompt, at, &states)?;
            for ((state, noise), output) in states.iter_mut().zip(noises).zip(&outputs) {
                if let Some(&value) = output.iter().find(|value| !value.is_finite()) {
                    return Err(Error::Diverged { value, step: at + 1, steps: schedule.len() });
                }
                schedule.step(at, state, output, || step_noise(noise.key, at as u32, output.len()));
            }
        }
        Ok(states)
    }

    /// The denoiser's output for each sample at step `at`, after classifier-free guidance.
    fn predict(&self, prompt: &PreparedPrompt, at: usize, states: &[SampleState]) -> Result<Vec<Vec<f32>>> {
        let shape = prompt.noise_shape;
        let scale = prompt.schedule.input_scale(at);
        let mut input = channels_last(states.iter().map(|state| state.values.as_slice()), shape);
        input.iter_mut().for_each(|value| *value *= scale);
        let halves = if prompt.guidance_scale.is_some() { 2 } else { 1 };
        let input = input.repeat(halves);
        let dims = [halves * states.len(), 1, shape.height, shape.width, shape.channels];
        let output = prompt.denoiser.predict(self.placement.tensor(input, dims), at);
        let output = read_back(output, "the denoiser's output")?;
        let size = output.len() / dims[0].max(1);
        let sample = |at: usize| channels_first(&output[at * size..(at + 1) * size], shape);
        let guided = |at: usize| {
            let Some(scale) = prompt.guidance_scale else {
                return sample(at);
            };
            let (without, with) = (sample(at), sample(at + states.len()));
            without.iter().zip(with).map(|(without, with)| without + scale * (with - without)).collect()
        };
        Ok((0..states.len()).map(guided).collect())
    }
}

/// Samples of `[channels, height, width]` joined to `[batch, height, width, channels]`.
pub(super) fn channels_last<'a>(samples: impl Iterator<Item = &'a [f32]>, shape: NoiseShape) -> Vec<f32> {
    let pixels = shape.height * shape.width;
    let mut joined = Vec::new();
    for sample in samples {
        joined.extend((0..pixels).flat_map(|pixel| sample.iter().skip(pixel).step_by(pixels)));
    }
    joined
}

/// One sample of `[height, width, channels or more]` as `[channels, height, width]`.
///
/// Models that also predict a variance put it into further channels, which the samplers here do not use.
fn channels_first(sample: &[f32], shape: NoiseShape) -> Vec<f32> {
    let pixels = shape.height * shape.width;
    let stored = sample.len() / pixels.max(1);
    (0..shape.channels)
        .flat_map(|channel| sample.iter().skip(channel).step_by(stored.max(1)).copied())
        .collect()
}

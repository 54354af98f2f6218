//! The denoising loop: batches of samples through the same steps, each sample with its own noise.
//!
//! Samples stay on the device between steps, in f32 and in the denoiser's layout `[batch, frames, height, width, channels]`.

use burn_tensor::{DType, Int, Tensor};
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::rng::SampleStream;

use super::{DiffusionModel, PreparedPrompt};
use crate::scheduler::{Samples, State};
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::ops::{read_back, release_buffers};

/// A sample in the decoder's space after the last step, before any scaling: `shape` says how it lies in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// Channels, frames, rows and columns.
    pub shape: NoiseShape,
    /// The numbers in memory order.
    pub values: Vec<f32>,
}

impl DiffusionModel {
    /// Runs the scheduler on each noise; latents come back in the same order, before decoding.
    ///
    /// # Errors
    /// Where a noise has another shape than the prompt was prepared for, the denoiser diverges, or the device fails.
    pub fn generate_latents(&self, prompt: &PreparedPrompt, noises: &[Noise]) -> Result<Vec<Latents>> {
        let shape = prompt.noise_shape;
        if let Some(other) = noises.iter().find(|noise| noise.shape() != shape) {
            return Err(Error::Shape { what: "noise", expected: shape.dims(), found: other.shape().dims() });
        }
        let batches = noises.chunks(prompt.batch_size).map(|batch| {
            let samples = self.denoise(prompt, batch, prompt.schedule.len(), |_, _, _| ())?;
            self.latents_of(prompt, samples)
        });
        let latents: Result<Vec<Vec<Latents>>> = batches.collect();
        release_buffers();
        Ok(latents?.into_iter().flatten().collect())
    }

    /// The clean samples that the scheduler predicts after each of `calls` calls of the denoiser, counted from 1: for each
    /// noise as many latents as `calls`, in their order.
    ///
    /// # Errors
    /// As [`generate_latents`](Self::generate_latents); where the schedule has no such call.
    pub fn clean_estimates(
        &self,
        prompt: &PreparedPrompt,
        noises: &[Noise],
        calls: &[usize],
    ) -> Result<Vec<Vec<Latents>>> {
        let schedule = &prompt.schedule;
        if let Some(call) = calls.iter().find(|call| !(1..=schedule.len()).contains(*call)) {
            return Err(Error::Option {
                option: "clean estimate",
                found: format!("call {call} of the denoiser"),
                expected: format!("1 to {}", schedule.len()),
            });
        }
        let last = calls.iter().copied().max().unwrap_or(0);
        let batches = noises.chunks(prompt.batch_size).map(|batch| {
            let mut estimates = vec![None; calls.len()];
            self.denoise(prompt, batch, last, |at, state, output| {
                for (estimate, _) in estimates.iter_mut().zip(calls).filter(|(_, call)| **call == at + 1) {
                    *estimate = Some(schedule.clean(at, state, output));
                }
            })?;
            let by_call = estimates.into_iter().flatten().map(|samples| self.latents_of(prompt, samples));
            let mut by_call =
                by_call.collect::<Result<Vec<_>>>()?.into_iter().map(Vec::into_iter).collect::<Vec<_>>();
            Ok((0..batch.len()).map(|_| by_call.iter_mut().filter_map(Iterator::next).collect()).collect())
        });
        let estimates: Result<Vec<Vec<Vec<Latents>>>> = batches.collect();
        release_buffers();
        Ok(estimates?.into_iter().flatten().collect())
    }

    /// The samples after `calls` calls of the denoiser; `each` sees the number of every step, the state before it and the
    /// denoiser's output.
    fn denoise(
        &self,
        prompt: &PreparedPrompt,
        noises: &[Noise],
        calls: usize,
        mut each: impl FnMut(usize, &State, &Samples),
    ) -> Result<Samples> {
        let (schedule, shape) = (&prompt.schedule, prompt.noise_shape);
        let placement = self.placement.with_dtype(DType::F32);
        let start = on_device(noises.iter().map(Noise::values), shape, &placement);
        let mut state = State::new(start * schedule.init_noise_sigma());
        let mut check = DivergenceCheck::default();
        let mut streams = noise_streams(prompt, noises);
        for at in 0..calls {
            let output = self.predict(prompt, at, &state.samples);
            check.add(&output);
            each(at, &state, &output);
            let noise = schedule.draws_noise(at).then(|| {
                let sampled: Vec<Vec<f32>> =
                    streams.iter_mut().map(|stream| stream.step(at as u32)).collect();
                on_device(sampled.iter().map(Vec::as_slice), shape, &placement)
            });
            state = schedule.step(at, state, output, noise);
        }
        check.finish(self.placement.dtype, calls)?;
        Ok(state.samples)
    }

    /// Samples off the device.
    fn latents_of(&self, prompt: &PreparedPrompt, samples: Samples) -> Result<Vec<Latents>> {
        let (steps, shape) = (prompt.schedule.len(), prompt.noise_shape);
        let values = read_back(samples, "latents")?;
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::Diverged { dtype: self.placement.dtype, value, step: steps, steps });
        }
        let samples = values.chunks_exact(shape.numel());
        Ok(samples.map(|sample| Latents { shape, values: channels_first(sample, shape) }).collect())
    }

    /// The denoiser's output for each sample at step `at`, after classifier-free guidance, in f32.
    fn predict(&self, prompt: &PreparedPrompt, at: usize, samples: &Samples) -> Samples {
        let [batch, frames, height, width, channels] = samples.dims();
        let mut input = (samples.clone() * prompt.schedule.input_scale(at)).cast(self.placement.dtype);
        if prompt.guidance_scale.is_some() {
            input = input.repeat_dim(0, 2);
        }
        // Models that also predict a variance put it into further channels, which no scheduler here uses.
        let output = prompt.denoiser.predict(input, at).narrow(4, 0, channels).cast(DType::F32);
        let Some(scale) = prompt.guidance_scale else {
            return output;
        };
        let half = |from: usize| output.clone().narrow(0, from, batch);
        let (without, with) = (half(0), half(batch));
        let guided = without.clone() + (with - without) * scale;
        debug_assert_eq!(guided.dims(), [batch, frames, height, width, channels]);
        guided
    }
}

/// The streams of the samples' step noise, past the initial noise, where a step draws any.
fn noise_streams(prompt: &PreparedPrompt, noises: &[Noise]) -> Vec<SampleStream> {
    let schedule = &prompt.schedule;
    if !(0..schedule.len()).any(|at| schedule.draws_noise(at)) {
        return Vec::new();
    }
    let stream = |noise: &Noise| {
        let mut stream = SampleStream::new(noise.source, noise.key, noise.values().len());
        stream.initial();
        stream
    };
    noises.iter().map(stream).collect()
}

/// Counts the steps whose output holds a number that is none, without waiting for the device. What is not a number once
/// stays none, so the count tells the first such step.
#[derive(Default)]
struct DivergenceCheck(Option<Tensor<1, Int>>);

impl DivergenceCheck {
    fn add(&mut self, output: &Samples) {
        let diverged = output.clone().is_finite().bool_not().any().int();
        self.0 = Some(match self.0.take() {
            Some(count) => count + diverged,
            None => diverged,
        });
    }

    fn finish(self, dtype: DType, steps: usize) -> Result<()> {
        let Some(count) = self.0 else { return Ok(()) };
        let failed = |error| Error::Readback { what: "the check of the denoiser's output", reason: error };
        let counts: Vec<i64> = count
            .into_data()
            .convert::<i64>()
            .try_into_vec()
            .map_err(|error| failed(format!("{error:?}")))?;
        match counts.first() {
            Some(&count) if count > 0 => {
                let step = (steps + 1).saturating_sub(count as usize);
                Err(Error::Diverged { dtype, value: f32::NAN, step, steps })
            }
            _ => Ok(()),
        }
    }
}

/// Samples of `[channels, frames, height, width]` as one tensor in the denoiser's layout.
fn on_device<'a>(
    samples: impl ExactSizeIterator<Item = &'a [f32]>,
    shape: NoiseShape,
    placement: &Placement,
) -> Samples {
    let batch = samples.len();
    let dims = [batch, shape.frames.unwrap_or(1), shape.height, shape.width, shape.channels];
    placement.tensor(channels_last(samples, shape), dims)
}

/// Samples of `[channels, frames, height, width]` joined to `[batch, frames, height, width, channels]`.
pub(super) fn channels_last<'a>(samples: impl Iterator<Item = &'a [f32]>, shape: NoiseShape) -> Vec<f32> {
    let pixels = shape.frames.unwrap_or(1) * shape.height * shape.width;
    let mut joined = Vec::new();
    for sample in samples {
        joined.extend((0..pixels).flat_map(|pixel| sample.iter().skip(pixel).step_by(pixels)));
    }
    joined
}

/// One sample of `[frames, height, width, channels]` as `[channels, frames, height, width]`.
fn channels_first(sample: &[f32], shape: NoiseShape) -> Vec<f32> {
    (0..shape.channels)
        .flat_map(|channel| sample.iter().skip(channel).step_by(shape.channels).copied())
        .collect()
}

//! A diffusion model as the method's generator.

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::{Generator, PortError};

use super::{DiffusionModel, GenerationOptions, Latents, PreparedPrompt};
use crate::scheduler::Schedule;
use noisefind_nn::error::Result;

/// Generates images with fixed options; keeps the last prompt's encoding, since a run asks for it again and again.
#[derive(Clone, Debug)]
pub struct DiffusionGenerator {
    model: DiffusionModel,
    options: GenerationOptions,
    noise_shape: NoiseShape,
    prepared: Option<(String, PreparedPrompt)>,
}

impl DiffusionGenerator {
    /// A generator over `model`.
    ///
    /// # Errors
    /// Where an option is out of range for this model.
    pub fn new(model: DiffusionModel, options: GenerationOptions) -> Result<Self> {
        options.check()?;
        let noise_shape = model.noise_shape_for(&options)?;
        Schedule::new(&model.scheduler(&options)?, options.num_inference_steps, options.eta)?;
        Ok(Self { model, options, noise_shape, prepared: None })
    }

    /// The model.
    pub fn model(&self) -> &DiffusionModel {
        &self.model
    }

    /// How it generates.
    pub fn options(&self) -> &GenerationOptions {
        &self.options
    }

    /// The prompt's encoding and schedule.
    ///
    /// # Errors
    /// As [`DiffusionModel::prepare`].
    pub fn prepare(&mut self, prompt: &str) -> Result<&PreparedPrompt> {
        prepared_for(&mut self.prepared, &self.model, &self.options, prompt)
    }

    fn draw(&mut self, prompt: &str, noises: &[Noise]) -> Result<(Vec<Media>, Vec<Latents>)> {
        let prepared = prepared_for(&mut self.prepared, &self.model, &self.options, prompt)?;
        let latents = self.model.generate_latents(prepared, noises)?;
        Ok((self.decode(&latents)?, latents))
    }

    fn decode(&self, latents: &[Latents]) -> Result<Vec<Media>> {
        let media = self.model.decode(latents, self.options.batch_size)?;
        let fps = self.noise_shape.frames.map(|_| self.options.fps.unwrap_or(DEFAULT_FPS));
        Ok(media.into_iter().map(|one| one.with_fps(fps)).collect())
    }
}

/// Frames a second where nobody says otherwise: the models of this kind were trained on slow clips.
const DEFAULT_FPS: f64 = 8.0;

/// The cached encoding where it is that of `prompt`, else a new one in its place.
fn prepared_for<'a>(
    cache: &'a mut Option<(String, PreparedPrompt)>,
    model: &DiffusionModel,
    options: &GenerationOptions,
    prompt: &str,
) -> Result<&'a PreparedPrompt> {
    if cache.as_ref().is_some_and(|(known, _)| known != prompt) {
        *cache = None;
    }
    let (_, prepared) = match cache {
        Some(known) => known,
        None => cache.insert((prompt.to_owned(), model.prepare(prompt, options)?)),
    };
    Ok(prepared)
}

impl Generator for DiffusionGenerator {
    fn noise_shape(&self) -> NoiseShape {
        self.noise_shape
    }

    fn generate(&mut self, prompt: &str, noises: &[Noise]) -> std::result::Result<Vec<Media>, PortError> {
        Ok(self.draw(prompt, noises)?.0)
    }

    fn generate_with_latents(
        &mut self,
        prompt: &str,
        noises: &[Noise],
    ) -> std::result::Result<Vec<(Media, Vec<f32>)>, PortError> {
        let (media, latents) = self.draw(prompt, noises)?;
        Ok(media.into_iter().zip(latents.into_iter().map(|latents| latents.values)).collect())
    }

    fn clean_estimates(
        &mut self,
        prompt: &str,
        noises: &[Noise],
        calls: &[usize],
    ) -> std::result::Result<Vec<Vec<Media>>, PortError> {
        let prepared = prepared_for(&mut self.prepared, &self.model, &self.options, prompt)?;
        let estimates = self.model.clean_estimates(prepared, noises, calls)?;
        Ok(estimates.iter().map(|latents| self.decode(latents)).collect::<Result<_>>()?)
    }

    fn prompt_embedding(&mut self, prompt: &str) -> std::result::Result<Vec<f32>, PortError> {
        Ok(self.prepare(prompt)?.embedding().to_vec())
    }
}

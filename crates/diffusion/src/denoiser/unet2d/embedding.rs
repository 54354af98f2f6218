//! How the denoiser learns the time, the guidance scale and SDXL's image sizes.

use burn_tensor::Tensor;

use super::super::AddedConditioning;
use super::UnetConfig;
use noisefind_nn::device::Placement;
use noisefind_nn::ops::{Activation, Linear};
use noisefind_nn::weights::Scope;

/// Two linear layers with SiLU between them.
#[derive(Clone, Debug)]
struct Mlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl Mlp {
    fn load(scope: &Scope<'_>, input: usize, output: usize) -> Self {
        Self {
            linear_1: Linear::load(&scope.at("linear_1"), input, output),
            linear_2: Linear::load(&scope.at("linear_2"), output, output),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(self.linear_1.forward_with(x, None, Activation::Silu))
    }
}

/// Everything that becomes the time embedding.
#[derive(Clone, Debug)]
pub(super) struct TimeEmbedding {
    time: Mlp,
    /// Embeds the guidance scale, for distilled models.
    cond_proj: Option<Linear>,
    /// Embeds pooled text and image sizes.
    added: Option<Mlp>,
    sinusoids: Sinusoids,
    size_channels: usize,
    guidance_channels: usize,
    placement: Placement,
}

impl TimeEmbedding {
    pub(super) fn load(scope: &Scope<'_>, config: &UnetConfig) -> Self {
        let width = config.block_out_channels[0];
        let output = config.time_embed_dim;
        let time = scope.at("time_embedding");
        Self {
            cond_proj: config
                .time_cond_proj_dim
                .map(|input| Linear::load_without_bias(&time.at("cond_proj"), input, width)),
            time: Mlp::load(&time, width, output),
            added: config.text_time.map(|sizes| {
                Mlp::load(&scope.at("add_embedding"), sizes.projection_class_embeddings_input_dim, output)
            }),
            sinusoids: Sinusoids { channels: width, flip: config.flip_sin_to_cos, shift: config.freq_shift },
            size_channels: config.text_time.map_or(0, |sizes| sizes.addition_time_embed_dim),
            guidance_channels: config.time_cond_proj_dim.unwrap_or(0),
            placement: scope.placement().clone(),
        }
    }

    /// The time embedding after its SiLU, `[groups, time_embed_dim]`, which is how every residual block takes it.
    pub(super) fn forward(
        &self,
        timestep: f32,
        added: Option<&AddedConditioning>,
        guidance_scale: Option<f32>,
    ) -> Tensor<2> {
        let mut x = self.row(self.sinusoids.of(timestep));
        if let (Some(cond_proj), Some(scale)) = (&self.cond_proj, guidance_scale) {
            x = cond_proj.forward_with(
                self.row(guidance_sinusoids(scale, self.guidance_channels)),
                Some(x),
                Activation::None,
            );
        }
        let mut embedding = self.time.forward(x);
        if let (Some(mlp), Some(added)) = (&self.added, added) {
            let sinusoids = Sinusoids { channels: self.size_channels, ..self.sinusoids };
            let sizes = self.row(added.time_ids.iter().flat_map(|&size| sinusoids.of(size)).collect());
            let [groups, _] = added.text_embeds.dims();
            let sizes = sizes.repeat_dim(0, groups);
            embedding = mlp.forward(Tensor::cat(vec![added.text_embeds.clone(), sizes], 1)) + embedding;
        }
        noisefind_nn::ops::activate(embedding, Activation::Silu)
    }

    fn row(&self, values: Vec<f32>) -> Tensor<2> {
        let width = values.len();
        self.placement.tensor(values, [1, width])
    }
}

/// The sinusoidal embedding of "Attention Is All You Need", halves side by side.
#[derive(Clone, Copy, Debug)]
struct Sinusoids {
    channels: usize,
    /// Cosines first.
    flip: bool,
    /// Subtracted from the number of frequencies before they are spread.
    shift: f32,
}

impl Sinusoids {
    /// `f_i = 10000^(-i / (half - shift))`; `[cos(t f), sin(t f)]`, or the other way round, in f32.
    fn of(&self, value: f32) -> Vec<f32> {
        let half = self.channels / 2;
        let angles = frequencies(half, half as f32 - self.shift).map(|frequency| value * frequency);
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        let mut row = if self.flip { [cosines, sines].concat() } else { [sines, cosines].concat() };
        row.resize(self.channels, 0.0);
        row
    }
}

/// The embedding of a guidance scale: sines first, and the divisor is one less than for times.
///
/// Luo et al., "Latent Consistency Models", 2023: `w = guidance_scale - 1`, multiplied by 1000.
fn guidance_sinusoids(guidance_scale: f32, channels: usize) -> Vec<f32> {
    let half = channels / 2;
    let value = (guidance_scale - 1.0) * 1000.0;
    let angles = frequencies(half, half as f32 - 1.0).map(|frequency| value * frequency);
    let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    let mut row = [sines, cosines].concat();
    row.resize(channels, 0.0);
    row
}

fn frequencies(count: usize, divisor: f32) -> impl Iterator<Item = f32> {
    let rate = -(10_000f64.ln() as f32);
    (0..count).map(move |at| (rate * at as f32 / divisor).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-5, "{found} against {expected}");
        }
    }

    /// Numbers of diffusers 0.42.1, `get_timestep_embedding`.
    #[test]
    fn time_embedding_agrees_with_diffusers() {
        let sinusoids = Sinusoids { channels: 8, flip: true, shift: 0.0 };
        let expected =
            [0.679_957, -0.757_959, -0.926_715, 0.556_192, 0.733_252, -0.652_303, -0.375_764, 0.831_054];
        assert_close(&sinusoids.of(981.0), &expected);
        let swapped = Sinusoids { flip: false, ..sinusoids }.of(981.0);
        assert_close(&swapped[..4], &expected[4..]);
        assert_close(&swapped[4..], &expected[..4]);
    }

    /// Numbers of diffusers 0.42.1, `get_guidance_scale_embedding` of w = 7.5.
    #[test]
    fn guidance_embedding_agrees_with_diffusers() {
        let expected = [-0.85124, 0.56267, -0.43523, 0.68164, -0.52478, -0.82668, -0.90032, 0.73169];
        let found = guidance_sinusoids(8.5, 8);
        for (found, expected) in found.iter().zip(expected) {
            // At an angle of 7500, single precision leaves about four digits.
            assert!((found - expected).abs() < 5e-4, "{found} against {expected}");
        }
    }
}

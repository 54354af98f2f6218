//! Seed 42 of `torch.Generator` under stochastic schedulers, against diffusers; made by `golden/diffusion/seeds.py`.
//!
//! Tolerance: 1e-4 of the largest latent; another stream would differ by as much as the latents.

mod common;

use common::{F32, Golden, assert_close, open_variant};
use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::rng::{NoiseSource, standard_noise};
use noisefind_diffusion::GenerationOptions;

const SEED: u64 = 42;
const IMAGES: u32 = 3;

fn check(family: &str, name: &str, options: &GenerationOptions) {
    let golden = Golden::read("seeds");
    let (_folder, model) = open_variant(family, &format!("seeds-{name}"), &F32);
    let modes = [("each", NoiseSource::Torch), ("batch", NoiseSource::TorchBatch { size: IMAGES })];
    for (mode, noise_rng) in modes {
        let noise = |index| {
            let (key, shape) = (SampleKey::fresh(SEED, index), model.noise_shape());
            let noise = Noise::new(key, shape, standard_noise(noise_rng, key, shape));
            noise.expect("the sizes agree").with_source(noise_rng)
        };
        let noises: Vec<Noise> = (0..IMAGES).map(noise).collect();
        let draw = |batch_size| {
            let options = GenerationOptions { batch_size, ..options.clone() };
            let prompt = model.prepare("a green dog", &options).expect("the options are in range");
            let latents = model.generate_latents(&prompt, &noises).expect("it generates");
            latents.into_iter().flat_map(|latents| latents.values).collect::<Vec<f32>>()
        };
        let (found, expected) = (draw(8), golden.values(&format!("{name}.{mode}")));
        let largest = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
        assert_close(&format!("{name}, {mode}"), &found, expected, 1e-4 * largest);
        assert!(draw(2) == found, "{name}, {mode}: images computed together must not matter");
    }
}

fn options(num_inference_steps: usize, guidance_scale: f32) -> GenerationOptions {
    GenerationOptions { num_inference_steps, guidance_scale, ..GenerationOptions::default() }
}

#[test]
fn turbo_models_draw_the_same_at_four_steps() {
    check("sdxl", "turbo-xl", &options(4, 0.0));
}

#[test]
fn other_stochastic_schedulers_draw_the_same() {
    check("sd1", "ddim", &GenerationOptions { eta: 1.0, ..options(4, 5.0) });
    check("sd1", "lcm", &options(4, 1.0));
    check("sd1", "sde", &options(5, 5.0));
    check("sd1", "ddpm", &options(4, 5.0));
}

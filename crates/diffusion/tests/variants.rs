//! Whole runs under other schedulers, options and parts against diffusers; made by `golden/diffusion/variants.py`.

mod common;

use common::{F32, Golden, assert_close, golden_folder, open_variant as open};
use noisefind_diffusion::{GenerationOptions, LoadOptions, LoraSource};

const PROMPT: &str = "a green dog";

fn check(family: &str, variant: &str, load: &LoadOptions, options: &GenerationOptions) {
    let golden = Golden::read("variants");
    let (_folder, model) = open(family, variant, load);
    let prompt = model.prepare(PROMPT, options).expect("the options are in range");
    let noises = golden.noises_named(&format!("{variant}.noise"));
    let latents = model.generate_latents(&prompt, &noises).expect("it generates");
    let found: Vec<f32> = latents.iter().flat_map(|latents| latents.values.clone()).collect();
    assert_close(variant, &found, golden.values(&format!("{variant}.latents")), 1e-3);
    let images = model.decode_values(&latents, 8).expect("it decodes");
    let found: Vec<f32> = images.iter().flat_map(|image| image.in_range()).collect();
    let expected = golden.values(&format!("{variant}.pictures"));
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(expected).filter(|(a, b)| (**a - **b).abs() <= 1.0 / 255.0).count();
    assert!(near as f64 >= 0.999 * expected.len() as f64, "{variant}: {near} of {} pixels", expected.len());
}

fn options(num_inference_steps: usize, guidance_scale: f32) -> GenerationOptions {
    GenerationOptions { num_inference_steps, guidance_scale, ..GenerationOptions::default() }
}

#[test]
fn turbo_models_draw_without_guidance() {
    check("sd2", "sd-turbo", &F32, &options(1, 0.0));
    // Every step but the last adds noise from the stream of its sample.
    check("sdxl", "sdxl-turbo", &F32, &options(4, 0.0));
}

#[test]
fn an_adapter_makes_a_consistency_model() {
    let path = golden_folder().join("adapters/kohya.safetensors").display().to_string();
    let load = LoadOptions { loras: vec![LoraSource { path, weight: 0.7 }], ..F32 };
    check("sd1", "lcm-lora", &load, &options(4, 1.0));
    let lcm =
        GenerationOptions { scheduler: Some("lcm".parse().expect("it is implemented")), ..options(4, 1.0) };
    let (_folder, model) = open("sd1", "none", &load);
    model.prepare(PROMPT, &lcm).expect("the scheduler can be chosen instead");
}

#[test]
fn layers_of_the_text_encoder_are_skipped() {
    let negative_prompt = Some("the moon".to_owned());
    check("sd1", "clip-skip", &F32, &GenerationOptions { clip_skip: 1, negative_prompt, ..options(3, 5.0) });
    check("sdxl", "clip-skip-xl", &F32, &GenerationOptions { clip_skip: 1, ..options(3, 5.0) });
    let (_folder, model) = open("sdxl", "none", &F32);
    let error = model.prepare(PROMPT, &GenerationOptions { clip_skip: 2, ..options(3, 5.0) });
    let message = error.expect_err("two layers are too many").to_string();
    assert_eq!(message, "clip-skip is 2, expected 0 to 1, fewer than the layers of each text encoder");
}

#[test]
fn a_negative_prompt_replaces_the_zeros() {
    let negative_prompt = Some("the moon".to_owned());
    check("sdxl", "negative-xl", &F32, &GenerationOptions { negative_prompt, ..options(3, 5.0) });
}

#[test]
fn another_decoder_is_taken() {
    let vae = golden_folder().join("lcm/vae").display().to_string();
    check("sd1", "taesd", &LoadOptions { vae: Some(vae), ..F32 }, &options(3, 5.0));
}

#[test]
fn other_sizes_than_the_native_one_are_drawn() {
    let sized =
        |height, width| GenerationOptions { height: Some(height), width: Some(width), ..options(3, 5.0) };
    check("sd1", "tall", &F32, &sized(24, 8));
    check("sdxl", "wide-xl", &F32, &sized(8, 32));
    // Sides of 9, 11, 5 and 7 latents, which are halved to what cannot be doubled back to them.
    check("sd1", "odd", &F32, &sized(18, 22));
    check("sdxl", "odd-xl", &F32, &sized(10, 14));
}

//! Whole pipelines, from noise to pixels, against the golden numbers; the same on every device.

use std::fs;

use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, ModelFiles};
use tempfile::TempDir;

use super::{Golden, assert_close, copy, golden_folder, tiny};

pub const PROMPT: &str = "a green dog";

/// A tiny pipeline of still images: latents and pixels.
pub fn check_images(name: &str, load: &LoadOptions) {
    let options = GenerationOptions {
        num_inference_steps: if name == "lcm" { 1 } else { 10 },
        guidance_scale: 5.0,
        negative_prompt: (name == "sd2").then(|| "the moon".into()),
        ..GenerationOptions::default()
    };
    check(name, &tiny(name), load, PROMPT, &options);
}

/// A model that ships with the program.
pub fn check_shipped(name: &str, load: &LoadOptions) {
    let metadata = Golden::metadata(name);
    check(name, &shipped(name), load, &metadata["prompt"], &shipped_options(name));
}

/// The folder of a model that ships with the program.
pub fn shipped(name: &str) -> ModelFiles {
    let folder = |name: &str| {
        ModelFiles::directory(golden_folder().join("../../models").join(name))
            .expect("it is in the repository")
    };
    // The others hold only what is not the default model's.
    if name == "emoji-64" { folder(name) } else { folder(name).over(folder("emoji-64")) }
}

/// What the golden numbers of a shipped model were made with.
pub fn shipped_options(name: &str) -> GenerationOptions {
    let metadata = Golden::metadata(name);
    GenerationOptions {
        num_inference_steps: metadata["num_inference_steps"].parse().expect("a number"),
        guidance_scale: metadata["guidance_scale"].parse().expect("a number"),
        num_frames: metadata.get("num_frames").map(|frames| frames.parse().expect("a number")),
        ..GenerationOptions::default()
    }
}

fn check(name: &str, files: &ModelFiles, load: &LoadOptions, prompt: &str, options: &GenerationOptions) {
    let golden = Golden::read(name);
    let model = DiffusionModel::open(files.clone(), load).expect("it opens");
    let prompt = model.prepare(prompt, options).expect("the options are in range");
    assert!(prompt.truncated().is_empty());
    let latents = model.generate_latents(&prompt, &golden.noises()).expect("it generates");
    let found: Vec<f32> = latents.iter().flat_map(|latents| latents.values.clone()).collect();
    assert_close(&format!("{name}: latents"), &found, golden.values("latents"), 1e-3);
    let images = model.decode_values(&latents, 2).expect("it decodes");
    let found: Vec<f32> = images.iter().flat_map(|image| image.in_range()).collect();
    let expected = golden.values("pictures");
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(expected).filter(|(a, b)| (**a - **b).abs() <= 1.0 / 255.0).count();
    assert!(near as f64 >= 0.999 * expected.len() as f64, "{name}: {near} of {} pixels", expected.len());
}

/// Noise to latents to frames, as `TextToVideoSDPipeline` and `AnimateDiffPipeline` do it.
pub fn check_clips(files: ModelFiles, load: &LoadOptions, golden: &str) {
    let golden = Golden::read(golden);
    let model = DiffusionModel::open(files, load).expect("the tiny model is complete");
    let options = GenerationOptions {
        num_inference_steps: 4,
        guidance_scale: 5.0,
        num_frames: Some(3),
        ..GenerationOptions::default()
    };
    let prompt = model.prepare(PROMPT, &options).expect("the prompt is short");
    let latents = model.generate_latents(&prompt, &golden.noises()).expect("it generates");
    let values: Vec<f32> = latents.iter().flat_map(|one| one.values.iter().copied()).collect();
    // Latents reach 21; a few units of their last place, after four steps with guidance.
    assert_close("latents", &values, golden.values("latents"), 3e-4);
    // One frame at a time, or all at once.
    for chunk in [1, 100] {
        let frames = model.decode_values(&latents, chunk).expect("it decodes");
        let values: Vec<f32> = frames.iter().flat_map(|clip| clip.in_range()).collect();
        assert_close("frames", &values, golden.values("frames"), 1e-3);
    }
    let clips = model.decode(&latents, 2).expect("it decodes");
    assert_eq!((clips.len(), clips[0].frames()), (2, 3));
}

/// The model of still images that motion adapters are laid over, with the schedule that their authors recommend.
pub fn animatediff() -> (TempDir, ModelFiles) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join("sd1"), folder.path());
    copy(&golden_folder().join("animatediff/scheduler"), &folder.path().join("scheduler"));
    let index = folder.path().join("model_index.json");
    let text = fs::read_to_string(&index).expect("it is there");
    fs::write(&index, text.replace("PNDMScheduler", "DDIMScheduler")).expect("it is writable");
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    (folder, files)
}

/// `load` with a motion adapter of the golden folder.
pub fn adapted(name: &str, load: &LoadOptions) -> LoadOptions {
    let motion_adapter = Some(golden_folder().join(name).display().to_string());
    LoadOptions { motion_adapter, ..load.clone() }
}

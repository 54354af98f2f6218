//! The denoisers of clips against diffusers, on tiny random models made by `golden/diffusion/video.py`.

mod common;

use burn_tensor::{DType, Tensor};
use common::pipelines::{adapted, animatediff, check_clips};
use common::{F32, Golden, assert_close, copy, golden_folder, placements, tensor, tiny};
use noisefind_diffusion::denoiser::{self, Conditioning, DenoiserConfig, MotionAdapter};
use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, ModelFiles, Placement};
use noisefind_nn::lora::Adapters;

/// Rounding of f32 sums in another order, through all blocks of a model whose outputs are about 1.
const TOLERANCE: f32 = 2e-5;

/// One call of the denoiser, `[batch, channels, frames, height, width]` in and out, one text a clip.
fn call(config: &dyn DenoiserConfig, model: &ModelFiles, golden: &Golden, placement: &Placement) -> Vec<f32> {
    call_adapted(config, model, golden, placement, &Adapters::default())
}

fn call_adapted(
    config: &dyn DenoiserConfig,
    model: &ModelFiles,
    golden: &Golden,
    placement: &Placement,
    adapters: &Adapters,
) -> Vec<f32> {
    let denoiser = config.open(model, placement, adapters).expect("the tiny model is complete");
    let [clips, channels, frames, height, width] = *golden.shape("unet_input") else { panic!("five axes") };
    let x = tensor(placement, golden.values("unet_input").to_vec(), [clips, channels, frames, height, width]);
    let text_shape = golden.shape("unet_text");
    let text_shape = [text_shape[0], text_shape[1], text_shape[2]];
    let text = tensor(placement, golden.values("unet_text").to_vec(), text_shape);
    let conditioning = Conditioning { text, added: None, guidance_scale: None };
    let output = denoiser.condition(&conditioning, &[621.0]).predict(x.permute([0, 2, 3, 4, 1]), 0);
    let output: Tensor<5> = output.permute([0, 4, 1, 2, 3]).cast(DType::F32);
    output.into_data().try_into_vec().expect("it was cast to f32")
}

fn adapter(name: &str) -> MotionAdapter {
    let path = golden_folder().join(name).display().to_string();
    MotionAdapter::find(&path).expect("the tiny adapters are in the repository")
}

#[test]
fn modelscope_agrees_with_diffusers() {
    let (model, golden) = (tiny("modelscope"), Golden::read("modelscope"));
    let config = denoiser::config(&model).expect("its config is valid");
    let info = config.info();
    assert_eq!((info.frames, info.max_frames), (Some(16), None));
    for (name, placement) in placements() {
        let found = call(&*config, &model, &golden, &placement);
        assert_close(name, &found, golden.values("unet_output"), TOLERANCE);
    }
}

#[test]
fn motion_adapters_agree_with_diffusers() {
    let model = tiny("sd1");
    let still = denoiser::config(&model).expect("its config is valid");
    // One with the module in the middle and stored positional encodings, one without either.
    for name in ["motion_adapter", "motion_adapter_no_mid"] {
        let config = still.with_motion(&adapter(name)).expect("it fits");
        assert_eq!(config.info().max_frames, Some(6));
        let golden = Golden::read(name);
        for (placement_name, placement) in placements() {
            let found = call(&*config, &model, &golden, &placement);
            assert_close(
                &format!("{name}, {placement_name}"),
                &found,
                golden.values("unet_output"),
                TOLERANCE,
            );
        }
    }
}

/// `motion_module.ckpt` is what AnimateDiff's own program saves: its names, its encodings, eight heads.
#[test]
fn a_file_of_the_original_program_agrees_with_diffusers() {
    let (model, golden) = (tiny("sd1"), Golden::read("motion_module"));
    let still = denoiser::config(&model).expect("its config is valid");
    let config = still.with_motion(&adapter("motion_module.ckpt")).expect("it fits");
    assert_eq!(config.info().max_frames, Some(5));
    for (name, placement) in placements() {
        let found = call(&*config, &model, &golden, &placement);
        assert_close(name, &found, golden.values("unet_output"), TOLERANCE);
    }
}

#[test]
fn motion_loras_agree_with_diffusers() {
    let (model, golden) = (tiny("sd1"), Golden::read("motion_lora"));
    let still = denoiser::config(&model).expect("its config is valid");
    let config = still.with_motion(&adapter("motion_adapter")).expect("it fits");
    let without = call(&*config, &model, &golden, &placements()[0].1);
    let furthest = without.iter().zip(golden.values("unet_output")).map(|(one, two)| (one - two).abs());
    assert!(furthest.fold(0.0, f32::max) > 100.0 * TOLERANCE, "the adapter changes too little to test it");
    for file in ["motion_lora", "motion_lora/original.ckpt"] {
        let source = format!("{}=0.7", golden_folder().join(file).display());
        let sources = [source.parse().expect("it is a file with a weight")];
        let adapters = Adapters::open(&sources, &["unet".to_owned()]).expect("they are adapters");
        for (name, placement) in placements() {
            let found = call_adapted(&*config, &model, &golden, &placement, &adapters);
            assert_close(&format!("{file}, {name}"), &found, golden.values("unet_output"), TOLERANCE);
        }
    }
}

/// `AnimateDiffPipeline` saves the motion modules inside the denoiser.
#[test]
fn a_saved_motion_model_agrees_with_diffusers() {
    let (model, golden) = (tiny("animatediff"), Golden::read("motion_adapter_no_mid"));
    let config = denoiser::config(&model).expect("its config is valid");
    for (name, placement) in placements() {
        let found = call(&*config, &model, &golden, &placement);
        assert_close(name, &found, golden.values("unet_output"), TOLERANCE);
    }
}

#[test]
fn whole_clips_of_modelscope_agree_with_diffusers() {
    check_clips(tiny("modelscope"), &F32, "modelscope");
}

#[test]
fn whole_clips_of_animatediff_agree_with_diffusers() {
    let (_folder, files) = animatediff();
    for name in ["motion_adapter", "motion_adapter_no_mid"] {
        check_clips(files.clone(), &adapted(name, &F32), name);
    }
}

/// A folder of `AnimateDiffPipeline` may hold a denoiser of still images beside the part `motion_adapter`.
#[test]
fn a_model_with_its_own_motion_adapter_generates_clips() {
    let (folder, files) = animatediff();
    copy(&golden_folder().join("motion_adapter"), &folder.path().join("motion_adapter"));
    let index = folder.path().join("model_index.json");
    let text = std::fs::read_to_string(&index).expect("it is there");
    let part = r#"{ "motion_adapter": ["diffusers", "MotionAdapter"],"#;
    std::fs::write(&index, text.replacen('{', part, 1)).expect("it is writable");
    check_clips(files, &F32, "motion_adapter");
}

#[test]
fn numbers_of_frames_that_a_model_cannot_do_are_refused() {
    let message = |model: &DiffusionModel, frames: usize| {
        let options = GenerationOptions { num_frames: Some(frames), ..GenerationOptions::default() };
        model.noise_shape_for(&options).map(|shape| shape.frames).map_err(|error| error.to_string())
    };
    let still = DiffusionModel::open(tiny("sd1"), &F32).expect("it is complete");
    assert_eq!(message(&still, 1), Ok(None));
    assert!(message(&still, 8).unwrap_err().contains("still images"));
    let adapter = golden_folder().join("motion_adapter").display().to_string();
    let animated = LoadOptions { motion_adapter: Some(adapter), ..F32 };
    let animated = DiffusionModel::open(tiny("sd1"), &animated).expect("the adapter fits");
    assert_eq!(animated.noise_shape().frames, Some(16));
    assert_eq!(message(&animated, 6), Ok(Some(6)));
    assert!(message(&animated, 0).unwrap_err().contains("1 to 6"));
    assert!(message(&animated, 7).unwrap_err().contains("motion adapter"));
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let refused = |model: &str, name: &str| {
        let config = denoiser::config(&tiny(model)).expect("its config is valid");
        config.with_motion(&adapter(name)).expect_err("it does not fit").to_string()
    };
    let message = refused("sd2", "motion_adapter");
    assert!(message.contains("block_out_channels") && message.contains("[16, 32]"), "{message}");
    let message = refused("sdxl", "motion_adapter");
    assert!(message.contains("Stable Diffusion XL"), "{message}");
    let message = refused("modelscope", "motion_adapter");
    assert!(message.contains("generates clips already"), "{message}");
    let message = refused("sd1", "adapters/kohya.safetensors");
    assert!(message.contains("motion_modules"), "{message}");
    let message = refused("sd1", "sd1/unet");
    assert!(message.contains("_class_name") && message.contains("MotionAdapter"), "{message}");
}

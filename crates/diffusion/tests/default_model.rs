//! The models that ship with the program against diffusers, from the same noises.

mod common;

use common::pipelines::{check_shipped, shipped, shipped_options};
use common::{Golden, assert_close};
use noisefind_diffusion::{DeviceChoice, DiffusionModel, DtypeChoice, LoadOptions, ModelInfo};

const MODELS: [&str; 3] = ["emoji-64", "emoji-64-turbo", "emoji-64-video"];

#[test]
fn the_golden_numbers_belong_to_these_models() {
    for name in MODELS {
        let info = ModelInfo::read(&shipped(name)).expect("it has an index");
        assert_eq!(info.problems, Vec::<String>::new(), "{name}");
        let unet = info.parts.iter().find(|part| part.name == "unet").expect("it has a denoiser");
        assert_eq!(
            unet.sha256[0].1,
            Golden::metadata(name)["unet_sha256"],
            "{name} has changed: run `python golden/diffusion/default_model.py`"
        );
    }
}

#[test]
fn latents_and_images_agree() {
    for name in MODELS {
        check_shipped(name, &common::F32);
    }
}

/// After half of the calls the scheduler predicts what diffusers predicts, and after the last one nearly the result.
#[test]
fn clean_estimates_agree() {
    for name in &MODELS[..2] {
        let (golden, metadata) = (Golden::read(name), Golden::metadata(name));
        let model = DiffusionModel::open(shipped(name), &common::F32).expect("it opens");
        let prompt =
            model.prepare(&metadata["prompt"], &shipped_options(name)).expect("the options are in range");
        let calls = prompt.schedule().len();
        let noises = golden.noises();
        let estimates = model.clean_estimates(&prompt, &noises, &[calls, calls / 2]).expect("it generates");
        let of = |at: usize| estimates.iter().flat_map(|one| one[at].values.clone()).collect::<Vec<f32>>();
        assert_close(&format!("{name}: clean"), &of(1), golden.values("clean"), 1e-3);
        // The schedule ends at the first training step, so a thirtieth of the noise is left in the latents.
        assert_close(&format!("{name}: last"), &of(0), golden.values("latents"), 0.15);
        for call in [0, calls + 1] {
            let refused =
                model.clean_estimates(&prompt, &noises, &[call]).expect_err("there is no such call");
            assert!(refused.to_string().contains(&format!("call {call} of the denoiser")), "{refused}");
        }
    }
}

/// Half-precision storage moves images by less than a viewer would see: at least 30 dB on average.
#[test]
fn bf16_images_stay_near() {
    let golden = Golden::read(MODELS[0]);
    let metadata = Golden::metadata(MODELS[0]);
    let load = LoadOptions { device: DeviceChoice::Cpu, dtype: DtypeChoice::Bf16, ..LoadOptions::default() };
    let model = DiffusionModel::open(shipped(MODELS[0]), &load).expect("it opens");
    let prompt =
        model.prepare(&metadata["prompt"], &shipped_options(MODELS[0])).expect("the options are in range");
    let latents = model.generate_latents(&prompt, &golden.noises()).expect("it generates");
    let images = model.decode_values(&latents, 2).expect("it decodes");
    let found: Vec<f32> = images.iter().flat_map(|image| image.in_range()).collect();
    let expected = golden.values("pictures");
    let error: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let decibels = -10.0 * (error / expected.len() as f64).log10();
    assert!(decibels >= 30.0, "{decibels} dB");
}

//! Denoisers with parts left out against diffusers; made by `golden/diffusion/pruned.py`.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{assert_close, formula, golden_folder, permute, placements, tensor, values};
use noisefind_diffusion::ModelFiles;
use noisefind_diffusion::denoiser::AddedConditioning;
use noisefind_diffusion::denoiser::unet2d::{Unet, UnetConfig};
use serde_json::{Value, json};

#[derive(serde::Deserialize)]
struct Setup {
    config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    output: Vec<f32>,
}

fn setups() -> BTreeMap<String, Setup> {
    let bytes = fs::read(golden_folder().join("pruned.json")).expect("the golden file is there");
    serde_json::from_slice(&bytes).expect("the golden file is valid")
}

/// A folder with one of the denoisers.
fn folder(setup: &Setup) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unet = folder.path().join("unet");
    fs::create_dir(&unet).expect("it is writable");
    fs::write(unet.join("config.json"), setup.config.to_string()).expect("it is writable");
    let tensors = setup.tensors.iter().map(|(name, shape)| (name.as_str(), shape.clone()));
    formula::write(&unet.join("diffusion_pytorch_model.safetensors"), tensors);
    folder
}

#[test]
fn every_way_of_pruning_agrees_with_diffusers() {
    let setups = setups();
    assert_eq!(setups.len(), 4);
    for (how, placement) in placements() {
        for (name, setup) in &setups {
            let folder = folder(setup);
            let files = ModelFiles::directory(folder.path()).expect("it is a folder");
            let unet = Unet::open(&files, &placement).unwrap_or_else(|error| panic!("{name}: {error}"));
            let text = tensor(&placement, formula::tensor("text", &[2, 5, 12]), [2, 5, 12]);
            let pooled = formula::tensor("pooled", &[2, 6]).iter().map(|value| value * 2.0).collect();
            let added = unet.config().text_time.map(|_| AddedConditioning {
                text_embeds: tensor(&placement, pooled, [2, 6]),
                time_ids: [16.0, 24.0, 1.0, 2.0, 8.0, 32.0],
            });
            let steps = unet.embed_times(&[621.0], added.as_ref(), None);
            let dims = [2, 4, 8, 8];
            let noise: Vec<f32> = formula::tensor("x", &dims).iter().map(|value| value * 14.0).collect();
            let input = tensor(&placement, permute(&noise, dims), [2, 8, 8, 4]);
            let output = unet.forward(input, &steps[0], &unet.embed_text(&text));
            // Back to channels first: the rows are the pixels now.
            let output: Vec<f32> = permute(&values(output), [2, 64, 4, 1]);
            let every_seventh: Vec<f32> = output.into_iter().step_by(7).collect();
            assert_close(&format!("{name}, {how}"), &every_seventh, &setup.output, 1e-4);
        }
    }
}

#[test]
fn absent_and_null_middles_are_two_things() {
    let setups = setups();
    let folder = folder(&setups["no-middle"]);
    let path = folder.path().join("unet/config.json");
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
    config.as_object_mut().expect("an object").remove("mid_block_type");
    fs::write(&path, config.to_string()).expect("it is writable");
    let message = Unet::open(&files, &placements()[0].1).expect_err("the middle is not there").to_string();
    assert!(message.contains("missing: mid_block."), "{message}");
}

#[test]
fn lists_that_do_not_fit_are_refused_by_their_key() {
    let setups = setups();
    let lists = folder(&setups["lists"]);
    let path = lists.path().join("unet/config.json");
    for (key, value, expected) in [
        ("only_cross_attention", json!([true]), "true, false or 2 of them"),
        ("only_cross_attention", json!("yes"), "true, false or 2 of them"),
        ("layers_per_block", json!([1, 0]), "2 numbers from 1 to 1024"),
        ("attention_head_dim", json!(9), "at most one head for each of block_out_channels (8)"),
        ("cross_attention_dim", json!([12, 16]), "one width of the text"),
        ("transformer_layers_per_block", json!([1]), "2 numbers or lists of numbers"),
        ("transformer_layers_per_block", json!([[1], 2]), "at least 2 numbers up to 1024 for this level"),
        ("transformer_layers_per_block", json!(-1), "a number, or 2 numbers or lists"),
        ("reverse_transformer_layers_per_block", Value::Null, "reverse_transformer_layers_per_block as well"),
        ("reverse_transformer_layers_per_block", json!(1), "a number, or 2 numbers or lists"),
        (
            "mid_block_type",
            json!("UNetMidBlock2DSimpleCrossAttn"),
            "UNetMidBlock2DCrossAttn or UNetMidBlock2D",
        ),
    ] {
        let mut config = setups["lists"].config.clone();
        config[key] = value.clone();
        fs::write(&path, config.to_string()).expect("it is writable");
        let files = ModelFiles::directory(lists.path()).expect("it is a folder");
        let message = UnetConfig::read(&files).expect_err(key).to_string();
        assert!(message.contains(&format!("unet/config.json: {key} is ")), "{message}");
        assert!(message.contains(expected), "{key} {value}: {message}");
    }
}

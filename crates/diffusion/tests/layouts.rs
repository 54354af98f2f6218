//! The same model under every spelling of its files that is published: each opens, and is the same model.

mod common;

use std::fs;
use std::path::Path;

use common::{Golden, assert_close, copy, golden_folder, values};
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_diffusion::denoiser::unet2d::UnetConfig;
use noisefind_diffusion::{DeviceChoice, DiffusionModel, DtypeChoice, ModelFiles, Placement};
use noisefind_nn::clip::ClipTextModel;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const STEM: &str = "diffusion_pytorch_model";

fn copy_of(family: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join(family), folder.path());
    folder
}

fn files(folder: &TempDir) -> ModelFiles {
    ModelFiles::directory(folder.path()).expect("it is a folder")
}

fn cpu() -> Placement {
    Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("the CPU is always there")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("it is JSON")
}

#[test]
fn every_spelling_of_an_index_is_found() {
    for (index, shard) in [
        (
            "diffusion_pytorch_model.safetensors.index.json",
            "diffusion_pytorch_model-0000N-of-00002.safetensors",
        ),
        (
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            "diffusion_pytorch_model.fp16-0000N-of-00002.safetensors",
        ),
        (
            "diffusion_pytorch_model.fp16.safetensors.index.json",
            "diffusion_pytorch_model.fp16-0000N-of-00002.safetensors",
        ),
        (
            "diffusion_pytorch_model.safetensors.fp16.index.json",
            "diffusion_pytorch_model-0000N-of-00002.fp16.safetensors",
        ),
    ] {
        let folder = copy_of("sdxl");
        let unet = folder.path().join("unet");
        let old_index = unet.join(format!("{STEM}.safetensors.index.json"));
        let text = fs::read_to_string(&old_index).expect("it is there");
        fs::remove_file(old_index).expect("it is writable");
        let mut renamed = text;
        for number in ["1", "2"] {
            let old = format!("{STEM}-0000{number}-of-00002.safetensors");
            let new = shard.replace('N', number);
            if old != new {
                fs::rename(unet.join(&old), unet.join(&new)).expect("it is writable");
            }
            renamed = renamed.replace(&old, &new);
        }
        fs::write(unet.join(index), renamed).expect("it is writable");
        Unet::open(&files(&folder), &cpu()).unwrap_or_else(|error| panic!("{index}: {error}"));
    }
}

#[test]
fn a_missing_shard_and_a_shard_elsewhere_are_named() {
    let folder = copy_of("sdxl");
    let unet = folder.path().join("unet");
    let shard = "diffusion_pytorch_model-00002-of-00002.safetensors";
    fs::remove_file(unet.join(shard)).expect("it is there");
    let message = Unet::open(&files(&folder), &cpu()).expect_err("a shard is missing").to_string();
    assert!(message.contains(&format!("has no unet/{shard}")), "{message}");
    let index = json!({"weight_map": {"conv_in.weight": "../../secret.safetensors"}});
    fs::write(unet.join(format!("{STEM}.safetensors.index.json")), index.to_string())
        .expect("it is writable");
    let message = Unet::open(&files(&folder), &cpu()).expect_err("it lies elsewhere").to_string();
    assert!(message.contains("expected file names beside it, found ../../secret.safetensors"), "{message}");
}

#[test]
fn half_precision_variants_are_found_where_nothing_else_is() {
    let folder = copy_of("sd1");
    for (part, stem) in [("unet", STEM), ("vae", STEM), ("text_encoder", "model")] {
        let path = folder.path().join(part).join(format!("{stem}.safetensors"));
        fs::rename(&path, path.with_file_name(format!("{stem}.fp16.safetensors"))).expect("it is there");
    }
    DiffusionModel::open(files(&folder), &common::F32).expect("it opens");
}

/// Made by `golden/diffusion/torch_file.py` from the same text encoder.
#[test]
fn a_pickled_part_is_the_same_part() {
    let folder = copy_of("sd1");
    let encoder = folder.path().join("text_encoder");
    fs::remove_file(encoder.join("model.safetensors")).expect("it is there");
    let pickled = golden_folder().join("torch_file/text_encoder.bin");
    fs::copy(pickled, encoder.join("pytorch_model.bin")).expect("it is writable");
    let golden = Golden::read("sd1");
    let model = ClipTextModel::open(&files(&folder), "text_encoder", &cpu()).expect("it opens");
    let states = values(model.forward(&golden.ids("ids")).last_hidden_state);
    assert_close("text encoder", &states, golden.values("text_hidden"), 1e-4);

    // The same in shards of one.
    let index = json!({"weight_map": {"final_layer_norm.weight": "pytorch_model-00001-of-00001.bin"}});
    fs::rename(encoder.join("pytorch_model.bin"), encoder.join("pytorch_model-00001-of-00001.bin"))
        .expect("it is there");
    fs::write(encoder.join("pytorch_model.bin.index.json"), index.to_string()).expect("it is writable");
    ClipTextModel::open(&files(&folder), "text_encoder", &cpu()).expect("it opens");
}

/// The keys of `unet/config.json` when Stable Diffusion 1 was published; later ones have the defaults that leave it as it is.
#[test]
fn the_first_configs_mean_what_the_last_ones_say() {
    const FIRST: [&str; 19] = [
        "_class_name",
        "act_fn",
        "attention_head_dim",
        "block_out_channels",
        "center_input_sample",
        "cross_attention_dim",
        "down_block_types",
        "downsample_padding",
        "flip_sin_to_cos",
        "freq_shift",
        "in_channels",
        "layers_per_block",
        "mid_block_scale_factor",
        "norm_eps",
        "norm_num_groups",
        "out_channels",
        "sample_size",
        "up_block_types",
        "a_key_of_the_future",
    ];
    let folder = copy_of("sd1");
    let path = folder.path().join("unet/config.json");
    let whole = UnetConfig::read(&files(&folder)).expect("it is implemented");
    let Value::Object(mut keys) = read_json(&path) else { panic!("an object") };
    keys.insert("a_key_of_the_future".into(), json!("unknown keys are ignored, as in diffusers"));
    let first: Map<String, Value> =
        keys.into_iter().filter(|(key, _)| FIRST.contains(&key.as_str())).collect();
    assert_eq!(first.len(), FIRST.len());
    fs::write(&path, Value::Object(first).to_string()).expect("it is writable");
    assert_eq!(UnetConfig::read(&files(&folder)).expect("it is implemented"), whole);
}

/// Mathematics that is not implemented would generate another image, so each key with some is refused by its name.
#[test]
fn what_is_not_implemented_is_refused_by_its_key() {
    for (file, key, value) in [
        ("unet/config.json", "dual_cross_attention", json!(true)),
        ("unet/config.json", "class_embed_type", json!("timestep")),
        ("unet/config.json", "encoder_hid_dim", json!(768)),
        ("unet/config.json", "addition_embed_type", json!("image")),
        ("unet/config.json", "resnet_time_scale_shift", json!("scale_shift")),
        ("unet/config.json", "time_embedding_type", json!("fourier")),
        ("unet/config.json", "mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("unet/config.json", "down_block_types", json!(["SimpleCrossAttnDownBlock2D", "DownBlock2D"])),
        ("unet/config.json", "attention_type", json!("gated")),
        ("unet/config.json", "num_attention_heads", json!(8)),
        ("unet/config.json", "quantization_config", json!({"quant_method": "bitsandbytes"})),
        ("vae/config.json", "act_fn", json!("gelu")),
        ("model_index.json", "vae", json!(["diffusers", "AutoencoderKLTemporalDecoder"])),
        ("text_encoder/config.json", "hidden_act", json!("gelu_new")),
        ("scheduler/scheduler_config.json", "beta_schedule", json!("sigmoid")),
        ("model_index.json", "scheduler", json!(["diffusers", "DPMSolverSDEScheduler"])),
    ] {
        let folder = copy_of("sd1");
        let path = folder.path().join(file);
        let mut config = read_json(&path);
        config[key] = value.clone();
        fs::write(&path, config.to_string()).expect("it is writable");
        let opened = DiffusionModel::open(files(&folder), &common::F32)
            .and_then(|model| model.prepare("a dog", &Default::default()).map(drop));
        let message = opened.expect_err(key).to_string();
        assert!(message.contains(&format!("{file}: {key} is ")), "{key}: {message}");
    }
}

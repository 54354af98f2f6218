//! Damaged model folders and impossible options: each gives one line that names culprit, expectation and finding.

mod common;

use std::fs;
use std::path::Path;

use common::{copy, golden_folder, tiny};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_diffusion::{
    DeviceChoice, DiffusionModel, GenerationOptions, LoadOptions, ModelFiles, ModelInfo,
};
use serde_json::{Value, json};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).expect("it exists")).expect("it is JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("it is writable");
}

fn edit_bytes(folder: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = folder.join(file);
    let mut bytes = fs::read(&path).expect("it exists");
    change(&mut bytes);
    fs::write(path, bytes).expect("it is writable");
}

/// Writes `f16` bits into the first element of a tensor.
fn overwrite(folder: &Path, file: &str, tensor: &str, bits: u16) {
    edit_bytes(folder, file, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
        let start = 8 + length + header[tensor]["data_offsets"][0].as_u64().expect("an offset") as usize;
        bytes[start..start + 2].copy_from_slice(&bits.to_le_bytes());
    });
}

type Damage = fn(&Path);

#[test]
fn damaged_folders_are_named() {
    let cases: &[(&str, Damage, &[&str])] = &[
        ("half a model", |f| fs::remove_file(f.join(UNET)).expect("it exists"), &["has no", UNET]),
        (
            "no decoder",
            |f| fs::remove_dir_all(f.join("vae")).expect("it exists"),
            &["has no vae/config.json"],
        ),
        (
            "no index",
            |f| fs::remove_file(f.join("model_index.json")).expect("it exists"),
            &["has no model_index.json"],
        ),
        (
            "a text file",
            |f| fs::write(f.join(UNET), "these are no weights at all").expect("it is writable"),
            &[UNET, "is not a safetensors file", "header length"],
        ),
        ("an empty file", |f| fs::write(f.join(UNET), "").expect("it is writable"), &[UNET, "found 0 bytes"]),
        (
            "truncated weights",
            |f| edit_bytes(f, UNET, |bytes| bytes.truncate(bytes.len() - 1000)),
            &[UNET, "is damaged: expected", "bytes, found"],
        ),
        (
            "a NaN weight",
            |f| overwrite(f, UNET, "conv_in.weight", 0x7e00),
            &[UNET, "tensor conv_in.weight holds NaN at element 0"],
        ),
        (
            "an infinite weight",
            |f| overwrite(f, UNET, "mid_block.resnets.0.norm1.bias", 0x7c00),
            &["tensor mid_block.resnets.0.norm1.bias holds inf"],
        ),
        (
            "a wrong shape",
            |f| edit(f, "unet/config.json", |c| c["in_channels"] = json!(5)),
            &[
                "unet does not fit its config.json",
                "conv_in.weight (expected [32, 5, 3, 3], found [32, 4, 3, 3])",
            ],
        ),
        (
            "missing tensors",
            |f| edit(f, "unet/config.json", |c| c["layers_per_block"] = json!(2)),
            &["missing: ", "down_blocks.0.resnets.1.norm1.weight", "more"],
        ),
        (
            "tensors left over",
            |f| edit(f, "text_encoder/config.json", |c| c["num_hidden_layers"] = json!(1)),
            &["text_encoder does not fit", "not expected: encoder.layers.1."],
        ),
        (
            "a missing key",
            |f| {
                for (file, key) in
                    [("scheduler/scheduler_config.json", "_class_name"), ("model_index.json", "scheduler")]
                {
                    edit(f, file, |c| drop(c.as_object_mut().expect("an object").remove(key)));
                }
            },
            &["scheduler/scheduler_config.json: _class_name is absent, expected the class of the scheduler"],
        ),
        (
            "mathematics that is not implemented",
            |f| edit(f, "unet/config.json", |c| c["class_embed_type"] = json!("timestep")),
            &["unet/config.json: class_embed_type is timestep, expected null; others are not implemented"],
        ),
        (
            "heads that do not divide",
            |f| edit(f, "unet/config.json", |c| c["attention_head_dim"] = json!(5)),
            &["unet does not fit its config.json"],
        ),
        (
            "an absurd size",
            |f| edit(f, "unet/config.json", |c| c["block_out_channels"] = json!([1_000_000_000, 32])),
            &["block_out_channels is [1000000000, 32]"],
        ),
        (
            "a value of the wrong kind",
            |f| edit(f, "vae/config.json", |c| c["scaling_factor"] = json!("large")),
            &["vae/config.json: scaling_factor is \"large\""],
        ),
        (
            "broken JSON",
            |f| fs::write(f.join("vae/config.json"), "{").expect("it is writable"),
            &["vae/config.json is not the expected JSON", "line 1"],
        ),
        (
            "a text encoder of another width",
            |f| edit(f, "unet/config.json", |c| c["cross_attention_dim"] = json!(17)),
            &["8 of the wrong shape", "attn2.to_k.weight (expected [32, 17], found [32, 16])"],
        ),
        (
            "a git-lfs pointer",
            |f| {
                let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3438167540\n";
                fs::write(f.join(UNET), pointer).expect("it is writable");
            },
            &[UNET, "is a git-lfs pointer", "git lfs pull"],
        ),
        (
            "text under the name of a PyTorch file",
            |f| {
                fs::remove_file(f.join(UNET)).expect("it exists");
                fs::write(f.join("unet/diffusion_pytorch_model.bin"), "no weights\n")
                    .expect("it is writable");
            },
            &["unet/diffusion_pytorch_model.bin is not"],
        ),
        (
            "a tokenizer of another vocabulary",
            |f| edit(f, "tokenizer/vocab.json", |v| v["zebra"] = json!(60_000)),
            &["tokenizer/vocab.json is not a usable tokenizer", "expected ids below 524", "60000"],
        ),
        (
            "an unknown solver",
            |f| edit(f, "scheduler/scheduler_config.json", |c| c["beta_schedule"] = json!("sigmoid")),
            &["scheduler_config.json: beta_schedule is \"sigmoid\""],
        ),
    ];
    for (case, damage, fragments) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&golden_folder().join("sd1"), folder.path());
        damage(folder.path());
        let opened = ModelFiles::directory(folder.path())
            .and_then(|files| DiffusionModel::open(files, &LoadOptions::default()))
            .and_then(|model| model.prepare("a green dog", &GenerationOptions::default()));
        let message = opened.map(|_| ()).expect_err(case).to_string();
        for fragment in *fragments {
            assert!(message.contains(fragment), "{case}: {fragment:?} is not in {message:?}");
        }
        assert!(!message.contains('\n'), "{case}: {message:?}");
    }
}

#[test]
fn an_undamaged_copy_opens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join("sd1"), folder.path());
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    DiffusionModel::open(files, &LoadOptions::default()).expect("it opens");
}

#[test]
fn absent_folders_are_named() {
    let error = ModelFiles::directory("no/such/model").expect_err("it does not exist");
    assert!(error.to_string().starts_with("no/such/model is not a model folder: "), "{error}");
    let error = ModelFiles::directory(golden_folder().join("make.py")).expect_err("it is a file");
    assert!(error.to_string().contains("it is a file"), "{error}");
}

#[test]
fn impossible_options_are_named() {
    let model = DiffusionModel::open(tiny("sd1"), &LoadOptions::default()).expect("it opens");
    let refusal =
        |options: GenerationOptions| model.prepare("x", &options).expect_err("out of range").to_string();
    let defaults = GenerationOptions::default;
    for (options, message) in [
        (
            GenerationOptions { guidance_scale: -1.0, ..defaults() },
            "guidance-scale is -1, expected a number from 0 on; 1 and below switch guidance off",
        ),
        (
            GenerationOptions { guidance_scale: f32::NAN, ..defaults() },
            "guidance-scale is NaN, expected a number from 0 on; 1 and below switch guidance off",
        ),
        (
            GenerationOptions { num_inference_steps: 0, ..defaults() },
            "num-inference-steps is 0, expected 1 to 1000",
        ),
        (GenerationOptions { batch_size: 0, ..defaults() }, "batch-size is 0, expected at least 1"),
        (
            GenerationOptions { height: Some(17), ..defaults() },
            "height is 17, expected a multiple of 2 pixels",
        ),
        (GenerationOptions { eta: 2.0, ..defaults() }, "eta is 2, expected 0 to 1"),
    ] {
        assert_eq!(refusal(options), message);
    }
}

#[test]
fn noise_of_another_shape_is_refused() {
    let model = DiffusionModel::open(tiny("sd1"), &LoadOptions::default()).expect("it opens");
    let options = GenerationOptions { num_inference_steps: 1, ..GenerationOptions::default() };
    let prompt = model.prepare("x", &options).expect("the options are in range");
    let shape = NoiseShape::image(4, 4, 8);
    let key = SampleKey { seed: 0, iteration: 0, index: 0 };
    let noise = Noise::new(key, shape, vec![0.0; shape.numel()]).expect("the sizes agree");
    let error = model.generate_latents(&prompt, &[noise]).expect_err("the shape differs");
    assert_eq!(error.to_string(), "noise has shape [4, 4, 8], expected [4, 8, 8]");
}

#[test]
fn devices_that_are_not_compiled_in_name_their_feature() {
    let mut refused = 0;
    for (name, feature) in
        [("cuda:1", "cuda"), ("rocm", "rocm"), ("vulkan", "vulkan"), ("metal", "metal"), ("webgpu", "webgpu")]
    {
        let choice: DeviceChoice = name.parse().expect("it is a device's name");
        assert_eq!(choice.to_string(), name);
        if let Err(error) = choice.open() {
            assert!(error.to_string().contains(&format!("--features {feature}")), "{error}");
            refused += 1;
        }
    }
    // A build has at most the GPUs of one system.
    assert!(refused >= 1);
    let error = "gpu".parse::<DeviceChoice>().expect_err("it is no device's name");
    assert!(error.to_string().contains("device gpu is not available: expected auto, cpu"), "{error}");
}

#[test]
fn long_prompts_report_what_was_lost() {
    let model = DiffusionModel::open(tiny("sd1"), &LoadOptions::default()).expect("it opens");
    let options = GenerationOptions { num_inference_steps: 1, ..GenerationOptions::default() };
    let prompt = model
        .prepare("a green dog a green dog a green dog the Dog!", &options)
        .expect("it fits after cutting");
    assert_eq!(prompt.truncated(), ["Dog!"]);
}

#[test]
fn inspection_lists_parts_and_problems() {
    let info = ModelInfo::read(&tiny("sdxl")).expect("it has an index");
    assert_eq!(info.problems, Vec::<String>::new());
    assert_eq!(info.family, "Stable Diffusion XL");
    assert_eq!(info.native_size, Some([16, 16]));
    let names: Vec<&str> = info.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["text_encoder", "text_encoder_2", "unet", "vae"]);
    assert_eq!(info.parts[2].sha256.len(), 2, "the denoiser is in two shards");
    assert_eq!(info.parts[2].stored_dtypes, ["F16"]);

    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join("sd1"), folder.path());
    overwrite(folder.path(), UNET, "conv_in.weight", 0x7e00);
    fs::remove_file(folder.path().join("vae/config.json")).expect("it exists");
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    let info = ModelInfo::read(&files).expect("it has an index");
    assert_eq!(info.problems.len(), 2, "{:?}", info.problems);
}

//! Adapters of every kind against PEFT, diffusers and LyCORIS; made by `golden/diffusion/adapter_kinds.py`.

mod common;

use std::fs;

use common::{Golden, assert_close, golden_folder, placements, tiny};
use noisefind_diffusion::{DiffusionModel, LoadOptions, LoraSource};
use noisefind_nn::lora::{Adapters, text_spellings, unet_spellings};
use noisefind_nn::weights::Weights;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

const PARTS: [(&str, &str); 2] = [("unet", "diffusion_pytorch_model"), ("text_encoder", "model")];

fn sources(files: &[(&str, f32)]) -> Vec<LoraSource> {
    let source = |&(name, weight): &(&str, f32)| LoraSource {
        path: golden_folder().join("adapter_kinds").join(name).display().to_string(),
        weight,
    };
    files.iter().map(source).collect()
}

/// Every fifth number of a tensor of `sd1` with these adapters.
fn changed(sources: &[LoraSource], part: &'static str, tensor: &str) -> Vec<f32> {
    let [(_, placement), _] = placements();
    let parts: Vec<String> = PARTS.map(|(part, _)| part.to_owned()).into();
    let adapters = Adapters::open(sources, &parts).expect("they open");
    let mut found = Vec::new();
    for (folder, stem) in PARTS {
        let mut weights =
            Weights::open(&tiny("sd1"), folder, stem, &placement).expect("the weights are there");
        weights.rename(|name| name.strip_prefix("text_model.").unwrap_or(name).to_owned());
        let changes = match folder {
            "unet" => adapters.changes(folder, &weights, |module| unet_spellings(module, 1)),
            _ => adapters.changes(folder, &weights, text_spellings),
        };
        weights.change(changes.expect("they fit"));
        if folder == part {
            let shape = weights.shape(tensor).expect("it is there").to_vec();
            found = weights.root().tensor(tensor, &shape).unwrap_or_default();
            weights.finish(&[""]).expect("the change fits");
        }
    }
    adapters.finish().expect("nothing is left over");
    found.into_iter().step_by(5).collect()
}

#[test]
fn every_kind_is_merged_as_its_library_merges_it() {
    let golden = Golden::read("adapter_kinds");
    let mut checked = 0;
    for (setup, files) in [
        ("tucker", &[("tucker.safetensors", 0.7)][..]),
        ("dora", &[("dora.safetensors", 0.7)]),
        ("loha", &[("loha.safetensors", -0.7)]),
        ("lokr", &[("lokr.safetensors", 0.7)]),
        ("diff", &[("diff.safetensors", 0.5)]),
        ("peft-patterns", &[("peft-patterns", 0.7)]),
        ("peft-rslora", &[("peft-rslora", -0.5)]),
        ("peft-dora", &[("peft-dora/adapter_model.safetensors", 0.7)]),
        ("peft-loha", &[("peft-loha", 1.0)]),
        ("peft-lokr", &[("peft-lokr", 1.0)]),
        ("peft-text", &[("peft-text", 1.0)]),
        ("two", &[("first.safetensors", 0.8), ("second.safetensors", -0.6)]),
    ] {
        for name in golden.names().filter(|name| name.starts_with(&format!("{setup}/"))) {
            let tensor = &name[setup.len() + 1..];
            let (part, tensor) = tensor.split_once('.').expect("a part and a name");
            let part = if part == "unet" { "unet" } else { "text_encoder" };
            // Weights are about 0.3; they are sums of a few products in single precision.
            assert_close(name, &changed(&sources(files), part, tensor), golden.values(name), 2e-6);
            checked += 1;
        }
    }
    assert_eq!(checked, golden.names().count());
}

fn refusal(sources: Vec<LoraSource>) -> String {
    let options = LoadOptions { loras: sources, ..common::F32 };
    DiffusionModel::open(tiny("sd1"), &options).expect_err("it does not fit").to_string()
}

#[test]
fn a_folder_may_call_its_file_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = golden_folder().join("adapters/kohya.safetensors");
    let source = || vec![LoraSource { path: folder.path().display().to_string(), weight: 1.0 }];
    assert!(refusal(source()).contains("has no pytorch_lora_weights.safetensors"), "{}", refusal(source()));
    fs::copy(&file, folder.path().join("my_style_v2.safetensors")).expect("the temporary folder is writable");
    fs::copy(&file, folder.path().join("optimizer.safetensors")).expect("the temporary folder is writable");
    let options = LoadOptions { loras: source(), ..common::F32 };
    DiffusionModel::open(tiny("sd1"), &options).expect("the file is found");
    fs::copy(&file, folder.path().join("other.safetensors")).expect("the temporary folder is writable");
    let message = refusal(source());
    let expected =
        "expected one file, found my_style_v2.safetensors, other.safetensors; give --lora the file";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_rank_that_the_config_does_not_state_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        let from = golden_folder().join("adapter_kinds/peft-patterns").join(file);
        fs::copy(from, folder.path().join(file)).expect("the temporary folder is writable");
    }
    let config = r#"{"r": 4, "lora_alpha": 8, "rank_pattern": {"attn2.*": 3}}"#;
    fs::write(folder.path().join("adapter_config.json"), config).expect("the temporary folder is writable");
    let message = refusal(vec![LoraSource { path: folder.path().display().to_string(), weight: 1.0 }]);
    let expected = "attn2.to_k.lora_A.weight [2, 16] has another rank than its config, which says 3";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn what_belongs_to_no_part_is_refused_by_its_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("adapter.safetensors");
    for (name, shape) in [
        ("transformer.blocks.0.attn.to_q.lora_A.weight", vec![2, 4]),
        ("lora_prior_unet_mid_block_attentions_0_proj_in.lora_down.weight", vec![2, 4]),
        ("encoder.layers.0.self_attn.q_proj.lora_A.weight", vec![2, 4]),
    ] {
        let zeros = vec![0; 4 * 8];
        let view = TensorView::new(Dtype::F32, shape, &zeros).expect("the sizes agree");
        serialize_to_file([(name, view)], None, &path).expect("the temporary folder is writable");
        let message = refusal(vec![LoraSource { path: path.display().to_string(), weight: 1.0 }]);
        assert!(message.contains(&format!("expected modules of this model, found {name}")), "{message}");
    }
}

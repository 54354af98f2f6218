//! Low-rank adapters in every published naming against diffusers; made by `golden/diffusion/adapters.py`.

mod common;

use std::path::Path;

use common::{Golden, assert_close, golden_folder, placements, tensor, tiny, values};
use noisefind_diffusion::denoiser::AddedConditioning;
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_diffusion::model_index::ModelIndex;
use noisefind_diffusion::{DiffusionModel, LoadOptions, LoraSource};
use noisefind_nn::clip::ClipTextModel;
use noisefind_nn::lora::Adapters;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

const WEIGHT: f32 = 0.7;

fn adapters(family: &str, name: &str) -> Adapters {
    let path = golden_folder().join(format!("adapters/{name}.safetensors")).display().to_string();
    let parts = ModelIndex::read(&tiny(family)).expect("it has an index").parts;
    Adapters::open(&[LoraSource { path, weight: WEIGHT }], &parts).expect("it opens")
}

#[test]
fn every_naming_agrees_with_diffusers() {
    let golden = Golden::read("adapters");
    for (how, placement) in placements() {
        for (family, name) in [
            ("sd1", "kohya"),
            ("sd1", "peft"),
            ("sd1", "peft-header"),
            ("sd1", "older"),
            ("sdxl", "kohya-xl"),
        ] {
            let what = |field: &str| format!("{name}, {how}, {field}");
            let base = Golden::read(family);
            let adapters = adapters(family, name);
            let unet = Unet::open_adapted(&tiny(family), &placement, &adapters).expect("it opens");
            let [batch, tokens, width] = base.shape("unet_text")[..] else { panic!("three axes") };
            let text = tensor(&placement, base.values("unet_text").to_vec(), [batch, tokens, width]);
            let added = (family == "sdxl").then(|| AddedConditioning {
                text_embeds: tensor(&placement, base.values("unet_pooled").to_vec(), [2, 20]),
                time_ids: [16.0, 24.0, 1.0, 2.0, 8.0, 32.0],
            });
            let steps = unet.embed_times(&[621.0], added.as_ref(), None);
            let (input, shape) = base.channels_last("unet_input");
            let output = unet.forward(tensor(&placement, input, shape), &steps[0], &unet.embed_text(&text));
            let (expected, _) = golden.channels_last(&format!("{name}.unet_output"));
            assert_close(&what("denoiser"), &values(output), &expected, 1e-4);

            let encoder = ClipTextModel::open_adapted(&tiny(family), "text_encoder", &placement, &adapters);
            let states = encoder.expect("it opens").forward(&base.ids("ids")).last_hidden_state;
            let expected = golden.values(&format!("{name}.text_hidden"));
            assert_close(&what("text encoder"), &values(states), expected, 1e-4);
            if family == "sdxl" {
                let encoder =
                    ClipTextModel::open_adapted(&tiny(family), "text_encoder_2", &placement, &adapters);
                let output = encoder.expect("it opens").forward(&base.ids("ids_2"));
                let embeds = values(output.text_embeds.expect("it projects"));
                let expected = golden.values(&format!("{name}.text_embeds"));
                assert_close(&what("second text encoder"), &embeds, expected, 1e-4);
            }
        }
    }
}

fn refusal(family: &str, source: &str) -> String {
    let loras = vec![source.parse().expect("it is well formed")];
    let options = LoadOptions { loras, ..common::F32 };
    DiffusionModel::open(tiny(family), &options).expect_err("it does not fit").to_string()
}

/// Writes an adapter with these tensors, all zero.
fn adapter(folder: &Path, tensors: &[(&str, &[usize])]) -> String {
    let path = folder.join("adapter.safetensors");
    let zeros = vec![0; 4 * 4096];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = 4 * shape.iter().product::<usize>();
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &zeros[..bytes]).expect("the sizes agree");
        (name.to_string(), view)
    });
    serialize_to_file(views, None, &path).expect("the temporary folder is writable");
    path.display().to_string()
}

#[test]
fn keys_that_fit_nothing_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    const TO_Q: &str = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let named = |ending: &str| format!("{TO_Q}.{ending}");
    let (down, up) = (named("lora_A.weight"), named("lora_B.weight"));
    type Tensors<'a> = &'a [(&'a str, &'a [usize])];
    let cases: [(Tensors<'_>, &[&str]); 8] = [
        (
            &[("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", &[2, 2])],
            &["adapter.safetensors is no adapter for this model", "hada_w1_a", "expected all the matrices"],
        ),
        (&[(&named("oft_blocks"), &[2, 2])], &["oft_blocks", "other kinds are not implemented"]),
        (&[(&named("diff_b"), &[32])], &["expected a module with a bias, found", "to_q.diff_b"]),
        (&[("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", &[])], &["lora_te2_text_model"]),
        (
            &[("unet.mid_block.attentions.9.proj_in.lora_A.weight", &[2, 32])],
            &[
                "expected modules of this model's unet, found unet.mid_block.attentions.9.proj_in.lora_A.weight",
            ],
        ),
        (&[(&down, &[3, 32])], &["expected all the matrices of one change", "attn1.to_q.lora_A.weight"]),
        (&[(&down, &[3, 16]), (&up, &[32, 3])], &["lora_A.weight [3, 16] and", "attn1.to_q.weight [32, 32]"]),
        (&[(&down, &[0, 32]), (&up, &[32, 0])], &["lora_A.weight [0, 32]", "do not fit each other"]),
    ];
    for (tensors, fragments) in cases {
        let message = refusal("sd1", &adapter(folder.path(), tensors));
        for fragment in fragments {
            assert!(message.contains(fragment), "{fragment:?} is not in {message:?}");
        }
    }
    let other = golden_folder().join("adapters/kohya-xl.safetensors").display().to_string();
    assert!(refusal("sd1", &other).contains("lora_te2_"), "{}", refusal("sd1", &other));
}

#[test]
fn a_weight_stands_behind_the_file() {
    let parse = |text: &str| text.parse::<LoraSource>();
    let source = |path: &str, weight| LoraSource { path: path.into(), weight };
    assert_eq!(parse("a/b.safetensors").expect("well formed"), source("a/b.safetensors", 1.0));
    assert_eq!(parse("a/b.safetensors=0.5").expect("well formed"), source("a/b.safetensors", 0.5));
    assert_eq!(parse("owner/lcm-lora=-1").expect("well formed"), source("owner/lcm-lora", -1.0));
    for text in ["a=", "a=much", "=1", "a=inf"] {
        let message = parse(text).expect_err("it is not well formed").to_string();
        assert!(message.starts_with(&format!("lora is {text}, expected FILE or FILE=WEIGHT")), "{message}");
    }
    let message = refusal("sd1", "no/such/file.safetensors");
    assert!(message.starts_with("no/such/file.safetensors is not a model folder"), "{message}");
}

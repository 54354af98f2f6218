//! Each module and each whole pipeline against diffusers and transformers on tiny random models.
//!
//! Tolerances: 1e-4 for one call of a module, 1e-3 for latents after ten steps, one step of 255 for pixels.

mod common;

use burn_tensor::Tensor;
use common::pipelines::{PROMPT, check_images};
use common::{Golden, assert_close, placements, tensor, tiny, values};
use noisefind_diffusion::Placement;
use noisefind_diffusion::decoder::Vae;
use noisefind_diffusion::denoiser::AddedConditioning;
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_nn::clip::{ClipModel, ClipTextModel, ClipTextOutput};
use noisefind_nn::text::Tokenizer;

const FAMILIES: [&str; 4] = ["sd1", "sd2", "sdxl", "lcm"];

#[test]
fn prompts_become_the_same_tokens() {
    for name in FAMILIES {
        let golden = Golden::read(name);
        let tokenizer = Tokenizer::open(&tiny(name), "tokenizer", 12, 524).expect("the tokenizer opens");
        assert_eq!(vec![tokenizer.encode(PROMPT).expect("it encodes").ids], golden.ids("ids"), "{name}");
    }
    let second = Tokenizer::open(&tiny("sdxl"), "tokenizer_2", 12, 524).expect("the tokenizer opens");
    assert_eq!(vec![second.encode(PROMPT).expect("it encodes").ids], Golden::read("sdxl").ids("ids_2"));
}

#[test]
fn text_encoders_agree() {
    for (how, placement) in placements() {
        for name in FAMILIES {
            let golden = Golden::read(name);
            let what = |field: &str| format!("{name}, {how}, {field}");
            let encoder = ClipTextModel::open(&tiny(name), "text_encoder", &placement).expect("it opens");
            let output = encoder.forward(&golden.ids("ids"));
            for (field, states) in [
                ("text_hidden", output.last_hidden_state.clone()),
                ("text_penultimate", penultimate(&output)),
            ] {
                assert_close(&what(field), &values(states), golden.values(field), 1e-4);
            }
            if name != "sdxl" {
                assert_close(&what("pooled"), &values(output.pooled), golden.values("pooled"), 1e-4);
                continue;
            }
            let second = ClipTextModel::open(&tiny(name), "text_encoder_2", &placement).expect("it opens");
            let output = second.forward(&golden.ids("ids_2"));
            let states = values(penultimate(&output));
            let embeds = output.text_embeds.expect("it projects");
            assert_close(&what("text_embeds"), &values(embeds), golden.values("text_embeds"), 1e-4);
            assert_close(&what("penultimate 2"), &states, golden.values("text_penultimate_2"), 1e-4);
        }
    }
}

#[test]
fn denoisers_agree() {
    for (how, placement) in placements() {
        for name in FAMILIES {
            let golden = Golden::read(name);
            let unet = Unet::open(&tiny(name), &placement).expect("it opens");
            let text = text_tensor(&golden, &placement);
            let added = (name == "sdxl").then(|| AddedConditioning {
                text_embeds: tensor(&placement, golden.values("unet_pooled").to_vec(), [2, 20]),
                time_ids: [16.0, 24.0, 1.0, 2.0, 8.0, 32.0],
            });
            let guidance = (name == "lcm").then_some(5.0);
            let steps = unet.embed_times(&[621.0], added.as_ref(), guidance);
            let (input, shape) = golden.channels_last("unet_input");
            let output = unet.forward(tensor(&placement, input, shape), &steps[0], &unet.embed_text(&text));
            let (expected, _) = golden.channels_last("unet_output");
            assert_close(&format!("{name}, {how}"), &values(output), &expected, 1e-4);
        }
    }
}

#[test]
fn denoisers_agree_on_odd_sizes() {
    let golden = Golden::read("sizes");
    for (how, placement) in placements() {
        let unet = Unet::open(&tiny("deep"), &placement).expect("it opens");
        let text = unet.embed_text(&tensor(&placement, golden.values("text").to_vec(), [2, 12, 16]));
        let steps = unet.embed_times(&[621.0], None, None);
        for size in ["9x11", "10x7", "5x1", "1x2"] {
            let (input, shape) = golden.channels_last(&format!("{size}.input"));
            let output = unet.forward(tensor(&placement, input, shape), &steps[0], &text);
            let (expected, _) = golden.channels_last(&format!("{size}.output"));
            assert_close(&format!("{size}, {how}"), &values(output), &expected, 1e-4);
        }
    }
}

#[test]
fn decoders_agree() {
    for (how, placement) in placements() {
        for name in FAMILIES {
            let golden = Golden::read(name);
            let vae = Vae::open(&tiny(name), "vae", &placement).expect("it opens");
            let (input, shape) = golden.channels_last("vae_input");
            let output = vae.decode(tensor(&placement, input, shape));
            let (expected, _) = golden.channels_last("vae_output");
            assert_close(&format!("{name}, {how}"), &values(output), &expected, 1e-4);
        }
    }
}

#[test]
fn pipelines_agree() {
    for name in FAMILIES {
        check_images(name, &common::F32);
    }
}

#[test]
fn clip_towers_agree() {
    let golden = Golden::read("clip");
    for (how, placement) in placements() {
        let clip = ClipModel::open(&tiny("clip"), "", &placement).expect("it opens");
        let (pixels, _) = golden.channels_last("pixels");
        let features = clip.image_features(pixels, 2).expect("the sizes agree").concat();
        assert_close(&format!("image, {how}"), &features, golden.values("image_features"), 1e-4);
        let features = clip.text_features(&golden.ids("ids")).expect("the sizes agree").concat();
        assert_close(&format!("text, {how}"), &features, golden.values("text_features"), 1e-4);
        assert!((clip.temperature().ln() - golden.values("logit_scale")[0]).abs() < 1e-6);
        let error = clip.image_features(vec![0.0; 7], 2).expect_err("the sizes differ");
        assert_eq!(error.to_string(), "pixels has shape [7], expected [2, 20, 20, 3]");
    }
}

fn penultimate(output: &ClipTextOutput) -> Tensor<3> {
    output.hidden_states[output.hidden_states.len() - 2].clone()
}

fn text_tensor(golden: &Golden, placement: &Placement) -> Tensor<3> {
    let [batch, tokens, width] = golden.shape("unet_text")[..] else { panic!("the text has three axes") };
    tensor(placement, golden.values("unet_text").to_vec(), [batch, tokens, width])
}

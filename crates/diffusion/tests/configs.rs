//! Every key of every config deleted and null in turn, against diffusers and transformers; made by
//! `golden/diffusion/configs.py`.
//!
//! A case gives the same numbers (within 1e-4), or is refused by the name of its key: always where the library raises,
//! and else only where the mathematics is not implemented, which is listed here.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{formula, golden_folder, permute, placements, tensor, values};
use noisefind_diffusion::ModelFiles;
use noisefind_diffusion::decoder::Vae;
use noisefind_diffusion::denoiser::AddedConditioning;
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_nn::clip::ClipTextModel;
use noisefind_nn::device::Placement;
use noisefind_nn::error::Error;
use serde_json::{Map, Value, json};

/// Values that diffusers computes with and that are refused.
const NOT_IMPLEMENTED: &[(&str, &str, &[&str])] = &[
    ("unet", "act_fn", &["\"gelu\"", "\"mish\""]),
    ("unet", "attention_type", &["\"gated\""]),
    ("unet", "conv_in_kernel", &["1", "5"]),
    ("unet", "conv_out_kernel", &["1"]),
    ("unet", "down_block_types", &["[\"AttnDownBlock2D\",\"DownBlock2D\"]"]),
    ("unet", "mid_block_scale_factor", &["2", "1.41"]),
    ("unet", "mid_block_type", &["\"UNetMidBlock2DSimpleCrossAttn\""]),
    ("unet", "resnet_time_scale_shift", &["\"scale_shift\""]),
    ("unet", "time_embedding_act_fn", &["\"silu\""]),
    ("unet", "time_embedding_type", &["\"fourier\""]),
    ("unet", "timestep_post_act", &["\"silu\""]),
    ("kl", "act_fn", &["\"gelu\""]),
    // The pipeline of Stable Diffusion XL cannot apply it.
    ("kl", "latents_mean", &["[0.1]"]),
    ("kl", "out_channels", &["4", "1"]),
    ("kl", "up_block_types", &["[\"UpDecoderBlock2D\",\"AttnUpDecoderBlock2D\"]"]),
    ("tiny", "act_fn", &["\"silu\"", "\"gelu\""]),
    ("tiny", "out_channels", &["4"]),
    ("tiny", "upsample_fn", &["\"bilinear\""]),
    ("tiny", "upsampling_scaling_factor", &["1", "3"]),
    ("text", "hidden_act", &["\"gelu_new\"", "\"gelu_pytorch_tanh\""]),
];

/// Keys whose sizes must fit the text encoders: the pipeline compares them, and the denoiser alone does not know.
const COMPARED_BY_THE_PIPELINE: &[&str] =
    &["addition_time_embed_dim", "projection_class_embeddings_input_dim"];

type Shapes = BTreeMap<String, Vec<usize>>;

#[derive(serde::Deserialize)]
struct Kind {
    config: Map<String, Value>,
    base: Value,
    cases: Vec<(String, Value, Value)>,
    tensors: Vec<BTreeMap<String, Option<Vec<usize>>>>,
}

impl Kind {
    fn read(name: &str) -> Self {
        let bytes = fs::read(golden_folder().join("configs.json")).expect("the golden file is there");
        let mut kinds: BTreeMap<String, Self> = serde_json::from_slice(&bytes).expect("it is valid");
        kinds.remove(name).expect("the kind is there")
    }

    /// The tensors of a network, of which all but the first are listed by their differences.
    fn shapes(&self, network: usize) -> Shapes {
        let mut shapes = self.tensors[0].clone();
        if network > 0 {
            shapes.extend(self.tensors[network].clone());
        }
        shapes.into_iter().filter_map(|(name, shape)| Some((name, shape?))).collect()
    }

    fn changed(&self, key: &str, value: &Value) -> Map<String, Value> {
        let mut config = self.config.clone();
        match value.as_str() {
            Some("absent") => drop(config.remove(key)),
            _ => drop(config.insert(key.to_owned(), value.clone())),
        }
        config
    }
}

fn number(config: &Map<String, Value>, key: &str, default: usize) -> usize {
    let value = config.get(key).map(|value| value.get(0).unwrap_or(value));
    value.and_then(Value::as_u64).map_or(default, |number| number as usize)
}

fn some_of(values: &[f32]) -> Vec<f32> {
    values.iter().step_by((values.len() / 12).max(1)).copied().collect()
}

fn channels_first(values: Vec<f32>, [batch, height, width, channels]: [usize; 4]) -> Vec<f32> {
    permute(&values, [batch, height * width, channels, 1])
}

fn unet(
    files: &ModelFiles,
    config: &Map<String, Value>,
    placement: &Placement,
) -> Result<Vec<Vec<f32>>, Error> {
    let unet = Unet::open(files, placement)?;
    let width = number(config, "cross_attention_dim", 1280);
    let doubled = |name: &str, shape: &[usize], factor: f32| {
        formula::tensor(name, shape).iter().map(|value| value * factor).collect::<Vec<f32>>()
    };
    let added = unet.config().text_time.map(|_| AddedConditioning {
        text_embeds: tensor(placement, doubled("pooled", &[2, 6], 2.0), [2, 6]),
        time_ids: [16.0, 24.0, 1.0, 2.0, 8.0, 32.0],
    });
    let text = unet.embed_text(&tensor(placement, doubled("text", &[2, 5, width], 2.0), [2, 5, width]));
    let scale = unet.config().time_cond_proj_dim.map(|_| 1.0625);
    let steps = unet.embed_times(&[621.0], added.as_ref(), scale);
    let channels = unet.config().in_channels;
    let dims = [2, channels, 8, 8];
    let input = permute(&doubled("x", &dims, 3.0), dims);
    let output = unet.forward(tensor(placement, input, [2, 8, 8, channels]), &steps[0], &text);
    let dims = output.dims();
    Ok(vec![some_of(&channels_first(values(output), dims))])
}

fn decoder(
    files: &ModelFiles,
    _: &Map<String, Value>,
    placement: &Placement,
) -> Result<Vec<Vec<f32>>, Error> {
    let vae = Vae::open(files, "vae", placement)?;
    let channels = vae.info().latent_channels;
    let dims = [1, channels, 4, 6];
    let latents: Vec<f32> = formula::tensor("z", &dims).iter().map(|value| value * 2.0).collect();
    let latents: Vec<f32> = permute(&latents, dims);
    let factor = vae.info().scaling.factor;
    let scaled = latents.iter().map(|value| value / factor).collect();
    let output = vae.decode(tensor(placement, scaled, [1, 4, 6, channels]));
    let dims = output.dims();
    Ok(vec![some_of(&channels_first(values(output), dims))])
}

fn text(files: &ModelFiles, _: &Map<String, Value>, placement: &Placement) -> Result<Vec<Vec<f32>>, Error> {
    let encoder = ClipTextModel::open(files, "text_encoder", placement)?;
    let ids = [vec![62, 5, 40, 7, 63, 63, 40, 1, 0], vec![62, 59, 3, 2, 40, 60, 60, 0, 0]];
    let output = encoder.forward(&ids);
    let states = &output.hidden_states;
    let [last, before] = [1, 2].map(|at| some_of(&values(states[states.len() - at].clone())));
    let pooled = output.text_embeds.unwrap_or(output.pooled);
    Ok(vec![last, before, some_of(&values(pooled))])
}

type Run = fn(&ModelFiles, &Map<String, Value>, &Placement) -> Result<Vec<Vec<f32>>, Error>;

fn write(folder: &Path, config: &Map<String, Value>, shapes: &Shapes, stem: &str) {
    fs::create_dir_all(folder).expect("the temporary folder is writable");
    fs::write(folder.join("config.json"), Value::from(config.clone()).to_string()).expect("it is writable");
    let tensors = shapes.iter().map(|(name, shape)| (name.as_str(), shape.clone()));
    formula::write(&folder.join(stem), tensors);
}

fn replay(name: &str, part: &str, stem: &str, run: Run) {
    let kind = Kind::read(name);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, placement) = &placements()[0];
    let class = kind.config.get("_class_name").and_then(Value::as_str).unwrap_or("CLIPTextModel");
    let index = json!({"_class_name": "StableDiffusionPipeline", part: ["diffusers", class]});
    fs::write(folder.path().join("model_index.json"), index.to_string()).expect("it is writable");
    let mut written = usize::MAX;
    let mut problems = Vec::new();
    let base = std::iter::once(("_".to_owned(), json!("complete"), kind.base.clone()));
    for (key, value, outcome) in base.chain(kind.cases.iter().cloned()) {
        let config = if key == "_" { kind.config.clone() } else { kind.changed(&key, &value) };
        let expected = if outcome == json!("same") { &kind.base } else { &outcome };
        let network = expected["tensors"].as_u64().unwrap_or(0) as usize;
        if written != network {
            write(&folder.path().join(part), &config, &kind.shapes(network), stem);
            written = network;
        }
        fs::write(folder.path().join(part).join("config.json"), Value::from(config.clone()).to_string())
            .expect("it is writable");
        let files = ModelFiles::directory(folder.path()).expect("it is a folder");
        if COMPARED_BY_THE_PIPELINE.contains(&key.as_str())
            && expected["output"].is_null()
            && !value.is_null()
        {
            continue;
        }
        let found = run(&files, &config, placement);
        let what = format!("{name}: {key} {value}");
        let numbers = expected["output"].as_array();
        let text = value.to_string();
        let refused = NOT_IMPLEMENTED.iter().any(|(kind, refused, values)| {
            name.starts_with(kind) && *refused == key && values.contains(&text.as_str())
        });
        match (found, numbers) {
            (Err(error), _) if numbers.is_none() || refused => {
                if !error.to_string().contains(&key) {
                    problems.push(format!("{what}: refused without the key: {error}"));
                }
            }
            (Err(error), _) => problems.push(format!("{what}: refused: {error}")),
            (Ok(_), None) => problems.push(format!("{what}: accepted, expected {outcome}")),
            (Ok(_), Some(_)) if refused => problems.push(format!("{what}: is listed as not implemented")),
            (Ok(found), Some(numbers)) => {
                let expected: Vec<Vec<f32>> =
                    serde_json::from_value(Value::from(numbers.clone())).expect("lists of numbers");
                let pairs = || found.iter().flatten().zip(expected.iter().flatten());
                let worst = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let lengths = |parts: &[Vec<f32>]| parts.iter().map(Vec::len).collect::<Vec<_>>();
                if lengths(&found) != lengths(&expected) || worst.is_nan() || worst > 1e-4 {
                    problems.push(format!("{what}: differs by {worst}"));
                }
            }
        }
    }
    assert!(kind.cases.len() > 40, "{name}");
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

const STEM: &str = "diffusion_pytorch_model.safetensors";

#[test]
fn denoisers() {
    replay("unet", "unet", STEM, unet);
}

#[test]
fn denoisers_of_xl() {
    replay("unet-xl", "unet", STEM, unet);
}

#[test]
fn full_decoders() {
    replay("kl", "vae", STEM, decoder);
}

#[test]
fn small_decoders() {
    replay("tiny", "vae", STEM, decoder);
}

#[test]
fn text_encoders() {
    replay("text", "text_encoder", "model.safetensors", text);
}

#[test]
fn text_encoders_with_projection() {
    replay("text-projection", "text_encoder", "model.safetensors", text);
}

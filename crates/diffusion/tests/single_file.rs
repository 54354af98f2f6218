//! Checkpoints as one file against `from_single_file` of diffusers; made by `golden/diffusion/single_file.py`.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::{assert_close, formula, golden_folder, permute, placements, tensor, values};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_diffusion::decoder::Vae;
use noisefind_diffusion::denoiser::unet2d::Unet;
use noisefind_diffusion::{
    DiffusionModel, GenerationOptions, LoadOptions, ModelFiles, ModelInfo, single_file,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

#[derive(serde::Deserialize)]
struct Tiny {
    tensors: BTreeMap<String, Vec<usize>>,
    latents: Vec<f32>,
    image: Vec<f32>,
}

fn tiny() -> BTreeMap<String, Tiny> {
    let bytes = fs::read(golden_folder().join("single_file/tiny.json")).expect("the golden file is there");
    serde_json::from_slice(&bytes).expect("the golden file is valid")
}

fn config_from(kind: &str) -> String {
    golden_folder().join(kind).display().to_string()
}

/// Writes tensors by formula into a file of this name.
fn written(folder: &Path, name: &str, tensors: &BTreeMap<String, Vec<usize>>) -> PathBuf {
    let path = folder.join(name);
    formula::write(&path, tensors.iter().map(|(name, shape)| (name.as_str(), shape.clone())));
    path
}

/// Noise, the latents after three steps, and every seventh number of the image.
fn draw(model: &DiffusionModel) -> (Vec<f32>, Vec<f32>) {
    let options = GenerationOptions { num_inference_steps: 3, guidance_scale: 5.0, ..Default::default() };
    let prompt = model.prepare("a green dog", &options).expect("it is prepared");
    let values: Vec<f32> = formula::tensor("noise", &[1, 4, 8, 8]).iter().map(|value| value * 14.0).collect();
    let key = SampleKey { seed: 1, iteration: 0, index: 0 };
    let noise = Noise::new(key, NoiseShape::image(4, 8, 8), values).expect("the sizes agree");
    let latents = model.generate_latents(&prompt, &[noise]).expect("it generates");
    let decoded = model.decode_values(&latents, 1).expect("it decodes");
    (latents[0].values.clone(), decoded[0].values.clone())
}

#[test]
fn files_of_every_family_agree_with_diffusers() {
    let folder = TempDir::new().expect("a temporary folder");
    let tiny = tiny();
    assert_eq!(tiny.len(), 3);
    for (kind, tiny) in &tiny {
        let path = written(folder.path(), &format!("{kind}.safetensors"), &tiny.tensors);
        let files = single_file::open(&path, Some(&config_from(kind))).expect("it opens");
        let [(_, placement), _] = placements();
        let vae = Vae::open(&files, "vae", &placement).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let model =
            DiffusionModel::open(files, &common::F32).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let (latents, _) = draw(&model);
        assert_close(&format!("{kind}, latents"), &latents, &tiny.latents, 2e-4);
        let dims = [1, 4, 8, 8];
        let input: Vec<f32> = formula::tensor("vae_input", &dims).iter().map(|value| value * 14.0).collect();
        let image = values(vae.decode(tensor(&placement, permute(&input, dims), [1, 8, 8, 4])));
        // Back to channels first: the rows are the pixels now.
        let image = permute(&image, [1, image.len() / 3, 3, 1]);
        let every_seventh: Vec<f32> = image.into_iter().step_by(7).collect();
        assert_close(&format!("{kind}, image"), &every_seventh, &tiny.image, 1e-4);
    }
}

/// Reads names and shapes of a full-size file; each line has what it shares with the one before as a number.
fn full_size(name: &str) -> Vec<(String, Vec<usize>)> {
    let text =
        fs::read_to_string(golden_folder().join(format!("single_file/{name}.txt"))).expect("it is there");
    let mut before = String::new();
    let mut tensors = Vec::new();
    for line in text.lines() {
        let (common, rest) = line.split_once(' ').expect("a number and the rest");
        before = format!("{}{rest}", &before[..common.parse::<usize>().expect("a number")]);
        let (name, shape) = before.split_once(' ').expect("a name and a shape");
        let sides = shape.split(',').filter(|side| !side.is_empty());
        let shape = sides.map(|side| side.parse().expect("a number")).collect();
        tensors.push((name.to_owned(), shape));
    }
    tensors
}

/// Writes a file of zeros that takes no room on the disk.
fn sparse(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let mut header = Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).expect("the temporary folder is writable");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("it is writable");
    file.write_all(header.as_bytes()).expect("it is writable");
    let length = file.seek(SeekFrom::End(0)).expect("it can be measured") + at as u64;
    file.set_len(length).expect("the file system knows holes");
}

#[test]
fn every_name_of_the_published_files_has_its_place() {
    let folder = TempDir::new().expect("a temporary folder");
    let [(_, placement), _] = placements();
    let checking = placement.checking();
    for (name, tensors, layers) in [("sd-1.5", 1134, 12), ("sd-2.1", 1230, 23), ("sdxl", 2516, 12)] {
        let all = full_size(name);
        assert_eq!(all.len(), tensors, "{name}");
        let path = folder.path().join(format!("{name}.safetensors"));
        sparse(&path, &all);
        let files = single_file::open(&path, None).expect("it opens");
        // Everything that is asked for is there, in its shape, and nothing of the denoiser is left over.
        Unet::open(&files, &checking).unwrap_or_else(|error| panic!("{name}: {error}"));
        for part in ["text_encoder", "text_encoder_2"] {
            if files.contains(&format!("{part}/config.json")) {
                let part = if part == "text_encoder" { "text_encoder" } else { "text_encoder_2" };
                let encoder = noisefind_nn::clip::ClipTextModel::open(&files, part, &checking);
                let encoder = encoder.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(part == "text_encoder_2" || encoder.config().num_hidden_layers == layers);
            }
        }
        Vae::open(&files, "vae", &checking).unwrap_or_else(|error| panic!("{name}: {error}"));
        let says_so = files.notes().iter().any(|note| note.contains("768 pixels with v_prediction"));
        assert_eq!(says_so, name == "sd-2.1", "{:?}", files.notes());
    }
}

#[test]
fn a_checkpoint_is_inspected_like_a_folder() {
    let folder = TempDir::new().expect("a temporary folder");
    let tiny = tiny();
    let path = written(folder.path(), "model.ckpt", &tiny["sdxl"].tensors);
    let files = single_file::find(&path.display().to_string(), Some(&config_from("sdxl"))).expect("it opens");
    let info = ModelInfo::read(&files).expect("it has an index");
    assert_eq!(info.problems, Vec::<String>::new());
    assert_eq!(info.family, "Stable Diffusion XL");
    let parts: Vec<&str> = info.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(parts, ["text_encoder", "text_encoder_2", "unet", "vae"]);
}

#[test]
fn sizes_that_are_not_the_published_ones_are_named_with_the_way_out() {
    let folder = TempDir::new().expect("a temporary folder");
    let tiny = tiny();
    let path = written(folder.path(), "model.safetensors", &tiny["sd1"].tensors);
    let files = single_file::open(&path, None).expect("it opens");
    let message = DiffusionModel::open(files, &common::F32).expect_err("it is tiny").to_string();
    for fragment in [
        "model.safetensors/text_encoder does not fit the configs of Stable Diffusion 1.5",
        "--config-from gives others",
    ] {
        assert!(message.contains(fragment), "{message}");
    }
}

#[test]
fn a_decoder_of_its_own_takes_the_config_of_the_model() {
    let folder = TempDir::new().expect("a temporary folder");
    let tiny = tiny();
    let own = &tiny["sd1"];
    let whole = written(folder.path(), "whole.safetensors", &own.tensors);
    // The same decoder alone, under the bare names.
    let decoder: BTreeMap<String, Vec<usize>> = own
        .tensors
        .iter()
        .filter_map(|(name, shape)| {
            Some((name.strip_prefix("first_stage_model.")?.to_owned(), shape.clone()))
        })
        .collect();
    let path = written(folder.path(), "vae.safetensors", &decoder);
    let open = |vae: Option<String>| {
        let files = single_file::open(&whole, Some(&config_from("sd1"))).expect("it opens");
        DiffusionModel::open(files, &LoadOptions { vae, ..common::F32 })
    };
    let (latents, image) = draw(&open(None).expect("it opens"));
    let (same, other) = draw(&open(Some(path.display().to_string())).expect("it opens"));
    assert_eq!(latents, same);
    // Other names are other weights, by formula.
    assert_ne!(image, other);
    // As it lies in the folder of diffusers, the file is the same decoder.
    let model = golden_folder().join("sd1");
    let weights = model.join("vae/diffusion_pytorch_model.safetensors").display().to_string();
    let of_folder = |vae| {
        let files = ModelFiles::directory(&model).expect("it is a folder");
        draw(&DiffusionModel::open(files, &LoadOptions { vae, ..common::F32 }).expect("it opens")).1
    };
    assert_eq!(of_folder(None), of_folder(Some(weights)));
    let wrong = open(Some(whole.with_file_name("none").display().to_string()));
    assert!(wrong.is_err());
    let adapter = golden_folder().join("adapters/kohya.safetensors").display().to_string();
    let message = open(Some(adapter)).expect_err("it is no decoder").to_string();
    assert!(
        message.contains("kohya.safetensors is no decoder: expected the tensor decoder.conv_in.weight"),
        "{message}"
    );
}

#[test]
fn other_models_are_refused_as_what_they_are() {
    let folder = TempDir::new().expect("a temporary folder");
    const UNET: &str = "model.diffusion_model.";
    for (tensors, expected) in [
        (vec![(format!("{UNET}input_blocks.0.0.weight"), vec![4, 9, 3, 3])], "an inpainting model"),
        (vec![(format!("{UNET}input_blocks.0.0.weight"), vec![4, 8, 3, 3])], "an InstructPix2Pix model"),
        (
            vec![
                (format!("{UNET}input_blocks.0.0.weight"), vec![4, 4, 3, 3]),
                ("conditioner.embedders.0.model.ln_final.weight".to_owned(), vec![4]),
            ],
            "the refiner of Stable Diffusion XL",
        ),
        (
            vec![(format!("{UNET}joint_blocks.0.context_block.adaLN_modulation.1.bias"), vec![4])],
            "a Stable Diffusion 3 model",
        ),
        (
            vec![("double_blocks.0.img_attn.norm.key_norm.scale".to_owned(), vec![4])],
            "a FLUX model, which is not implemented; use it through an external generator",
        ),
        (
            vec![
                (format!("{UNET}input_blocks.0.0.weight"), vec![4, 4, 3, 3]),
                ("edm_mean".to_owned(), vec![4]),
            ],
            "give --config-from playgroundai/playground-v2.5-1024px-aesthetic",
        ),
        (vec![("down_blocks.0.motion_modules.0.norm.weight".to_owned(), vec![4])], "a motion module; give"),
        (vec![("down_blocks.0.resnets.0.conv1.weight".to_owned(), vec![4])], "the denoiser of a folder"),
        (vec![("text_model.embeddings.token_embedding.weight".to_owned(), vec![4, 4])], "a text encoder"),
        (vec![("unet.mid_block.attentions.0.proj_in.lora_A.weight".to_owned(), vec![4, 4])], "--lora"),
        (vec![("decoder.conv_in.weight".to_owned(), vec![4, 4, 3, 3])], "give it with --vae"),
        (vec![("emb_params".to_owned(), vec![1, 4])], "give it with --embedding"),
        (vec![("something".to_owned(), vec![1])], "no checkpoint of Stable Diffusion"),
    ] {
        let path = folder.path().join("model.safetensors");
        formula::write(&path, tensors.iter().map(|(name, shape)| (name.as_str(), shape.clone())));
        let message = single_file::open(&path, None).expect_err(expected).to_string();
        assert!(
            message.contains(&format!("model.safetensors is {}", expected.trim_start_matches('-')))
                || message.contains(expected),
            "{message}"
        );
    }
    let message =
        single_file::find(&config_from("sd1"), Some("x/y")).expect_err("it is a folder").to_string();
    assert!(message.starts_with("config-from is x/y, expected a model that is one file"), "{message}");
}

#[test]
fn marks_in_a_file_choose_what_the_model_predicts() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    for (marks, prediction, zero_snr) in
        [(vec!["v_pred", "ztsnr"], "v_prediction", true), (vec!["v_pred"], "v_prediction", false)]
    {
        let mut all = full_size("sdxl");
        all.extend(marks.iter().map(|mark| ((*mark).to_owned(), vec![0])));
        sparse(&path, &all);
        let files = single_file::open(&path, None).expect("it opens");
        let config: Value = files.read_json("scheduler/scheduler_config.json").expect("it is there");
        assert_eq!(config["prediction_type"], prediction);
        assert_eq!(config.get("rescale_betas_zero_snr").is_some(), zero_snr);
        assert_eq!(files.notes().len(), marks.len(), "{:?}", files.notes());
    }
}

//! Checkpoints as one file, `.safetensors` or `.ckpt`: read as if they were the folder that diffusers would make of them.
//!
//! The file holds the denoiser, the decoder and the text encoders with the names of the original programs (`names`). What
//! it is shows in its names and shapes (`kinds`); its configs and tokenizers are those of the published model of that
//! kind, as `from_single_file` of diffusers takes them, or those of a folder that the user gives.

mod kinds;
mod names;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::denoiser::unet2d::UnetConfig;
use kinds::{Family, TEXT, TEXT_XL, UNET};
use noisefind_nn::clip_vocabulary;
use noisefind_nn::config::ClipTextConfig;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use noisefind_nn::json;
use noisefind_nn::repacked::{Pieces, Repacked};
use noisefind_nn::weight_file::{Piece, WeightFile};

/// Prefixes of the decoder; the last that is there counts, as in diffusers.
const VAE: [&str; 2] = ["first_stage_model.", "vae."];
/// Prefix of the averaged copy of the denoiser that some files hold beside it.
const EMA: &str = "model_ema.";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// The model called `name`: a file, a folder, or an id on the hub. `config_from` is the folder or id whose configs and
/// tokenizers a file takes.
///
/// # Errors
/// Where it is none of them, or the file holds another kind of model.
pub fn find(name: &str, config_from: Option<&str>) -> Result<ModelFiles> {
    let path = Path::new(name);
    if path.is_file() {
        return open(path, config_from);
    }
    match config_from {
        None => {
            let files = ModelFiles::find(name)?;
            match checkpoints_in(&files) {
                found if found.is_empty() => Ok(files),
                found => Err(Error::NotThisModel {
                    model: name.to_owned(),
                    what: format!(
                        "no folder in the layout of diffusers, since it has no model_index.json; give --model one of its \
                         files: {}",
                        found.join(", ")
                    ),
                }),
            }
        }
        Some(found) => Err(Error::Option {
            option: "config-from",
            found: found.to_owned(),
            expected: format!("a model that is one file; {name} is none, and has its own configs"),
        }),
    }
}

/// The files of weights at the top of a folder that is no model itself.
fn checkpoints_in(files: &ModelFiles) -> Vec<String> {
    if ["model_index.json", "config.json", "noisefind.json"].iter().any(|file| files.contains(file)) {
        return Vec::new();
    }
    let is_checkpoint = |name: &String| [".safetensors", ".ckpt"].iter().any(|ending| name.ends_with(ending));
    files.names_in("").into_iter().filter(is_checkpoint).collect()
}

/// Whether a file is meant as weights of a model, by its content or, where that cannot be read, by its name.
pub fn is_checkpoint(path: &Path) -> bool {
    match WeightFile::open(path) {
        Ok(file) => file.names().any(|name| name.contains('.')),
        Err(_) => path
            .extension()
            .is_some_and(|ending| ["ckpt", "pt", "pth", "bin"].iter().any(|known| ending == *known)),
    }
}

/// Opens a checkpoint.
///
/// # Errors
/// Where the file is damaged or holds another kind of model, or the configs are absent or do not fit.
pub fn open(path: &Path, config_from: Option<&str>) -> Result<ModelFiles> {
    let file = WeightFile::open(path)?;
    kinds::check(&file, config_from.is_some())?;
    let mut repacked = Repacked {
        path: path.to_owned(),
        parts: BTreeMap::new(),
        texts: BTreeMap::new(),
        configs_of: String::new(),
        notes: Vec::new(),
    };
    let configs = match config_from {
        Some(from) => {
            repacked.configs_of = format!("the configs of {from}");
            ModelFiles::find(from)?
        }
        None => {
            let family = kinds::family(&file);
            repacked.configs_of = format!(
                "the configs of {}, for which it is taken; --config-from gives others",
                family.name()
            );
            repacked.texts = published(family, &file, &mut repacked.notes)?;
            ModelFiles::of_repacked(repacked.clone())
        }
    };
    if file.names().any(|name| name.starts_with(EMA)) {
        let note = "the averaged weights in the file (model_ema) are not used, as in diffusers";
        repacked.notes.push(note.into());
    }
    let parts = [
        ("unet", unet(&file, &configs)?),
        ("vae", vae(&file)),
        ("text_encoder", text_encoder(&file, &configs)?),
        ("text_encoder_2", text_encoder_2(&file, &configs)?),
    ];
    // What the file does not hold comes from the folder of the configs, if that has weights.
    let parts = parts.into_iter().filter(|(_, pieces)| !pieces.is_empty());
    repacked.parts = parts.map(|(part, pieces)| (part.to_owned(), pieces)).collect();
    let files = ModelFiles::of_repacked(repacked);
    Ok(if config_from.is_some() { files.over(configs) } else { files })
}

/// Opens a decoder that is one file; a file has no config, so it takes that of the model's own decoder.
///
/// # Errors
/// Where the file is damaged or holds no decoder, or the model has no config of one.
pub fn open_vae(path: &Path, model: &ModelFiles) -> Result<ModelFiles> {
    let file = WeightFile::open(path)?;
    let pieces = vae(&file);
    if !pieces.contains_key("decoder.conv_in.weight") {
        let is_tiny = file.names().any(|name| name.starts_with("decoder.layers."));
        let what = match is_tiny {
            true => "a tiny decoder, which needs its config; give --vae the folder with config.json",
            false => "no decoder: expected the tensor decoder.conv_in.weight",
        };
        let what = what.to_owned();
        return Err(Error::NotThisModel { model: file.name().to_owned(), what });
    }
    let config = model.read("vae/config.json")?;
    Ok(ModelFiles::of_repacked(Repacked {
        path: path.to_owned(),
        parts: BTreeMap::from([(String::new(), pieces)]),
        texts: BTreeMap::from([("config.json".to_owned(), config)]),
        configs_of: format!("the config of the decoder of {}", model.name()),
        notes: Vec::new(),
    }))
}

/// Files other than weights, by their paths.
type Texts = BTreeMap<String, Cow<'static, [u8]>>;

/// The configs and tokenizers of the published model, with another scheduler config where the file says so.
fn published(family: Family, file: &WeightFile, notes: &mut Vec<String>) -> Result<Texts> {
    let text = match family {
        Family::Sd1 => include_str!("configs/sd-1.5.json"),
        Family::Sd2 => include_str!("configs/sd-2.1.json"),
        Family::Xl => include_str!("configs/sdxl.json"),
    };
    let mut configs: BTreeMap<String, Map<String, Value>> = json::from_slice(text.as_bytes())
        .map_err(|source| Error::Json { file: family.name().to_owned(), source })?;
    if let Some(scheduler) = configs.get_mut(SCHEDULER) {
        mark_scheduler(family, file, scheduler, notes);
    }
    let mut texts = Texts::new();
    for (path, config) in configs {
        if let Some(folder) = path.strip_suffix("/tokenizer_config.json") {
            for text in clip_vocabulary::embedded() {
                texts.insert(format!("{folder}/{}", text.path), Cow::Borrowed(text.bytes));
            }
        }
        texts.insert(path, Cow::Owned(Value::Object(config).to_string().into_bytes()));
    }
    Ok(texts)
}

/// Changes the scheduler config where marks in the file say that the model predicts something else than the published one.
fn mark_scheduler(
    family: Family,
    file: &WeightFile,
    config: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) {
    // Names of empty tensors by which trainers mark models; or https://github.com/Stability-AI/ModelSpec.
    let marked = |name: &str| file.shape(name).is_some();
    let architecture = file.metadata("modelspec.architecture").unwrap_or_default();
    let prediction = match file.metadata("modelspec.prediction_type") {
        _ if marked("v_pred") => Some("v_prediction"),
        Some("v") => Some("v_prediction"),
        Some("epsilon") => Some("epsilon"),
        _ if architecture.starts_with("stable-diffusion-v2-512") => Some("epsilon"),
        // The step at which Stable Diffusion 2 for 512 pixels was saved.
        _ if family == Family::Sd2 && file.metadata("global_step") == Some("875000") => Some("epsilon"),
        _ => None,
    };
    let usual = config.get("prediction_type").and_then(Value::as_str).map(str::to_owned);
    if let Some(prediction) = prediction.filter(|prediction| Some(*prediction) != usual.as_deref()) {
        config.insert("prediction_type".into(), json!(prediction));
        notes.push(format!("prediction_type is {prediction}, by a mark in the file"));
    } else if family == Family::Sd2 && prediction.is_none() {
        notes.push(
            "taken for Stable Diffusion 2.1 of 768 pixels with v_prediction, as in diffusers; for one of 512 pixels give \
             --config-from stabilityai/stable-diffusion-2-1-base"
                .into(),
        );
    }
    if marked("ztsnr") {
        config.insert("rescale_betas_zero_snr".into(), json!(true));
        notes.push("rescale_betas_zero_snr is true, by a mark in the file".into());
    }
}

fn unet(file: &WeightFile, configs: &ModelFiles) -> Result<Pieces> {
    let config = UnetConfig::read(configs)?;
    let layers: Vec<usize> = config.down_blocks.iter().map(|block| block.resnets).collect();
    let piece = |name: &str| {
        let inner = name.strip_prefix(UNET)?;
        Some((names::unet(inner, &layers), Piece::whole(name)))
    };
    Ok(file.names().filter_map(piece).collect())
}

fn vae(file: &WeightFile) -> Pieces {
    let is_there = |prefix: &&&str| file.names().any(|name| name.starts_with(**prefix));
    let prefix = VAE.iter().rev().find(is_there).copied().unwrap_or_default();
    let inner = || file.names().filter_map(|name| Some((name, name.strip_prefix(prefix)?)));
    let level = |(_, inner): (&str, &str)| inner.strip_prefix("decoder.up.")?.split('.').next()?.parse().ok();
    let levels = inner().filter_map(level).max().map_or(0, |level: usize| level + 1);
    let is_of_decoder = |name: &str| {
        ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].iter().any(|own| name.starts_with(own))
    };
    inner()
        .filter(|(_, inner)| is_of_decoder(inner))
        .map(|(name, inner)| {
            // The original attention is made of 1x1 convolutions.
            let shape = match file.shape(name) {
                Some([rows, columns, 1] | [rows, columns, 1, 1]) if inner.contains(".attn_1.") => {
                    Some(vec![*rows, *columns])
                }
                _ => None,
            };
            (names::vae(inner, levels), Piece { shape, ..Piece::whole(name) })
        })
        .collect()
}

/// The first text encoder: CLIP's own names, or OpenCLIP's in Stable Diffusion 2.
fn text_encoder(file: &WeightFile, configs: &ModelFiles) -> Result<Pieces> {
    for prefix in [format!("{TEXT_XL}0.transformer."), format!("{TEXT}transformer.")] {
        let pieces = clip(file, &prefix);
        if !pieces.is_empty() {
            return Ok(pieces);
        }
    }
    let mut pieces = open_clip(file, &format!("{TEXT}model."), "text_encoder", configs)?;
    // This encoder was trained to end before its last layer, and nothing is projected.
    pieces.remove("text_projection.weight");
    Ok(pieces)
}

/// The second text encoder of Stable Diffusion XL.
fn text_encoder_2(file: &WeightFile, configs: &ModelFiles) -> Result<Pieces> {
    open_clip(file, &format!("{TEXT_XL}1.model."), "text_encoder_2", configs)
}

fn clip(file: &WeightFile, prefix: &str) -> Pieces {
    let piece = |name: &str| {
        let inner = name.strip_prefix(prefix)?;
        let inner = inner.strip_prefix("text_model.").unwrap_or(inner);
        let own = ["embeddings.", "encoder.", "final_layer_norm."];
        own.iter().any(|own| inner.starts_with(own)).then(|| (inner.to_owned(), Piece::whole(name)))
    };
    file.names().filter_map(piece).collect()
}

fn open_clip(file: &WeightFile, prefix: &str, folder: &'static str, configs: &ModelFiles) -> Result<Pieces> {
    let width = file.shape(&format!("{prefix}ln_final.weight")).and_then(|shape| shape.first()).copied();
    let Some(width) = width else { return Ok(Pieces::new()) };
    let layers = ClipTextConfig::read(configs, folder)?.num_hidden_layers;
    let is_used = |name: &str| {
        let layer =
            name.strip_prefix("encoder.layers.").and_then(|rest| rest.split('.').next()?.parse().ok());
        layer.is_none_or(|layer: usize| layer < layers)
    };
    let inner = file.names().filter_map(|name| name.strip_prefix(prefix));
    let pieces = inner.flat_map(|name| names::open_clip(prefix, name, width));
    Ok(pieces.filter(|(name, _)| is_used(name)).collect())
}

//! Low-rank adapters, merged into the weights of a part while it loads, so that drawing costs nothing more.
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022: `W + weight (alpha / rank) up down`.
//! Files name their modules in three ways: kohya's, with underscores for dots (LCM-LoRA, and for SDXL after the
//! blocks of the original program); peft's, `lora_A` and `lora_B`; and that of older diffusers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;

use noisefind_kernels::{Dtype, Epilogue, PackedMatrix, gemm};
use serde_json::{Map, Value};

use crate::device::{DeviceChoice, DtypeChoice, Placement};
use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::weights::{Change, Changes, Weights};

/// What trainers call the file in a folder or on the hub.
const USUAL_NAMES: [&str; 3] = [
    "pytorch_lora_weights.safetensors",
    "pytorch_lora_weights.bin",
    // Those of AnimateDiff's motions.
    "diffusion_pytorch_model.safetensors",
];

/// The parts that adapters change.
const PARTS: [&str; 3] = ["unet", "text_encoder", "text_encoder_2"];

/// An adapter as the user names it: `FILE` or `FILE=WEIGHT`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSource {
    /// A file, or a folder or id on the hub with a file of a usual name.
    pub path: String,
    /// Factor of everything in it; 1 is what it was trained for.
    pub weight: f32,
}

impl FromStr for LoraSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let weighted = text.rsplit_once('=').filter(|_| !Path::new(text).exists());
        let (path, weight) = match weighted {
            None => (text, Ok(1.0)),
            Some((path, weight)) => (path, weight.parse()),
        };
        match weight {
            Ok(weight) if f32::is_finite(weight) && !path.is_empty() => {
                Ok(Self { path: path.to_owned(), weight })
            }
            _ => Err(Error::Option {
                option: "lora",
                found: text.to_owned(),
                expected: "FILE or FILE=WEIGHT, with a number for WEIGHT".into(),
            }),
        }
    }
}

/// All adapters of a model, in the order in which they were named.
#[derive(Debug, Default)]
pub struct Adapters(Vec<Rc<Adapter>>);

/// One file with low-rank changes of some modules.
#[derive(Debug)]
struct Adapter {
    weights: Weights,
    modules: BTreeMap<Module, Pair>,
    weight: f32,
}

/// A module of the model: its part, and its name with underscores for dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Module {
    part: &'static str,
    name: String,
}

/// The tensors that change one module.
#[derive(Clone, Debug, Default)]
struct Pair {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<Alpha>,
}

#[derive(Clone, Debug)]
enum Alpha {
    /// A tensor of one number.
    Stored(String),
    /// A number of the file's header, with the root of the rank in place of the rank where it says so.
    Stated { alpha: f32, rooted: bool },
}

/// The change of one tensor.
#[derive(Clone, Debug)]
struct Delta {
    adapter: Rc<Adapter>,
    module: Module,
}

impl Adapters {
    /// Opens the files; their tensors are read when the parts load that they change.
    ///
    /// # Errors
    /// Where a file is absent or damaged, or holds anything but low-rank pairs for `parts`.
    pub fn open(sources: &[LoraSource], parts: &[String]) -> Result<Self> {
        sources
            .iter()
            .map(|source| Adapter::open(source, parts).map(Rc::new))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The changes of `weights`, which are those of one part; `spellings` are the names that files may use for a module.
    ///
    /// # Errors
    /// Where an adapter changes a module that is not there.
    pub fn changes(
        &self,
        part: &'static str,
        weights: &Weights,
        spellings: impl Fn(&str) -> Vec<String>,
    ) -> Result<Changes> {
        let mut known = HashMap::new();
        for tensor in weights.names() {
            if let Some(module) = tensor.strip_suffix(".weight") {
                known.extend(spellings(module).into_iter().map(|name| (name.replace('.', "_"), tensor)));
            }
        }
        let mut changes = Changes::new();
        for adapter in &self.0 {
            let mut strangers = Vec::new();
            for module in adapter.modules.keys().filter(|module| module.part == part) {
                match known.get(&module.name) {
                    Some(tensor) => {
                        let delta = Delta { adapter: Rc::clone(adapter), module: module.clone() };
                        changes.entry((*tensor).to_owned()).or_default().push(Box::new(delta));
                    }
                    None => strangers.push(module.name.clone()),
                }
            }
            if !strangers.is_empty() {
                let expected = format!("modules of this model's {part}");
                return Err(adapter.refusal(&expected, &strangers));
            }
        }
        Ok(changes)
    }
}

impl Adapter {
    fn open(source: &LoraSource, parts: &[String]) -> Result<Self> {
        let path = Path::new(&source.path);
        let (files, name) = if path.is_file() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (ModelFiles::directory(folder.unwrap_or(Path::new(".")))?, name)
        } else {
            let files = ModelFiles::find(&source.path)?;
            let usual = USUAL_NAMES.iter().find(|name| files.contains(name)).unwrap_or(&USUAL_NAMES[0]);
            (files, (*usual).to_owned())
        };
        // Merging is done in f32 on the host, wherever the model runs.
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32)?;
        let weights = Weights::open_file(&files, &name, &placement)?;
        let mut adapter = Self { weights, modules: BTreeMap::new(), weight: source.weight };
        let mut strangers = Vec::new();
        let names: Vec<String> = adapter.weights.names().map(str::to_owned).collect();
        for name in names {
            let Some((module, role)) =
                parse(&name).filter(|(module, _)| parts.iter().any(|part| part == module.part))
            else {
                strangers.push(name);
                continue;
            };
            let pair = adapter.modules.entry(module).or_default();
            match role {
                Role::Down => pair.down = Some(name),
                Role::Up => pair.up = Some(name),
                Role::Alpha => pair.alpha = Some(Alpha::Stored(name)),
            }
        }
        if !strangers.is_empty() {
            let expected = "pairs of a low-rank adapter for a UNet or its text encoders; other kinds are not implemented";
            return Err(adapter.refusal(expected, &strangers));
        }
        adapter.read_header()?;
        Ok(adapter)
    }

    /// Takes the factors that newer diffusers writes into the header instead of tensors.
    fn read_header(&mut self) -> Result<()> {
        let Some(text) = self.weights.metadata("lora_adapter_metadata") else { return Ok(()) };
        let header: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| Error::Json { file: self.weights.part().to_owned(), source })?;
        for (module, pair) in &mut self.modules {
            let value = |key: &str| header.get(&format!("{}.{key}", module.part));
            let own = value("alpha_pattern").and_then(Value::as_object).and_then(|patterns| {
                let fits = |pattern: &str| {
                    let pattern = pattern.replace('.', "_");
                    module.name == pattern || module.name.ends_with(&format!("_{pattern}"))
                };
                patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, alpha)| alpha)
            });
            if let Some(alpha) = own.or_else(|| value("lora_alpha")).and_then(Value::as_f64) {
                let rooted = value("use_rslora").and_then(Value::as_bool).unwrap_or(false);
                pair.alpha.get_or_insert(Alpha::Stated { alpha: alpha as f32, rooted });
            }
        }
        Ok(())
    }

    fn refusal(&self, expected: &str, found: &[String]) -> Error {
        /// Enough to recognise what the file is.
        const NAMED: usize = 8;
        let named = found[..found.len().min(NAMED)].join(", ");
        let more = found.len().saturating_sub(NAMED);
        let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
        let reason = format!("expected {expected}, found {named}{tail}");
        Error::Lora { file: self.weights.part().to_owned(), reason }
    }
}

impl Change for Delta {
    fn apply(&self, name: &str, shape: &[usize], values: &mut Vec<f32>) -> Result<()> {
        let Adapter { weights, modules, weight } = &*self.adapter;
        let refused = |reason: String| Error::Lora { file: weights.part().to_owned(), reason };
        let pair = &modules[&self.module];
        let (Some(down), Some(up)) = (&pair.down, &pair.up) else {
            return Err(refused(format!(
                "expected a down and an up matrix for {}, found one of them",
                self.module.name
            )));
        };
        let side = |tensor: &String| {
            let shape = weights.shape(tensor).unwrap_or_default();
            let (rows, columns) = shape.split_first().unwrap_or((&0, &[]));
            (*rows, columns.iter().product::<usize>())
        };
        let (outputs, inputs) = (shape[0], shape[1..].iter().product::<usize>());
        let (rank, found) = (side(down).0, [side(down), side(up)]);
        let expected = [(rank, inputs), (outputs, rank)];
        if found != expected || rank == 0 {
            let found = [down, up].map(|tensor| weights.shape(tensor).unwrap_or_default().to_vec());
            return Err(refused(format!(
                "{down} and its counterpart have the shapes {found:?}, which do not make {name} {shape:?}"
            )));
        }
        let factor = match &pair.alpha {
            None => 1.0,
            Some(Alpha::Stored(tensor)) => {
                weights.numbers(tensor)?.first().copied().unwrap_or(0.0) / rank as f32
            }
            Some(Alpha::Stated { alpha, rooted: false }) => alpha / rank as f32,
            Some(Alpha::Stated { alpha, rooted: true }) => alpha / (rank as f32).sqrt(),
        };
        let mut up = weights.numbers(up)?;
        up.iter_mut().for_each(|value| *value *= weight * factor);
        let down = weights.numbers(down)?;
        let columns: Vec<f32> =
            (0..inputs).flat_map(|column| down.iter().skip(column).step_by(inputs).copied()).collect();
        let mut merged = vec![0.0; values.len()];
        let epilogue = Epilogue { residual: Some(values.as_slice()), ..Epilogue::default() };
        PackedMatrix::pack(&columns, None, inputs, rank, Dtype::F32)
            .and_then(|down| gemm(&up, &down, &epilogue, &mut merged))
            .map_err(|error| refused(error.to_string()))?;
        *values = merged;
        Ok(())
    }
}

/// What a tensor of an adapter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Down,
    Up,
    Alpha,
}

/// The module and the role that a tensor's name stands for.
fn parse(name: &str) -> Option<(Module, Role)> {
    const ENDINGS: [(&str, Role); 9] = [
        (".lora_down.weight", Role::Down),
        (".lora_up.weight", Role::Up),
        (".lora_A.weight", Role::Down),
        (".lora_B.weight", Role::Up),
        (".lora_linear_layer.down.weight", Role::Down),
        (".lora_linear_layer.up.weight", Role::Up),
        ("lora.down.weight", Role::Down),
        ("lora.up.weight", Role::Up),
        (".alpha", Role::Alpha),
    ];
    const PREFIXES: [(&str, &str); 8] = [
        ("lora_unet_", PARTS[0]),
        ("lora_te_", PARTS[1]),
        ("lora_te1_", PARTS[1]),
        ("lora_te2_", PARTS[2]),
        ("unet.", PARTS[0]),
        ("text_encoder.", PARTS[1]),
        ("text_encoder_2.", PARTS[2]),
        ("base_model.model.", PARTS[0]),
    ];
    let (module, role) = ENDINGS.iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, *role)))?;
    let prefixed = PREFIXES.iter().find_map(|(start, part)| Some((module.strip_prefix(start)?, *part)));
    // AnimateDiff's own program trains motion modules alone and names no part.
    let bare = || Some((module.strip_prefix("module.").unwrap_or(module), PARTS[0]));
    let (module, part) = prefixed.or_else(|| bare().filter(|_| module.contains(".motion_modules.")))?;
    // Older diffusers writes `attn1.processor.to_q_lora.down` or `to_q.lora.down`, and leaves a separator behind.
    let module = module.trim_end_matches(['.', '_']).replace(".processor.", ".").replace('.', "_");
    let module = module.strip_prefix("text_model_").unwrap_or(&module).to_owned();
    Some((Module { part, name: module }, role))
}

/// The names that adapters use for a module of a text encoder.
pub fn text_spellings(module: &str) -> Vec<String> {
    let older = [(".q_proj", ".to_q"), (".k_proj", ".to_k"), (".v_proj", ".to_v"), (".out_proj", ".to_out")];
    let older = older.iter().filter_map(|(new, old)| Some(format!("{}{old}", module.strip_suffix(new)?)));
    older.chain([module.to_owned()]).collect()
}

/// The names that adapters use for a module of a denoiser with `layers` residual blocks a level.
pub fn unet_spellings(module: &str, layers: usize) -> Vec<String> {
    let older = module.strip_suffix(".to_out.0").map(|attention| format!("{attention}.to_out"));
    let names = older.into_iter().chain(original_names(module, layers)).chain([module.to_owned()]);
    names.flat_map(|name| animatediff_name(&name).into_iter().chain([name])).collect()
}

/// What AnimateDiff's own program calls a module inside its motion modules.
fn animatediff_name(module: &str) -> Option<String> {
    let (level, rest) = module.split_once(".motion_modules.")?;
    let (at, inner) = rest.split_once('.')?;
    let inner = inner.replace(".attn1.", ".attention_blocks.0.").replace(".attn2.", ".attention_blocks.1.");
    Some(format!("{level}.motion_modules.{at}.temporal_transformer.{inner}"))
}

/// What the original program of Stable Diffusion calls a module: there, the blocks of all levels are one list.
fn original_names(module: &str, layers: usize) -> Vec<String> {
    let parts: Vec<&str> = module.split('.').collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    // A level has its layers and one step between levels.
    let place = |level: &str, layer: &str| number(level) * (layers + 1) + number(layer);
    let resnet = |layer: &[&str]| match layer {
        ["conv1"] => "in_layers.2",
        ["conv2"] => "out_layers.3",
        ["time_emb_proj"] => "emb_layers.1",
        ["conv_shortcut"] => "skip_connection",
        _ => "",
    };
    match &parts[..] {
        ["conv_in"] => vec!["input_blocks.0.0".into()],
        ["conv_out"] => vec!["out.2".into()],
        ["time_embedding", "linear_1"] => vec!["time_embed.0".into()],
        ["time_embedding", "linear_2"] => vec!["time_embed.2".into()],
        ["add_embedding", "linear_1"] => vec!["label_emb.0.0".into()],
        ["add_embedding", "linear_2"] => vec!["label_emb.0.2".into()],
        ["down_blocks", level, "resnets", layer, rest @ ..] => {
            vec![format!("input_blocks.{}.0.{}", place(level, layer) + 1, resnet(rest))]
        }
        ["down_blocks", level, "attentions", layer, rest @ ..] => {
            vec![format!("input_blocks.{}.1.{}", place(level, layer) + 1, rest.join("."))]
        }
        ["down_blocks", level, "downsamplers", "0", "conv"] => {
            vec![format!("input_blocks.{}.0.op", place(level, "0") + layers + 1)]
        }
        ["mid_block", "resnets", layer, rest @ ..] => {
            vec![format!("middle_block.{}.{}", 2 * number(layer), resnet(rest))]
        }
        ["mid_block", "attentions", "0", rest @ ..] => vec![format!("middle_block.1.{}", rest.join("."))],
        ["up_blocks", level, "resnets", layer, rest @ ..] => {
            vec![format!("output_blocks.{}.0.{}", place(level, layer), resnet(rest))]
        }
        ["up_blocks", level, "attentions", layer, rest @ ..] => {
            vec![format!("output_blocks.{}.1.{}", place(level, layer), rest.join("."))]
        }
        // It comes after the attention where the level has one.
        ["up_blocks", level, "upsamplers", "0", "conv"] => {
            let at = place(level, "0") + layers;
            vec![format!("output_blocks.{at}.1.conv"), format!("output_blocks.{at}.2.conv")]
        }
        _ => Vec::new(),
    }
}

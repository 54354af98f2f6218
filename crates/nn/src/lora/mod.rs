//! Adapters, merged into the weights of a part while it loads, so that generating costs nothing more.
//!
//! `W + weight (alpha / rank) up down` for low-rank adapters, and what LyCORIS and PEFT make of their other kinds (the module
//! `change`). Files name their modules in many ways (the module `names`): kohya's, with underscores for dots (and for SDXL
//! after the blocks of the original program); PEFT's, `lora_A` and `lora_B`; and those of older diffusers.

mod change;
mod config;
mod matrix;
mod names;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;

use self::change::{Delta, Of, Tensors};
use self::config::Factors;
use self::names::{PARTS, Role, parse};
pub use self::names::{text_spellings, unet_spellings};
use crate::device::{DeviceChoice, DtypeChoice, Placement};
use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::weights::{Changes, Weights};

/// What trainers call the file in a folder or on the hub.
const USUAL_NAMES: [&str; 5] = [
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "pytorch_lora_weights.bin",
    "adapter_model.bin",
    // Those of AnimateDiff's motions.
    "diffusion_pytorch_model.safetensors",
];
/// The config that PEFT writes beside its file.
const CONFIG: &str = "adapter_config.json";
/// The note in the header by which newer diffusers keeps PEFT's config.
const HEADER: &str = "lora_adapter_metadata";

/// An adapter as the user names it: `FILE` or `FILE=WEIGHT`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSource {
    /// A file, or a folder or id on the hub that has one.
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

/// One file with changes of some modules.
#[derive(Debug)]
struct Adapter {
    weights: Weights,
    modules: BTreeMap<Module, Tensors>,
    factors: Vec<Factors>,
    weight: f32,
    /// The modules that a part has taken, and which.
    taken: RefCell<BTreeMap<Module, &'static str>>,
}

/// A module of the model: its part, where the file tells it, and its name with underscores for dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Module {
    part: Option<&'static str>,
    name: String,
}

impl Adapters {
    /// Opens the files; their tensors are read when the parts load that they change.
    ///
    /// # Errors
    /// Where a file is absent or damaged, or holds anything but changes of `parts`.
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
    /// Where an adapter changes a module of this part that is not there.
    pub fn changes(
        &self,
        part: &'static str,
        weights: &Weights,
        spellings: impl Fn(&str) -> Vec<String>,
    ) -> Result<Changes> {
        let mut known = HashMap::new();
        if !self.0.is_empty() {
            for module in weights.names().filter_map(|tensor| tensor.strip_suffix(".weight")) {
                known.extend(spellings(module).into_iter().map(|name| (name.replace('.', "_"), module)));
            }
        }
        let mut changes = Changes::new();
        for adapter in &self.0 {
            let mut strangers = Vec::new();
            for (module, tensors) in &adapter.modules {
                // Where the file does not tell the part, the first that has the module takes it.
                let is_others = match module.part {
                    Some(own) => own != part,
                    None => adapter.taken.borrow().get(module).is_some_and(|taker| *taker != part),
                };
                if is_others {
                    continue;
                }
                let found = known.get(&module.name).copied();
                let Some(name) =
                    found.filter(|name| module.part.is_some() || adapter.fits(tensors, name, weights))
                else {
                    if module.part.is_some() {
                        strangers.extend(tensors.values().next().cloned());
                    }
                    continue;
                };
                adapter.taken.borrow_mut().insert(module.clone(), part);
                let mut add = |of, kind: &str| {
                    let names = if part == PARTS[0] {
                        vec![name.to_owned()]
                    } else {
                        vec![format!("text_model.{name}"), name.to_owned()]
                    };
                    let delta =
                        Delta { adapter: Rc::clone(adapter), tensors: tensors.clone(), names, part, of };
                    changes.entry(format!("{name}.{kind}")).or_default().push(Box::new(delta));
                };
                let bias = [Role::BiasDiff, Role::UpBias].iter().find_map(|role| tensors.get(role));
                if let Some(bias) = bias {
                    if weights.shape(&format!("{name}.bias")).is_none() {
                        return Err(adapter.refusal("a module with a bias", std::slice::from_ref(bias)));
                    }
                    add(Of::Bias, "bias");
                }
                if tensors.keys().any(|role| !matches!(role, Role::BiasDiff | Role::UpBias | Role::Alpha)) {
                    add(Of::Weight, "weight");
                }
            }
            if !strangers.is_empty() {
                return Err(adapter.refusal(&format!("modules of this model's {part}"), &strangers));
            }
        }
        Ok(changes)
    }

    /// Checks, when all parts have taken what is theirs, that nothing is left over.
    ///
    /// # Errors
    /// The names of tensors that belong to no part.
    pub fn finish(&self) -> Result<()> {
        for adapter in &self.0 {
            let taken = adapter.taken.borrow();
            let left = adapter.modules.iter().filter(|(module, _)| !taken.contains_key(module));
            let strangers: Vec<String> =
                left.filter_map(|(_, tensors)| tensors.values().next().cloned()).collect();
            if !strangers.is_empty() {
                return Err(adapter.refusal("modules of this model", &strangers));
            }
        }
        Ok(())
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
            let name = file_in(&files)?;
            (files, name)
        };
        // Merging is done in f32 on the host, wherever the model runs.
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32)?;
        let weights = Weights::open_file(&files, &name, &placement)?;
        let mut adapter = Self {
            weights,
            modules: BTreeMap::new(),
            factors: Vec::new(),
            weight: source.weight,
            taken: RefCell::default(),
        };
        let mut strangers = Vec::new();
        let names: Vec<String> = adapter.weights.names().map(str::to_owned).collect();
        for name in names {
            let is_there =
                |module: &Module| module.part.is_none_or(|own| parts.iter().any(|part| part == own));
            match parse(&name).filter(|(module, _)| is_there(module)) {
                Some((module, role)) => drop(adapter.modules.entry(module).or_default().insert(role, name)),
                None => strangers.push(name),
            }
        }
        if !strangers.is_empty() {
            let expected = "changes of a UNet or its text encoders (LoRA, LoHa, LoKr, diff or DoRA); other kinds are not \
                            implemented";
            return Err(adapter.refusal(expected, &strangers));
        }
        if let Some(header) = adapter.weights.metadata(HEADER) {
            adapter.factors = Factors::read(adapter.weights.part(), header.as_bytes())?;
        } else if name.starts_with("adapter_model.") && files.contains(CONFIG) {
            adapter.factors = Factors::read(&files.display(CONFIG), &files.read(CONFIG)?)?;
        }
        Ok(adapter)
    }

    /// Whether a module whose part the file does not tell may be this one: two text encoders have modules of the same names.
    fn fits(&self, tensors: &Tensors, name: &str, weights: &Weights) -> bool {
        let Some(shape) = weights.shape(&format!("{name}.weight")) else { return false };
        let side = |role: Role| tensors.get(&role).and_then(|tensor| self.weights.shape(tensor));
        let up = side(Role::Up).or_else(|| side(Role::HadaW1A)).and_then(<[usize]>::first);
        let down = side(Role::Down).map(|shape| shape.iter().skip(1).product::<usize>());
        let is_windowed = tensors.contains_key(&Role::Mid) || tensors.contains_key(&Role::HadaT1);
        is_windowed
            || (up.is_none_or(|rows| Some(rows) == shape.first())
                && down.is_none_or(|columns| columns == shape.iter().skip(1).product::<usize>()))
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

/// The file of weights in a folder: one of the usual names, or else the only one.
fn file_in(files: &ModelFiles) -> Result<String> {
    /// What trainers save beside it, as in diffusers.
    const OTHERS: [&str; 3] = ["scheduler", "optimizer", "checkpoint"];
    if let Some(name) = USUAL_NAMES.iter().find(|name| files.contains(name)) {
        return Ok((*name).to_owned());
    }
    let all = files.names_in("");
    for ending in [".safetensors", ".bin"] {
        let is_one =
            |name: &&String| name.ends_with(ending) && !OTHERS.iter().any(|other| name.contains(other));
        let found: Vec<&String> = all.iter().filter(is_one).collect();
        match &found[..] {
            [] => {}
            [only] => return Ok((*only).clone()),
            several => {
                let several: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                return Err(Error::Lora {
                    file: files.name().to_owned(),
                    reason: format!("expected one file, found {}; give --lora the file", several.join(", ")),
                });
            }
        }
    }
    Err(Error::MissingFile { model: files.name().to_owned(), expected: USUAL_NAMES[0].to_owned() })
}

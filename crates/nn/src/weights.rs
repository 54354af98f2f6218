//! The weights of one part of a model: found under any of their published names, checked, converted on the way in.
//!
//! Format: <https://huggingface.co/docs/safetensors>, eight bytes of header length, a JSON header, raw tensors; or what
//! `torch.save` writes, read by the module `torch_file`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::device::Placement;
use crate::error::{Error, Result, WeightMismatch};
use crate::files::{ModelFiles, in_folder};
use crate::open_file::OpenFile;
use crate::torch_file::{self, TorchTensor};

/// How the names of safetensors files end; every other file is taken for PyTorch's own format.
const SAFETENSORS: &str = ".safetensors";

/// The tensors of one part (`unet`, `vae`, ...), mapped one at a time so that memory never holds the part twice.
///
/// Layers ask for tensors by name and shape while they build themselves; whatever is missing is noted and stands as
/// an absent tensor until [`Weights::finish`] reports all of it in one error.
#[derive(Debug)]
pub struct Weights {
    part: String,
    files: Vec<RefCell<OpenFile>>,
    tensors: BTreeMap<String, Stored>,
    metadata: HashMap<String, String>,
    changes: Changes,
    asked: RefCell<BTreeSet<String>>,
    mismatch: RefCell<WeightMismatch>,
    failure: RefCell<Option<Error>>,
    pub(crate) placement: Placement,
}

/// A change that is made to a tensor while it loads.
pub trait Change: fmt::Debug {
    /// Changes `values`, the tensor `name` of `shape` in memory order.
    ///
    /// # Errors
    /// Where the change does not fit the tensor.
    fn apply(&self, name: &str, shape: &[usize], values: &mut Vec<f32>) -> Result<()>;
}

/// Changes by the name of the tensor, in the order in which they are made.
pub type Changes = HashMap<String, Vec<Box<dyn Change>>>;

#[derive(Clone, Debug)]
struct Stored {
    file: usize,
    start: u64,
    length: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Weights {
    /// Opens the weights `<folder>/<stem>.safetensors`, its `.fp16.` variant or its shards, or else the same of
    /// PyTorch's own format; `folder` is empty for weights at the top of the model.
    ///
    /// # Errors
    /// Where none of the names is there, or a file is damaged.
    pub fn open(model: &ModelFiles, folder: &str, stem: &str, placement: &Placement) -> Result<Self> {
        let part = if folder.is_empty() { model.name().to_owned() } else { model.display(folder) };
        Self::of_files(model, part, &weight_files(model, folder, stem)?, placement)
    }

    /// Opens one file of weights by its path inside the model.
    ///
    /// # Errors
    /// Where the file is absent or damaged.
    pub fn open_file(model: &ModelFiles, path: &str, placement: &Placement) -> Result<Self> {
        Self::of_files(model, model.display(path), &[path.to_owned()], placement)
    }

    fn of_files(model: &ModelFiles, part: String, paths: &[String], placement: &Placement) -> Result<Self> {
        let mut weights = Self {
            part,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: HashMap::new(),
            changes: Changes::new(),
            asked: RefCell::default(),
            mismatch: RefCell::default(),
            failure: RefCell::default(),
            placement: placement.clone(),
        };
        for path in paths {
            let file = model.open(path)?;
            if path.ends_with(SAFETENSORS) {
                weights.add_file(file)?
            } else {
                weights.add_torch_file(file)?
            };
        }
        Ok(weights)
    }

    /// Renames every tensor, to read older or newer spellings of the same names.
    pub fn rename(&mut self, rename: impl Fn(&str) -> String) {
        self.tensors = std::mem::take(&mut self.tensors)
            .into_iter()
            .map(|(name, stored)| (rename(&name), stored))
            .collect();
    }

    /// Adds the tensors of `other`, which take the place of those of the same name.
    pub fn extend(&mut self, other: Self) {
        let first = self.files.len();
        self.files.extend(other.files);
        let moved = |(name, stored): (String, Stored)| (name, Stored { file: first + stored.file, ..stored });
        self.tensors.extend(other.tensors.into_iter().map(moved));
    }

    /// Makes these changes to the tensors while they load.
    pub fn change(&mut self, changes: Changes) {
        self.changes = changes;
    }

    /// What messages call these weights.
    pub(crate) fn part(&self) -> &str {
        &self.part
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A note in a file's header.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The numbers of a tensor that is known to be there, as f32 in memory order.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        self.tensors.get(name).map_or(Ok(Vec::new()), |stored| self.read(name, stored))
    }

    /// The place where the layers of this part look for their tensors.
    pub fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// The shape of a tensor, where it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// How many numbers the files hold.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|stored| stored.shape.iter().product::<usize>()).sum()
    }

    /// About how many numbers the CPU holds for the tensors that do not begin with one of these prefixes: most windows
    /// of 3x3 are transformed. The few that halve a picture or have two inputs are not, and count as if they were.
    pub fn packed_without(&self, prefixes: &[&str]) -> usize {
        let counted = |name: &str| !prefixes.iter().any(|prefix| name.starts_with(prefix));
        let packed = |shape: &[usize]| match shape {
            [out, inner, 3, 3] => noisefind_kernels::packed_window_len(*out, *inner),
            shape => shape.iter().product(),
        };
        let tensors = self.tensors.iter().filter(|(name, _)| counted(name));
        tensors.map(|(_, stored)| packed(&stored.shape)).sum()
    }

    /// The number formats in the files, each once.
    pub fn stored_dtypes(&self) -> Vec<String> {
        let names: BTreeSet<String> =
            self.tensors.values().map(|stored| format!("{:?}", stored.dtype)).collect();
        names.into_iter().collect()
    }

    /// SHA-256 of each file, in hexadecimal, with the file's name.
    ///
    /// # Errors
    /// Where a file cannot be read to its end.
    pub fn sha256(&self) -> Result<Vec<(String, String)>> {
        const PIECE: u64 = 1 << 22;
        let mut hashes = Vec::new();
        for file in &self.files {
            let mut file = file.borrow_mut();
            let mut hasher = Sha256::new();
            for start in (0..file.length).step_by(PIECE as usize) {
                let length = PIECE.min(file.length - start) as usize;
                hasher.update(file.read_at(start, length)?);
            }
            hashes.push((file.name.clone(), format!("{:x}", hasher.finalize())));
        }
        Ok(hashes)
    }

    /// Ends the loading: all tensors that were asked for were there, and no other is left over.
    ///
    /// `ignorable` are prefixes of names that other programs store and that this part does not use.
    ///
    /// # Errors
    /// The names that are missing, left over or of the wrong shape; or the first tensor that could not be read.
    pub fn finish(self, ignorable: &[&str]) -> Result<()> {
        if let Some(failure) = self.failure.into_inner() {
            return Err(failure);
        }
        let asked = self.asked.into_inner();
        let mut mismatch = self.mismatch.into_inner();
        let unused = self.tensors.into_keys().filter(|name| !asked.contains(name));
        mismatch.extra =
            unused.filter(|name| !ignorable.iter().any(|prefix| name.starts_with(prefix))).collect();
        if mismatch.is_empty() { Ok(()) } else { Err(Error::Weights { part: self.part, mismatch }) }
    }

    fn add_file(&mut self, mut file: OpenFile) -> Result<()> {
        let (data_start, metadata) = read_header(&mut file)?;
        let at = self.files.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                file: at,
                start: data_start + start as u64,
                length: end - start,
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            self.tensors.insert(name, stored);
        }
        self.metadata.extend(metadata.metadata().clone().unwrap_or_default());
        self.files.push(RefCell::new(file));
        Ok(())
    }

    fn add_torch_file(&mut self, mut file: OpenFile) -> Result<()> {
        let at = self.files.len();
        for tensor in torch_file::tensors(&mut file)? {
            let TorchTensor { name, start, length, dtype, shape } = tensor;
            self.tensors.insert(name, Stored { file: at, start, length, dtype, shape });
        }
        self.files.push(RefCell::new(file));
        Ok(())
    }

    /// The tensor's numbers as f32 in memory order, or an absent tensor together with a note of why.
    fn tensor(&self, name: String, shapes: &[&[usize]]) -> Option<Vec<f32>> {
        let Some(stored) = self.tensors.get(&name) else {
            self.mismatch.borrow_mut().missing.push(name);
            return None;
        };
        self.asked.borrow_mut().insert(name.clone());
        if !shapes.contains(&stored.shape.as_slice()) {
            let expected = shapes.first().map_or_else(Vec::new, |shape| shape.to_vec());
            self.mismatch.borrow_mut().wrong_shape.push((name, expected, stored.shape.clone()));
            return None;
        }
        let adapted = |mut values| {
            let mut changes = self.changes.get(&name).into_iter().flatten();
            changes.try_for_each(|change| change.apply(&name, &stored.shape, &mut values))?;
            Ok(values)
        };
        match self.read(&name, stored).and_then(adapted) {
            Ok(_) if self.placement.only_checks() => None,
            Ok(values) => Some(values),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn read(&self, name: &str, stored: &Stored) -> Result<Vec<f32>> {
        let file = self.files[stored.file].borrow();
        let bytes = file.map_at(stored.start, stored.length)?;
        let values: Vec<f32> = match stored.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            other => {
                return Err(Error::WeightFormat {
                    file: file.name.clone(),
                    tensor: name.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(Error::NotFinite {
                file: file.name.clone(),
                tensor: name.to_owned(),
                index,
                value: values[index],
            }),
        }
    }
}

/// A place in the tree of tensor names: `down_blocks.0.resnets.1`.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl Scope<'_> {
    /// The place `name` below this one.
    pub fn at(&self, name: impl fmt::Display) -> Self {
        Self { weights: self.weights, prefix: self.full_name(name) }
    }

    /// Whether the tensor `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.tensors.contains_key(&self.full_name(name))
    }

    /// The shape of the tensor `name`, where it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(&self.full_name(name))
    }

    /// The numbers of the tensor `name`, which must have this shape; absent with a note to [`Weights::finish`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        self.weights.tensor(self.full_name(name), &[shape])
    }

    /// As [`Scope::tensor`], for a tensor that is stored under any of several shapes of the same numbers.
    pub fn tensor_of_any(&self, name: &str, shapes: &[&[usize]]) -> Option<Vec<f32>> {
        self.weights.tensor(self.full_name(name), shapes)
    }

    /// Where the loaded layers will run.
    pub fn placement(&self) -> &Placement {
        &self.weights.placement
    }

    fn full_name(&self, name: impl fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

/// The header of a safetensors file and where its data begin.
fn read_header(file: &mut OpenFile) -> Result<(u64, Metadata)> {
    const LENGTH_BYTES: u64 = 8;
    let not_safetensors =
        |file: &OpenFile, reason: String| Error::NotSafetensors { file: file.name.clone(), reason };
    if file.length < LENGTH_BYTES {
        return Err(not_safetensors(file, format!("expected a header, found {} bytes in all", file.length)));
    }
    let first = file.read_at(0, LENGTH_BYTES as usize)?;
    let header_length = u64::from_le_bytes(first.as_ref().try_into().unwrap_or([0xff; 8]));
    let room = file.length - LENGTH_BYTES;
    if header_length > room {
        let reason = format!("expected a header length of at most {room}, found {header_length}");
        return Err(not_safetensors(file, reason));
    }
    let header = file.read_at(LENGTH_BYTES, header_length as usize)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| not_safetensors(file, format!("its header is not valid: {error}")))?;
    let data_start = LENGTH_BYTES + header_length;
    let expected = data_start + metadata.data_len() as u64;
    if expected != file.length {
        return Err(Error::WrongLength { file: file.name.clone(), expected, found: file.length });
    }
    Ok((data_start, metadata))
}

/// The table of a sharded part: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The files that hold a part's weights: the plain name first, then the half-precision variant, then shards; each in
/// safetensors first, then in PyTorch's own format.
fn weight_files(model: &ModelFiles, folder: &str, stem: &str) -> Result<Vec<String>> {
    let inside = |name: &str| in_folder(folder, name);
    // transformers calls its safetensors `model` and its PyTorch files `pytorch_model`.
    let torch_stem = if stem == "model" { "pytorch_model" } else { stem };
    for (stem, extension) in [(stem, "safetensors"), (torch_stem, "bin")] {
        let single = [format!("{stem}.{extension}"), format!("{stem}.fp16.{extension}")];
        if let Some(name) = single.iter().find(|name| model.contains(&inside(name))) {
            return Ok(vec![inside(name)]);
        }
        let indices = [
            format!("{stem}.{extension}.index.json"),
            format!("{stem}.{extension}.index.fp16.json"),
            format!("{stem}.fp16.{extension}.index.json"),
            format!("{stem}.{extension}.fp16.index.json"),
        ];
        if let Some(name) = indices.iter().find(|name| model.contains(&inside(name))) {
            return Ok(shards(model, &inside(name))?.iter().map(|shard| inside(shard)).collect());
        }
    }
    Err(Error::MissingFile {
        model: model.name().to_owned(),
        expected: inside(&format!("{stem}.safetensors")),
    })
}

/// The files that an index names, which must lie beside it.
fn shards(model: &ModelFiles, index: &str) -> Result<BTreeSet<String>> {
    let table: ShardIndex = model.read_json(index)?;
    let shards: BTreeSet<String> = table.weight_map.into_values().collect();
    match shards.iter().find(|shard| shard.contains(['/', '\\']) || shard.starts_with("..")) {
        None => Ok(shards),
        Some(outside) => Err(Error::NotSafetensors {
            file: model.display(index),
            reason: format!("expected file names beside it, found {outside}"),
        }),
    }
}

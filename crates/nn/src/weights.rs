//! The weights of one part of a model: found under any of their published names, checked, converted on the way in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use sha2::{Digest, Sha256};

use crate::device::Placement;
use crate::error::{Error, Result, WeightMismatch};
use crate::files::ModelFiles;
use crate::open_file::OpenFile;
use crate::weight_file::{Stored, WeightFile};
use crate::weight_names;

/// The tensors of one part (`unet`, `vae`, ...), mapped one at a time so that memory never holds the part twice.
///
/// Layers ask for tensors by name and shape while they build themselves; whatever is missing is noted and stands as
/// an absent tensor until [`Weights::finish`] reports all of it in one error.
#[derive(Debug)]
pub struct Weights {
    part: String,
    /// What messages call the config that the weights have to fit.
    config: String,
    files: Vec<RefCell<OpenFile>>,
    /// The file and the place in it of each tensor.
    tensors: BTreeMap<String, (usize, Stored)>,
    metadata: HashMap<String, String>,
    changes: Changes,
    asked: RefCell<BTreeSet<String>>,
    mismatch: RefCell<WeightMismatch>,
    failure: RefCell<Option<Error>>,
    pub(crate) placement: Placement,
}

/// A change that is made to a tensor while it loads.
pub trait Change: fmt::Debug {
    /// Changes `values`, the tensor `name` of `shape` in memory order, which earlier changes made of `base`.
    ///
    /// # Errors
    /// Where the change does not fit the tensor.
    fn apply(&self, name: &str, shape: &[usize], base: &[f32], values: &mut Vec<f32>) -> Result<()>;
}

/// Changes by the name of the tensor, in the order in which they are made.
pub type Changes = HashMap<String, Vec<Box<dyn Change>>>;

impl Weights {
    /// Opens the weights `<folder>/<stem>.safetensors` or their shards, or else the same of PyTorch's own format, or else
    /// the best of their variants; `folder` is empty for weights at the top of the model.
    ///
    /// # Errors
    /// Where none of the names is there, or a file is damaged.
    pub fn open(model: &ModelFiles, folder: &str, stem: &str, placement: &Placement) -> Result<Self> {
        let part = if folder.is_empty() { model.name().to_owned() } else { model.display(folder) };
        if let Some((repacked, pieces)) = model.repacked(folder) {
            let file = WeightFile::of(repacked.open()?)?;
            let mut weights = Self::empty(part, repacked.configs_of.clone(), placement);
            for (name, piece) in pieces {
                if let Some(stored) = file.piece(piece) {
                    weights.tensors.insert(name.clone(), (0, stored));
                }
            }
            weights.files.push(RefCell::new(file.file));
            return Ok(weights);
        }
        Self::of_files(model, part, &weight_names::find(model, folder, stem)?.files, placement)
    }

    /// Opens one file of weights by its path inside the model.
    ///
    /// # Errors
    /// Where the file is absent or damaged.
    pub fn open_file(model: &ModelFiles, path: &str, placement: &Placement) -> Result<Self> {
        Self::of_files(model, model.display(path), &[path.to_owned()], placement)
    }

    fn of_files(model: &ModelFiles, part: String, paths: &[String], placement: &Placement) -> Result<Self> {
        let mut weights = Self::empty(part, "its config.json".to_owned(), placement);
        for path in paths {
            let WeightFile { file, tensors, metadata } = WeightFile::of(model.open(path)?)?;
            let at = weights.files.len();
            weights.tensors.extend(tensors.into_iter().map(|(name, stored)| (name, (at, stored))));
            weights.metadata.extend(metadata);
            weights.files.push(RefCell::new(file));
        }
        Ok(weights)
    }

    fn empty(part: String, config: String, placement: &Placement) -> Self {
        Self {
            part,
            config,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: HashMap::new(),
            changes: Changes::new(),
            asked: RefCell::default(),
            mismatch: RefCell::default(),
            failure: RefCell::default(),
            placement: placement.clone(),
        }
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
        let moved = |(name, (file, stored)): (String, (usize, Stored))| (name, (first + file, stored));
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
        self.tensors.get(name).map_or(Ok(Vec::new()), |(file, stored)| self.read(name, *file, stored))
    }

    /// The place where the layers of this part look for their tensors.
    pub fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// The shape of a tensor, where it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, stored)| stored.shape.as_slice())
    }

    /// How many numbers the files hold.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|(_, stored)| stored.shape.iter().product::<usize>()).sum()
    }

    /// About how many numbers the CPU holds for the tensors that do not begin with one of these prefixes: most windows
    /// of 3x3 are transformed. The few that halve an image or have two inputs are not, and count as if they were.
    pub fn packed_without(&self, prefixes: &[&str]) -> usize {
        let counted = |name: &str| !prefixes.iter().any(|prefix| name.starts_with(prefix));
        let packed = |shape: &[usize]| match shape {
            [out, inner, 3, 3] => noisefind_kernels::packed_window_len(*out, *inner),
            shape => shape.iter().product(),
        };
        let tensors = self.tensors.iter().filter(|(name, _)| counted(name));
        tensors.map(|(_, (_, stored))| packed(&stored.shape)).sum()
    }

    /// The number formats in the files, each once.
    pub fn stored_dtypes(&self) -> Vec<String> {
        let names: BTreeSet<String> =
            self.tensors.values().map(|(_, stored)| format!("{:?}", stored.dtype)).collect();
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
            hashes.push((
                file.name.clone(),
                hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            ));
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
        if mismatch.is_empty() {
            Ok(())
        } else {
            Err(Error::Weights { part: self.part, config: self.config, mismatch })
        }
    }

    /// The tensor's numbers as f32 in memory order, or an absent tensor together with a note of why.
    fn tensor(&self, name: String, shapes: &[&[usize]]) -> Option<Vec<f32>> {
        let Some((file, stored)) = self.tensors.get(&name) else {
            self.mismatch.borrow_mut().missing.push(name);
            return None;
        };
        self.asked.borrow_mut().insert(name.clone());
        if !shapes.contains(&stored.shape.as_slice()) {
            let expected = shapes.first().map_or_else(Vec::new, |shape| shape.to_vec());
            self.mismatch.borrow_mut().wrong_shape.push((name, expected, stored.shape.clone()));
            return None;
        }
        let adapted = |base: Vec<f32>| {
            let Some(changes) = self.changes.get(&name) else { return Ok(base) };
            let mut values = base.clone();
            changes.iter().try_for_each(|change| change.apply(&name, &stored.shape, &base, &mut values))?;
            Ok(values)
        };
        match self.read(&name, *file, stored).and_then(adapted) {
            Ok(_) if self.placement.only_checks() => None,
            Ok(values) => Some(values),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn read(&self, name: &str, file: usize, stored: &Stored) -> Result<Vec<f32>> {
        stored.read(&self.files[file].borrow(), name)
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

//! Weights as `torch.save` writes them (`.bin`, `.pt`, `.pth`, `.ckpt`): a zip archive with a pickle and raw tensors.
//!
//! Nothing in the file is executed: the pickle is read by a reader that knows tensors and containers and refuses
//! everything else by name. The tensors lie in the archive uncompressed, so they are read in place like those of a
//! safetensors file.

mod globals;
mod pickle;
mod zip;

use std::collections::{BTreeMap, HashMap};

use safetensors::Dtype;

use self::pickle::{Id, Pickle, Tensor, Value};
use self::zip::Entry;
use crate::error::{Error, Result};
use crate::open_file::OpenFile;

/// Keys under which training programs keep the weights beside other things.
const STATE_DICT_KEYS: [&str; 3] = ["state_dict", "model", "string_to_param"];
/// The largest table of tensors that is read; real ones have about 300 bytes a tensor.
const LARGEST_PICKLE: u64 = 1 << 24;
/// Instructions that any file may have.
const SMALLEST_ROOM: usize = 1 << 14;

/// One tensor and where its bytes lie in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TorchTensor {
    /// The key in the state dictionary; empty for a file that holds a single bare tensor.
    pub(crate) name: String,
    /// The first byte.
    pub(crate) start: u64,
    /// How many bytes.
    pub(crate) length: usize,
    /// The number format.
    pub(crate) dtype: Dtype,
    /// The dimensions, rows first.
    pub(crate) shape: Vec<usize>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The weights.
    pub(crate) tensors: Vec<TorchTensor>,
    /// Numbers and texts beside them, as texts.
    pub(crate) notes: HashMap<String, String>,
}

/// Whether the file begins as a zip archive does.
pub(crate) fn is_torch_file(file: &mut OpenFile) -> Result<bool> {
    const MARK: &[u8] = b"PK\x03\x04";
    Ok(file.length >= MARK.len() as u64 && *file.read_at(0, MARK.len())? == *MARK)
}

/// The tensors of a file that `torch.save` wrote.
///
/// # Errors
/// Where the file is of the older format, is a TorchScript program, calls anything, is damaged, or holds no tensors.
pub(crate) fn tensors(file: &mut OpenFile) -> Result<Contents> {
    if !is_torch_file(file)? {
        let advice = "it is no zip archive; if PyTorch can read it, convert it with `torch.save(torch.load(FILE), FILE)`";
        return Err(invalid(file, advice));
    }
    let entries = zip::entries(file)?;
    if entries.keys().any(|name| name.contains("/code/")) {
        return Err(invalid(file, "it is a TorchScript program; save its state_dict instead"));
    }
    let (prefix, table) = entries
        .iter()
        .find_map(|(name, entry)| Some((name.strip_suffix("data.pkl")?, *entry)))
        .ok_or_else(|| invalid(file, "it holds no data.pkl"))?;
    if let Some(order) = entries.get(&format!("{prefix}byteorder"))
        && *file.read_at(order.start, order.length.min(6) as usize)? != *b"little"
    {
        return Err(invalid(file, "its numbers are big-endian"));
    }
    if table.length > LARGEST_PICKLE {
        return Err(invalid(
            file,
            format!("its data.pkl has {} bytes, expected at most {LARGEST_PICKLE}", table.length),
        ));
    }
    let bytes = file.read_at(table.start, table.length as usize)?;
    // Real files have thousands of bytes an instruction, tiny ones a few dozen.
    let most_values = file.length as usize / 16 + SMALLEST_ROOM;
    let pickle = Pickle::read(&bytes, most_values).map_err(|reason| invalid(file, reason))?;
    let found = state_dict(&pickle);
    if found.is_empty() {
        return Err(invalid(file, "it holds no tensors at its top, under `state_dict` or under `model`"));
    }
    let located = found.into_iter().map(|(name, tensor)| locate(file, prefix, &entries, name, tensor));
    Ok(Contents { tensors: located.collect::<Result<_>>()?, notes: notes(&pickle) })
}

/// A file that is not what `torch.save` writes.
fn invalid(file: &OpenFile, reason: impl Into<String>) -> Error {
    Error::TorchFile { file: file.name.clone(), reason: reason.into() }
}

/// The tensors under one of the usual keys, or else at the top of the pickle.
fn state_dict(pickle: &Pickle) -> Vec<(String, Tensor)> {
    let mut entries = match pickle.root() {
        Value::Tensor(tensor) => return vec![(String::new(), (**tensor).clone())],
        Value::Dict(entries) => entries,
        _ => return Vec::new(),
    };
    // A pickle may refer to itself; real ones nest once.
    for _ in 0..4 {
        let under = |key: &&str| match pickle.entry(entries, key) {
            Some(Value::Dict(inner)) => Some(inner),
            _ => None,
        };
        match STATE_DICT_KEYS.iter().find_map(under) {
            Some(inner) => entries = inner,
            None => break,
        }
    }
    tensors_of(pickle, entries)
}

/// Numbers and texts at the top of the pickle.
fn notes(pickle: &Pickle) -> HashMap<String, String> {
    let Value::Dict(entries) = pickle.root() else { return HashMap::new() };
    let note = |&(name, value): &(Id, Id)| match (pickle.value(name), pickle.value(value)) {
        (Value::Text(name), Value::Text(text)) => Some((name.clone(), text.clone())),
        (Value::Text(name), Value::Int(number)) => Some((name.clone(), number.to_string())),
        _ => None,
    };
    entries.iter().filter_map(note).collect()
}

fn tensors_of(pickle: &Pickle, entries: &[(Id, Id)]) -> Vec<(String, Tensor)> {
    entries
        .iter()
        .filter_map(|&(name, value)| match (pickle.value(name), pickle.value(value)) {
            (Value::Text(name), Value::Tensor(tensor)) => Some((name.clone(), (**tensor).clone())),
            _ => None,
        })
        .collect()
}

fn locate(
    file: &OpenFile,
    prefix: &str,
    entries: &BTreeMap<String, Entry>,
    name: String,
    tensor: Tensor,
) -> Result<TorchTensor> {
    let shape = &tensor.shape;
    let storage = entries
        .get(&format!("{prefix}data/{}", tensor.key))
        .ok_or_else(|| invalid(file, format!("the data of its tensor {name} are absent")))?;
    if !is_contiguous(shape, &tensor.strides) {
        return Err(invalid(
            file,
            format!("its tensor {name} is a transposed or strided view; save a contiguous copy"),
        ));
    }
    let size = tensor.dtype.bitsize() as u64 / 8;
    let bytes = |count: u64| count.checked_mul(size);
    let count = shape.iter().try_fold(1u64, |count, &side| count.checked_mul(side as u64));
    let span = bytes(tensor.offset).zip(count.and_then(bytes));
    let (offset, length) = span
        .filter(|(offset, length)| offset.checked_add(*length).is_some_and(|end| end <= storage.length))
        .ok_or_else(|| {
            invalid(file, format!("its tensor {name} of shape {shape:?} is larger than its data"))
        })?;
    Ok(TorchTensor {
        name,
        start: storage.start + offset,
        length: length as usize,
        dtype: tensor.dtype,
        shape: tensor.shape,
    })
}

/// Whether the elements follow each other, last dimension first; strides of dimensions of 1 do not matter.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&side, &stride)| {
            let fits = side <= 1 || stride == expected;
            expected = expected.saturating_mul(side);
            fits
        })
}

#[cfg(test)]
mod tests;

//! Named numbers with one JSON text beside them, as a safetensors file (format 0.4, little endian).
//!
//! The metadata map has exactly one key, because a map of several has no fixed order in the file and the same
//! run must give the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::write_atomic;
use crate::error::{Error, Result};

/// The one metadata key.
const METADATA_KEY: &str = "noisefind";

/// Numbers and their shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of each dimension; empty for a single number.
    pub shape: Vec<usize>,
    /// As many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Tensor {
    /// A vector.
    pub fn vector(values: Vec<f32>) -> Self {
        Self { shape: vec![values.len()], values }
    }
}

/// The content of one file: tensors by name, and `M` as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFile<M> {
    /// f32 tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// What the numbers mean.
    pub metadata: M,
}

impl<M: Serialize + DeserializeOwned> TensorFile<M> {
    /// Writes the file whole or not at all; equal content gives equal bytes.
    ///
    /// # Errors
    /// Where a tensor's shape and number of values disagree, or the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let invalid = |reason: &dyn std::fmt::Display| Error::invalid(path, reason);
        let bytes = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                (name, tensor, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect::<Vec<(_, _, Vec<u8>)>>();
        let views = bytes
            .iter()
            .map(|(name, tensor, bytes)| {
                Ok((*name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?))
            })
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| invalid(&error))?;
        let metadata = serde_json::to_string(&self.metadata).map_err(|error| invalid(&error))?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        let file = serialize(views, Some(metadata)).map_err(|error| invalid(&error))?;
        write_atomic(path, &file)
    }

    /// Reads a file that [`Self::write`] made.
    ///
    /// # Errors
    /// Where the file cannot be read, is not safetensors, lacks our metadata, or holds anything but f32.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| no_safetensors(path, &bytes, &error))?;
        let json = header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY)).ok_or_else(|| {
            Error::invalid(
                path,
                format!("no metadata under the key {METADATA_KEY:?}, so noisefind did not write this file"),
            )
        })?;
        let metadata = serde_json::from_str(json).map_err(|_| {
            Error::invalid(path, "its metadata is damaged or of another version of noisefind")
        })?;
        Ok(Self { tensors: parse(path, &bytes)?, metadata })
    }
}

/// The f32 tensors of any safetensors file, ours or not.
///
/// # Errors
/// Where the file cannot be read, is not safetensors or holds anything but f32.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    parse(path, &std::fs::read(path).map_err(Error::io("read", path))?)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| no_safetensors(path, bytes, &error))?
        .iter()
        .map(|(name, view)| Ok((name.to_owned(), to_tensor(path, name, &view)?)))
        .collect()
}

fn no_safetensors(path: &Path, bytes: &[u8], error: &dyn std::fmt::Display) -> Error {
    let found = bytes.len();
    Error::invalid(path, format!("expected a safetensors file, found {found} bytes that are none ({error})"))
}

fn to_tensor(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    if view.dtype() != Dtype::F32 {
        return Err(Error::invalid(path, format!("tensor {name:?}: expected F32, found {:?}", view.dtype())));
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Tensor { shape: view.shape().to_vec(), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TensorFile<String> {
        let tensors = BTreeMap::from([
            ("b".to_owned(), Tensor { shape: vec![2, 1], values: vec![1.0, -2.5] }),
            ("a".to_owned(), Tensor { shape: vec![], values: vec![f32::MIN_POSITIVE] }),
            ("none".to_owned(), Tensor::vector(vec![])),
        ]);
        TensorFile { tensors, metadata: "what it means".to_owned() }
    }

    #[test]
    fn round_trip_is_exact_and_bytes_are_stable() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        example().write(&one).unwrap();
        example().write(&two).unwrap();
        assert_eq!(TensorFile::<String>::read(&one).unwrap(), example());
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }

    #[test]
    fn shape_must_match_values() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = example();
        file.tensors.insert("wrong".to_owned(), Tensor { shape: vec![3], values: vec![0.0] });
        assert!(file.write(&folder.path().join("x")).is_err());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn every_cut_and_a_text_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        example().write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(TensorFile::<String>::read(&path).is_err(), "cut at {length}");
        }
        std::fs::write(&path, "this is a text file, nothing else").unwrap();
        let message = TensorFile::<String>::read(&path).unwrap_err().to_string();
        assert!(message.contains("expected a safetensors file"), "{message}");
    }
}

//! One file of weights: which tensors it holds, and where.
//!
//! Format: <https://huggingface.co/docs/safetensors>, eight bytes of header length, a JSON header, raw tensors; or what
//! `torch.save` writes, read by the module `torch_file`. What a file is shows in its first bytes, since its name may say
//! anything.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result};
use crate::open_file::OpenFile;
use crate::torch_file::{self, Contents, TorchTensor};

/// One file of weights.
#[derive(Debug)]
pub struct WeightFile {
    pub(crate) file: OpenFile,
    pub(crate) tensors: BTreeMap<String, Stored>,
    pub(crate) metadata: HashMap<String, String>,
}

/// Where the numbers of a tensor lie, and how.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    start: u64,
    length: usize,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Whether the file holds the columns of `shape` one after the other.
    transposed: bool,
}

/// A tensor as a piece of a tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The name in the file.
    pub tensor: String,
    /// Which of its rows, where not all.
    pub rows: Option<Range<usize>>,
    /// Whether rows and columns are exchanged.
    pub transposed: bool,
    /// The shape, where the same numbers are to have another one.
    pub shape: Option<Vec<usize>>,
}

impl Piece {
    /// The whole tensor as it is.
    pub fn whole(tensor: impl Into<String>) -> Self {
        Self { tensor: tensor.into(), rows: None, transposed: false, shape: None }
    }
}

impl WeightFile {
    /// Opens a file of the user.
    ///
    /// # Errors
    /// Where it is absent, damaged, or neither safetensors nor what `torch.save` writes.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(OpenFile::on_disk(path.display().to_string(), path)?)
    }

    pub(crate) fn of(mut file: OpenFile) -> Result<Self> {
        let (tensors, metadata) = if is_safetensors(&mut file)? {
            safetensors_tensors(&mut file)?
        } else {
            torch_tensors(&mut file)?
        };
        Ok(Self { file, tensors, metadata })
    }

    /// How messages call the file.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, where it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// A note in the file's header.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The numbers of a tensor as f32 in memory order, where it is there.
    ///
    /// # Errors
    /// Where they are no finite floats, or the file was cut off.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<f32>>> {
        self.tensors.get(name).map(|stored| stored.read(&self.file, name)).transpose()
    }

    /// Where a piece lies; `None` where the file does not have it.
    pub(crate) fn piece(&self, piece: &Piece) -> Option<Stored> {
        let mut stored = self.tensors.get(&piece.tensor)?.clone();
        if let Some(rows) = &piece.rows {
            let all = *stored.shape.first()?;
            if rows.start >= rows.end || rows.end > all {
                return None;
            }
            let row = stored.length / all;
            stored.start += (rows.start * row) as u64;
            stored.length = rows.len() * row;
            stored.shape[0] = rows.len();
        }
        if piece.transposed && stored.shape.len() == 2 {
            stored.shape.reverse();
            stored.transposed = true;
        }
        if let Some(shape) = &piece.shape {
            let same = shape.iter().product::<usize>() == stored.shape.iter().product::<usize>();
            stored.shape = same.then(|| shape.clone())?;
        }
        Some(stored)
    }
}

impl Stored {
    /// The numbers as f32 in the memory order of `shape`; `name` names the tensor in messages.
    pub(crate) fn read(&self, file: &OpenFile, name: &str) -> Result<Vec<f32>> {
        let bytes = file.map_at(self.start, self.length)?;
        let values: Vec<f32> = match self.dtype {
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
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let value = values[index];
            return Err(Error::NotFinite { file: file.name.clone(), tensor: name.to_owned(), index, value });
        }
        match (self.transposed, &self.shape[..]) {
            (true, &[rows, _]) => {
                let column = |row: usize| values.iter().skip(row).step_by(rows).copied();
                Ok((0..rows).flat_map(column).collect())
            }
            _ => Ok(values),
        }
    }
}

/// Whether the header's first letter is where safetensors has it, or the name promises it and nothing speaks against it.
fn is_safetensors(file: &mut OpenFile) -> Result<bool> {
    if torch_file::is_torch_file(file)? {
        return Ok(false);
    }
    let begins = file.length > LENGTH_BYTES && *file.read_at(LENGTH_BYTES, 1)? == *b"{";
    Ok(begins || file.name.ends_with(".safetensors"))
}

/// Bytes in front of the header of safetensors, which say how long it is.
const LENGTH_BYTES: u64 = 8;

/// Tables of tensors and notes.
type Header = (BTreeMap<String, Stored>, HashMap<String, String>);

fn torch_tensors(file: &mut OpenFile) -> Result<Header> {
    let stored = |tensor: TorchTensor| {
        let TorchTensor { name, start, length, dtype, shape } = tensor;
        (name, Stored { start, length, dtype, shape, transposed: false })
    };
    let Contents { tensors, notes } = torch_file::tensors(file)?;
    Ok((tensors.into_iter().map(stored).collect(), notes))
}

fn safetensors_tensors(file: &mut OpenFile) -> Result<Header> {
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
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let (dtype, shape) = (info.dtype, info.shape.clone());
        (
            name,
            Stored { start: data_start + start as u64, length: end - start, dtype, shape, transposed: false },
        )
    });
    Ok((tensors.collect(), metadata.metadata().clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{TensorView, serialize_to_file};

    use super::*;

    #[test]
    fn pieces_are_rows_columns_and_other_shapes_of_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        // The name says nothing.
        let path = folder.path().join("model.ckpt");
        let bytes: Vec<u8> = (0..6).flat_map(|at| (at as f32).to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![3, 2], &bytes).unwrap();
        serialize_to_file([("a", view)], None, &path).unwrap();
        let file = WeightFile::open(&path).unwrap();
        let read = |piece: &Piece| {
            let stored = file.piece(piece)?;
            Some((stored.shape.clone(), stored.read(&file.file, "a").unwrap()))
        };
        let whole = Piece::whole("a");
        assert_eq!(read(&whole), Some((vec![3, 2], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
        let rows = Piece { rows: Some(1..3), ..whole.clone() };
        assert_eq!(read(&rows), Some((vec![2, 2], vec![2.0, 3.0, 4.0, 5.0])));
        let transposed = Piece { transposed: true, ..whole.clone() };
        assert_eq!(read(&transposed), Some((vec![2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0])));
        let flat = Piece { shape: Some(vec![6, 1]), ..whole.clone() };
        assert_eq!(read(&flat).unwrap().0, [6, 1]);
        for wrong in [
            Piece { rows: Some(2..4), ..whole.clone() },
            Piece { shape: Some(vec![5]), ..whole.clone() },
            Piece::whole("b"),
        ] {
            assert!(file.piece(&wrong).is_none(), "{wrong:?}");
        }
    }
}

//! `noisefind._noisefind`: what the Python package needs of the program. Values cross the border as numpy arrays, numbers
//! and JSON; the global interpreter lock is released while Rust computes, and every file is written by the facade.

mod policy;
mod run;
mod scorer;

use std::ffi::OsString;

use noisefind::core::media::Media;
use noisefind::core::noise::{NoiseShape, SampleKey};
use numpy::{PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    _noisefind,
    Error,
    PyRuntimeError,
    "What can go wrong, in words that name the culprit and the way out."
);

/// (seed, iteration, index), as Python names a sample.
type Key = (u64, u32, u32);

/// Numbers of the largest noise: 1 GiB, some fifty times the noise of a clip of 5 seconds with 720 lines. Larger ones are
/// mistakes, for which memory should not run out.
const LARGEST_NOISE: usize = 1 << 28;

#[pymodule]
fn _noisefind(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Error", module.py().get_type::<Error>())?;
    module.add_class::<policy::NoisePolicy>()?;
    module.add_class::<run::Run>()?;
    module.add_class::<scorer::Scorer>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(folder_name, module)?)
}

/// Runs the command line `arguments`, of which the first is the program's name; its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| noisefind_cli::run(arguments))
}

/// The part of a run folder's name that comes from its prompt.
#[pyfunction]
fn folder_name(prompt: &str) -> String {
    noisefind::rundir::file_name_from_prompt(prompt)
}

fn error(source: impl Into<noisefind::Error>) -> PyErr {
    Error::new_err(source.into().to_string())
}

fn sample_key((seed, iteration, index): Key) -> SampleKey {
    SampleKey { seed, iteration, index }
}

fn key(SampleKey { seed, iteration, index }: SampleKey) -> Key {
    (seed, iteration, index)
}

/// `[C, (F,) h, w]` as a shape.
fn noise_shape(dims: &[usize]) -> PyResult<NoiseShape> {
    let shape = match *dims {
        [channels, height, width] => NoiseShape::image(channels, height, width),
        [channels, frames, height, width] => NoiseShape { channels, frames: Some(frames), height, width },
        _ => {
            return Err(PyValueError::new_err(format!(
                "a noise has shape {dims:?}, expected [C, (F,) h, w]"
            )));
        }
    };
    let count = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    match count {
        Some(1..=LARGEST_NOISE) => Ok(shape),
        _ => Err(PyValueError::new_err(format!(
            "a noise of shape {dims:?} has {} numbers, expected 1 to {LARGEST_NOISE}",
            count.map_or_else(|| "too many".to_owned(), |count| count.to_string())
        ))),
    }
}

/// An image or clip, uint8 `[F, H, W, 3]`.
fn media(image: &PyReadonlyArray4<'_, u8>) -> PyResult<Media> {
    let shape = image.shape();
    let (frames, height, width) = (shape[0], shape[1], shape[2]);
    if shape[3] != 3 {
        return Err(PyValueError::new_err(format!("an image has shape {shape:?}, expected [F, H, W, 3]")));
    }
    let pixels = image.as_slice().map_err(|_| PyValueError::new_err("an image is not contiguous"))?;
    Media::new(frames, height, width, pixels.to_vec())
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

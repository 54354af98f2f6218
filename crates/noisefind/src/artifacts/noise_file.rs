//! Noises in a file: tensor `noise` of `[N, C, (F,) h, w]` in unit space, so that other programs can generate from the
//! very same ones; and the latents that came of them, so that other programs can decode them.

use std::collections::BTreeMap;
use std::path::Path;

use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_rundir::{Tensor, TensorFile, read_tensors};

use crate::error::{Error, Result};

const NAME: &str = "noise";
const LATENTS: &str = "latents";

/// Writes the final latents of images, `[N, C, (F,) h, w]`, in order of the noises that they came from.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn write_latents(
    path: &Path,
    shape: NoiseShape,
    noises: &[Noise],
    latents: &[Vec<f32>],
) -> Result<()> {
    write_as(LATENTS, path, shape, noises, latents.iter().map(Vec::as_slice))
}

/// Writes noises of one shape; their keys (seed, iteration, index) stand beside them as metadata.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn write(path: &Path, shape: NoiseShape, noises: &[Noise]) -> Result<()> {
    write_as(NAME, path, shape, noises, noises.iter().map(Noise::values))
}

fn write_as<'a>(
    name: &str,
    path: &Path,
    shape: NoiseShape,
    noises: &[Noise],
    rows: impl ExactSizeIterator<Item = &'a [f32]>,
) -> Result<()> {
    let dims = std::iter::once(rows.len()).chain(shape.dims()).collect();
    let values = rows.flatten().copied().collect();
    let metadata = noises.iter().map(|noise| noise.key).collect::<Vec<SampleKey>>();
    let tensors = BTreeMap::from([(name.to_owned(), Tensor { shape: dims, values })]);
    Ok(TensorFile { tensors, metadata }.write(path)?)
}

/// Reads a file of [`write`] with the keys that stand in it.
///
/// # Errors
/// Where the file cannot be read, or holds noises of another shape.
pub(crate) fn read_keyed(path: &Path, shape: NoiseShape) -> Result<Vec<Noise>> {
    let TensorFile { tensors, metadata: keys } = TensorFile::<Vec<SampleKey>>::read(path)?;
    let values = tensors.get(NAME).map(|tensor| tensor.values.as_slice()).unwrap_or_default();
    if values.len() != keys.len() * shape.numel() {
        let (path, count, dims) = (path.display(), keys.len(), shape.dims());
        let found = values.len();
        return Err(Error::Usage(format!(
            "{path}: expected {count} noises of shape {dims:?}, found {found} values"
        )));
    }
    let rows = values.chunks_exact(shape.numel().max(1));
    Ok(keys.into_iter().zip(rows).filter_map(|(key, row)| Noise::new(key, shape, row.to_vec())).collect())
}

/// Reads the noises of a file for a model that takes `shape`; the first gets the seed `first_seed`, from which
/// stochastic schedulers sample their steps, and the others follow one by one.
///
/// # Errors
/// Where the file is no safetensors file, has no tensor `noise`, or that has another shape or a number that is not
/// finite.
pub(crate) fn read(path: &Path, shape: NoiseShape, first_seed: u64) -> Result<Vec<Noise>> {
    let refused = |reason: String| Error::Usage(format!("--noise {}: {reason}", path.display()));
    let tensor = read_tensors(path)?
        .remove(NAME)
        .ok_or_else(|| refused(format!("there is no tensor named {NAME:?} in it")))?;
    if tensor.shape.len() < 2 || tensor.shape[1..] != shape.dims()[..] || tensor.shape[0] == 0 {
        let (found, expected) = (&tensor.shape, shape.dims());
        return Err(refused(format!("expected a tensor of shape [N, {expected:?}], found {found:?}")));
    }
    if let Some(at) = tensor.values.iter().position(|value| !value.is_finite()) {
        return Err(refused(format!("number {at} is {}", tensor.values[at])));
    }
    let keys = (0_u64..).map(|at| SampleKey::fresh(first_seed.wrapping_add(at), 0));
    let rows = tensor.values.chunks_exact(shape.numel());
    Ok(rows.zip(keys).filter_map(|(row, key)| Noise::new(key, shape, row.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: NoiseShape = NoiseShape::image(2, 1, 2);

    fn noise(seed: u64, values: [f32; 4]) -> Noise {
        Noise::new(SampleKey::fresh(seed, 0), SHAPE, values.to_vec()).unwrap()
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.safetensors");
        let noises = vec![noise(5, [0.0, 1.0, -2.0, 0.5]), noise(6, [3.0, 1.5, 0.25, -0.5])];
        write(&path, SHAPE, &noises).unwrap();
        assert_eq!(read(&path, SHAPE, 5).unwrap(), noises);
        assert_eq!(read_keyed(&path, SHAPE).unwrap(), noises);
    }

    #[test]
    fn another_shape_and_a_nan_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.safetensors");
        write(&path, SHAPE, &[noise(0, [0.0, f32::NAN, 0.0, 0.0])]).unwrap();
        let message = |shape| read(&path, shape, 0).unwrap_err().to_string();
        assert!(message(NoiseShape::image(4, 1, 1)).contains("found [1, 2, 1, 2]"));
        assert!(message(SHAPE).contains("number 1 is NaN"));
    }
}

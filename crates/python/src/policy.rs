//! Policies over numpy arrays.

use std::path::Path;

use noisefind::core::noise::SampleKey;
use noisefind::core::policy;
use noisefind::core::rng::NoiseSource;
use noisefind::rundir::{PolicyFile, Provenance};
use noisefind::sample::read_policy;
use numpy::{IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::{Key, error, noise_shape, sample_key};

/// Equally likely components, Gaussians over noises of one shape.
#[pyclass(frozen, module = "noisefind._noisefind")]
pub struct NoisePolicy {
    policy: policy::NoisePolicy,
    provenance: Option<Provenance>,
}

impl NoisePolicy {
    pub(crate) fn of(policy: policy::NoisePolicy) -> Self {
        Self { policy, provenance: None }
    }

    fn stacked<'py>(&self, py: Python<'py>, values: Vec<f32>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let count = values.len() / self.policy.shape().numel();
        array(py, values, count, &self.policy.shape().dims())
    }

    fn noises<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        keys: impl Iterator<Item = SampleKey> + Send,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let dims = self.policy.shape().dims();
        let mut values = Vec::new();
        let needed = count.checked_mul(self.policy.shape().numel());
        if needed.is_none_or(|needed| values.try_reserve_exact(needed).is_err()) {
            return Err(PyMemoryError::new_err(format!("no memory for {count} noises of shape {dims:?}")));
        }
        py.detach(|| {
            for key in keys {
                values.extend_from_slice(self.policy.sample(NoiseSource::Philox, key).values());
            }
        });
        array(py, values, count, &dims)
    }
}

#[pymethods]
impl NoisePolicy {
    /// A policy of the components in `mean` and `sigma`, each float32 `[k, C, (F,) h, w]`.
    #[new]
    fn new(mean: PyReadonlyArrayDyn<'_, f32>, sigma: PyReadonlyArrayDyn<'_, f32>) -> PyResult<Self> {
        if mean.shape() != sigma.shape() || mean.ndim() < 2 {
            let (mean, sigma) = (mean.shape(), sigma.shape());
            return Err(PyValueError::new_err(format!("mean has shape {mean:?} and sigma {sigma:?}")));
        }
        let shape = noise_shape(&mean.shape()[1..])?;
        let policy = policy::NoisePolicy::from_stacked(shape, mean.as_slice()?, sigma.as_slice()?)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self::of(policy))
    }

    /// The policy in a file or a run folder.
    #[staticmethod]
    fn load(py: Python<'_>, path: &str) -> PyResult<Self> {
        py.detach(|| {
            let file = read_policy(Path::new(path)).map_err(error)?;
            let shape = noise_shape(&file.provenance.noise_shape)?;
            let policy = policy::NoisePolicy::from_stacked(shape, &file.mu, &file.sigma).map_err(error)?;
            Ok(Self { policy, provenance: Some(file.provenance) })
        })
    }

    /// Writes the policy with its provenance.
    fn save(&self, py: Python<'_>, path: &str) -> PyResult<()> {
        let Some(provenance) = self.provenance.clone() else {
            let reason = "the policy was not read from a file, so it has no provenance; a run writes its own";
            return Err(crate::Error::new_err(reason));
        };
        let (mu, sigma) = (self.policy.stacked_mean(), self.policy.stacked_sigma());
        py.detach(|| PolicyFile { mu, sigma, provenance }.write(Path::new(path)).map_err(error))
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.policy.shape().dims())
    }

    #[getter]
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        self.stacked(py, self.policy.stacked_mean())
    }

    #[getter]
    fn sigma<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        self.stacked(py, self.policy.stacked_sigma())
    }

    #[getter]
    fn kl_nats(&self, py: Python<'_>) -> f64 {
        py.detach(|| self.policy.kl_nats())
    }

    /// The provenance as JSON.
    #[getter]
    fn provenance(&self) -> PyResult<Option<String>> {
        let json = self.provenance.as_ref().map(serde_json::to_string).transpose();
        json.map_err(|error| crate::Error::new_err(error.to_string()))
    }

    /// The noises that keys name, float32 `[n, C, (F,) h, w]`.
    fn noise<'py>(&self, py: Python<'py>, keys: Vec<Key>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let count = keys.len();
        self.noises(py, count, keys.into_iter().map(sample_key))
    }

    /// The noises of `noisefind sample --seed SEED`, one a seed from there on.
    fn sample<'py>(&self, py: Python<'py>, count: u32, seed: u64) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let keys = (0..u64::from(count)).map(|at| SampleKey::fresh(seed.wrapping_add(at), 0));
        self.noises(py, count as usize, keys)
    }
}

/// `values` as an array `[count, *dims]`, without a copy.
pub(crate) fn array<'py>(
    py: Python<'py>,
    values: Vec<f32>,
    count: usize,
    dims: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let shape = std::iter::once(count).chain(dims.iter().copied()).collect::<Vec<_>>();
    let flat: Bound<'py, PyArray1<f32>> = values.into_pyarray(py);
    flat.reshape(shape)
}

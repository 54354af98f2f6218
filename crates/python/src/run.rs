//! Runs that Python evaluates.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use noisefind::ask_tell::{Answer, AskTell, ComparisonArm, OUTSIDE};
use noisefind::config::TuneOptions;
use noisefind::core::config::MethodConfig;
use noisefind::core::noise::Noise;
use noisefind::core::ports::Reward;
use noisefind::reward::RewardTerm;
use noisefind::rundir::IfOccupied;
use numpy::{PyArrayDyn, PyReadonlyArray4};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::policy::{NoisePolicy, array};
use crate::{Key, error, key, media, noise_shape, sample_key};

/// A run over its folder.
#[pyclass(frozen, module = "noisefind._noisefind")]
pub struct Run {
    run: Mutex<AskTell>,
}

impl Run {
    fn of(run: AskTell) -> Self {
        Self { run: Mutex::new(run) }
    }

    /// The run; after a panic in another thread it is what was saved last.
    fn lock(&self) -> MutexGuard<'_, AskTell> {
        self.run.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[pymethods]
impl Run {
    /// A new run with `options` in JSON, by the names of the flags of `noisefind tune`; `variety` is no setting of a run but
    /// stands for one of `find`.
    #[new]
    fn new(
        py: Python<'_>,
        shape: Vec<usize>,
        options: &str,
        out: Option<&str>,
        overwrite: bool,
        environment: BTreeMap<String, String>,
        variety: Option<f64>,
    ) -> PyResult<Self> {
        let shape = noise_shape(&shape)?;
        let mut options = serde_json::from_str::<TuneOptions>(options)
            .map_err(|error| crate::Error::new_err(format!("options: {error}")))?;
        options.generation.loading.model.get_or_insert_with(|| OUTSIDE.to_owned());
        options.reward.get_or_insert_with(|| vec![RewardTerm::new("told")]);
        if let Some(variety) = variety {
            options.method = Some(with_variety(options.method.unwrap_or_default(), variety)?);
        }
        let if_occupied = if overwrite { IfOccupied::Replace } else { IfOccupied::Refuse };
        let known = |name: &str| environment.get(name).cloned().unwrap_or_default();
        let (device, dtype) = (known("device"), known("dtype"));
        let run =
            py.detach(|| AskTell::start(&options, shape, (&device, &dtype), out.map(Path::new), if_occupied));
        Ok(Self::of(run.map_err(error)?))
    }

    /// Goes on with the run in a folder.
    #[staticmethod]
    fn resume(py: Python<'_>, out: &str) -> PyResult<Self> {
        let run = py.detach(|| AskTell::resume(Path::new(out)));
        Ok(Self::of(run.map_err(error)?))
    }

    #[getter]
    fn out(&self) -> String {
        self.lock().root().display().to_string()
    }

    /// The config as JSON.
    #[getter]
    fn config(&self) -> PyResult<String> {
        json(self.lock().config())
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.lock().shape().dims())
    }

    #[getter]
    fn stop_reason(&self) -> Option<&'static str> {
        self.lock().stop_reason().map(|stop| stop.name())
    }

    #[getter]
    fn evaluations(&self) -> usize {
        self.lock().evaluations()
    }

    #[getter]
    fn policy(&self) -> NoisePolicy {
        NoisePolicy::of(self.lock().policy().clone())
    }

    /// The comparison as JSON, where there is one.
    #[getter]
    fn comparison(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let comparison = py.detach(|| self.lock().comparison()).map_err(error)?;
        comparison.as_ref().map(json).transpose()
    }

    /// The noises of this step, or of the arm "base" or "tuned", that are not told yet: float32 `[n, C, (F,) h, w]`, and
    /// their keys.
    fn ask<'py>(
        &self,
        py: Python<'py>,
        arm: Option<&str>,
    ) -> PyResult<(Bound<'py, PyArrayDyn<f32>>, Vec<Key>)> {
        let arm = arm.map(comparison_arm).transpose()?;
        let (noises, shape) = py.detach(|| {
            let run = self.lock();
            let mut noises = arm.map_or_else(|| run.ask(), |arm| run.ask_comparison(arm));
            noises.retain(|noise| !run.is_known(arm, noise.key));
            (noises, run.shape())
        });
        if noises.is_empty() && arm.is_none() {
            let over = "the run is over, so there is nothing to evaluate; see stop_reason";
            return Err(crate::Error::new_err(over));
        }
        Ok((stacked(py, &noises, &shape.dims())?, noises.iter().map(|noise| key(noise.key)).collect()))
    }

    /// Noises of this step by their keys.
    fn noise<'py>(&self, py: Python<'py>, keys: Vec<Key>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let (noises, shape) = py.detach(|| {
            let run = self.lock();
            (run.ask(), run.shape())
        });
        let find = |(seed, iteration, index): &Key| {
            let wanted = sample_key((*seed, *iteration, *index));
            noises.iter().find(|noise| noise.key == wanted).cloned().ok_or_else(|| {
                crate::Error::new_err(format!("({seed}, {iteration}, {index}) is no key of this step"))
            })
        };
        stacked(py, &keys.iter().map(find).collect::<PyResult<Vec<_>>>()?, &shape.dims())
    }

    /// Takes in rewards, NaN for missing ones; the figures of the step as JSON where this ended it.
    fn tell(
        &self,
        py: Python<'_>,
        keys: Vec<Key>,
        rewards: Vec<f64>,
        reasons: Vec<Option<String>>,
        held_out: BTreeMap<String, Vec<f64>>,
        images: Vec<Option<PyReadonlyArray4<'_, u8>>>,
    ) -> PyResult<Option<String>> {
        let answers = self.answers(keys, rewards, reasons, held_out, images)?;
        let line = py.detach(|| self.lock().tell(answers)).map_err(error)?;
        line.as_ref().map(json).transpose()
    }

    /// Takes in rewards of the arm "base" or "tuned", with images and, where there is a judge, judgements.
    #[allow(clippy::too_many_arguments, reason = "each is a column of one table")]
    fn tell_comparison(
        &self,
        py: Python<'_>,
        arm: &str,
        keys: Vec<Key>,
        rewards: Vec<f64>,
        reasons: Vec<Option<String>>,
        judgements: Option<Vec<f64>>,
        held_out: BTreeMap<String, Vec<f64>>,
        images: Vec<Option<PyReadonlyArray4<'_, u8>>>,
    ) -> PyResult<()> {
        let arm = comparison_arm(arm)?;
        let mut answers = self.answers(keys, rewards, reasons, held_out, images)?;
        if let Some(judgements) = judgements {
            if judgements.len() != answers.len() {
                let (keys, judgements) = (answers.len(), judgements.len());
                return Err(PyValueError::new_err(format!("{keys} keys were told {judgements} judgements")));
            }
            for (answer, judgement) in answers.iter_mut().zip(judgements) {
                answer.judgement = Some(reward(judgement, Some("the judge cannot say")));
            }
        }
        py.detach(|| self.lock().tell_comparison(arm, answers)).map_err(error)
    }

    /// Writes the policy; its path.
    fn save_policy(&self, py: Python<'_>) -> PyResult<String> {
        let path = py.detach(|| self.lock().save_policy()).map_err(error)?;
        Ok(path.display().to_string())
    }

    /// Writes what is left of a comparison of which everything is told; its numbers as JSON.
    fn compare(&self, py: Python<'_>) -> PyResult<String> {
        json(&py.detach(|| self.lock().compare()).map_err(error)?)
    }
}

impl Run {
    fn answers(
        &self,
        keys: Vec<Key>,
        rewards: Vec<f64>,
        reasons: Vec<Option<String>>,
        held_out: BTreeMap<String, Vec<f64>>,
        images: Vec<Option<PyReadonlyArray4<'_, u8>>>,
    ) -> PyResult<Vec<Answer>> {
        let names = self.lock().config().holdout.clone();
        let held_out = in_order(&names, &held_out, keys.len())?;
        if [rewards.len(), reasons.len(), images.len()] != [keys.len(); 3] {
            let (keys, rewards, reasons, images) = (keys.len(), rewards.len(), reasons.len(), images.len());
            let reason =
                format!("{keys} keys were told {rewards} rewards, {reasons} reasons and {images} images");
            return Err(PyValueError::new_err(reason));
        }
        let answer = |(at, wanted): (usize, &Key)| {
            Ok(Answer {
                key: sample_key(*wanted),
                reward: reward(rewards[at], reasons[at].as_deref()),
                judgement: None,
                held_out: held_out.iter().map(|of| reward(of[at], None)).collect(),
                media: images[at].as_ref().map(media).transpose()?,
            })
        };
        keys.iter().enumerate().map(answer).collect()
    }
}

fn with_variety(method: MethodConfig, variety: f64) -> PyResult<MethodConfig> {
    match method {
        MethodConfig::Find(find) => Ok(MethodConfig::Find(find.with_variety(variety).map_err(error)?)),
        other => Err(crate::Error::new_err(format!(
            "variety belongs to find, and the method is {}; leave one of them out",
            other.name()
        ))),
    }
}

fn comparison_arm(name: &str) -> PyResult<ComparisonArm> {
    match name {
        "base" => Ok(ComparisonArm::Base),
        "tuned" => Ok(ComparisonArm::Tuned),
        _ => Err(PyValueError::new_err(format!("the arm is {name:?}, expected \"base\" or \"tuned\""))),
    }
}

/// The rewards of held-out scorers in the order of the config.
fn in_order<'a>(
    names: &[String],
    held_out: &'a BTreeMap<String, Vec<f64>>,
    count: usize,
) -> PyResult<Vec<&'a [f64]>> {
    if names.len() != held_out.len() || !names.iter().all(|name| held_out.contains_key(name)) {
        let found = held_out.keys().collect::<Vec<_>>();
        return Err(PyValueError::new_err(format!("held-out rewards are of {found:?}, expected {names:?}")));
    }
    let of = |name: &String| {
        let numbers = &held_out[name];
        let wrong = || format!("held-out scorer {name} gave {} rewards, expected {count}", numbers.len());
        (numbers.len() == count).then_some(&numbers[..]).ok_or_else(|| PyValueError::new_err(wrong()))
    };
    names.iter().map(of).collect()
}

fn reward(number: f64, reason: Option<&str>) -> Reward {
    match reason {
        Some(reason) if !number.is_finite() => Reward::Missing(reason.to_owned()),
        _ => Reward::from_number("the scorer", number),
    }
}

fn stacked<'py>(py: Python<'py>, noises: &[Noise], dims: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let values = noises.iter().flat_map(|noise| noise.values().iter().copied()).collect();
    array(py, values, noises.len(), dims)
}

fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| crate::Error::new_err(error.to_string()))
}

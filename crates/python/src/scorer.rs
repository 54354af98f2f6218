//! Native scorers by name.

use std::sync::Mutex;

use noisefind::core::media::Media;
use noisefind::core::ports;
use noisefind::core::ports::Reward;
use noisefind::core::rollout::score;
use noisefind::scorers::open_scorer;
use numpy::PyReadonlyArray4;
use pyo3::prelude::*;

use crate::{error, media};

/// A scorer of noisefind, ready to score.
#[pyclass(frozen, module = "noisefind._noisefind")]
pub struct Scorer {
    scorer: Mutex<Box<dyn ports::Scorer>>,
}

#[pymethods]
impl Scorer {
    /// Opens the scorer called `name`, as for `--reward`.
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        let scorer = py.detach(|| open_scorer(name)).map_err(error)?;
        Ok(Self { scorer: Mutex::new(scorer) })
    }

    /// (reward, None) or (None, reason) of each image, uint8 `[F, H, W, 3]`.
    fn score(
        &self,
        py: Python<'_>,
        prompt: &str,
        images: Vec<PyReadonlyArray4<'_, u8>>,
    ) -> PyResult<Vec<(Option<f64>, Option<String>)>> {
        let images = images.iter().map(media).collect::<PyResult<Vec<Media>>>()?;
        let rewards = py.detach(|| {
            let mut scorer = self.scorer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            score(&mut **scorer, prompt, &images)
        });
        Ok(rewards.map_err(error)?.into_iter().map(pair).collect())
    }
}

fn pair(reward: Reward) -> (Option<f64>, Option<String>) {
    match reward {
        Reward::Given(number) => (Some(number), None),
        Reward::Missing(reason) => (None, Some(reason)),
    }
}

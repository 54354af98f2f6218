//! The best samples of a run, with their noises and images: best-of-n comes free with tuning.

use std::collections::BTreeSet;

use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_core::ports::Reward;
use noisefind_core::run::Run;
use noisefind_rundir::{Layout, remove_if_there};

use crate::artifacts::{noise_file, samples};
use crate::error::{Error, Result};

/// What the names of these images begin with.
pub(crate) const PREFIX: &str = "best-";

/// The noises of the run's best samples, and the samples of the running step that may be among them.
#[derive(Default)]
pub(crate) struct BestNoises {
    noises: Vec<Noise>,
    /// Given rewards of the running step.
    rewards: Vec<f64>,
}

impl BestNoises {
    /// Those of a run folder; none of a new one.
    pub(crate) fn read(layout: &Layout, shape: NoiseShape) -> Result<Self> {
        let path = layout.best_noises();
        let noises = if path.exists() { noise_file::read_keyed(&path, shape)? } else { Vec::new() };
        Ok(Self { noises, rewards: Vec::new() })
    }

    /// Takes in the reward of a sample of the running step, `None` where it is not known yet; -> whether the sample
    /// may be among the best, so that its image is needed.
    pub(crate) fn observe(&mut self, run: &Run, reward: Option<&Reward>) -> bool {
        let Some(reward) = reward else { return true };
        let Some(reward) = reward.given() else { return false };
        let best = run.best_samples().iter().map(|sample| sample.reward);
        let better = best.chain(self.rewards.iter().copied()).filter(|other| *other >= reward).count();
        self.rewards.push(reward);
        better < run.config().best_noises
    }

    /// Adds the noises of those samples of a step that are among the best. Nothing is removed before the step is saved,
    /// so that a kill leaves at least what the last saved step needs.
    pub(crate) fn add(&mut self, layout: &Layout, run: &Run, noises: &[Noise]) -> Result<()> {
        self.rewards.clear();
        let best = run.best_samples().iter().map(|sample| sample.key).collect::<Vec<_>>();
        let is_new = |noise: &&Noise| {
            best.contains(&noise.key) && self.noises.iter().all(|known| known.key != noise.key)
        };
        let new = noises.iter().filter(is_new).cloned().collect::<Vec<_>>();
        if new.is_empty() {
            return Ok(());
        }
        self.noises.extend(new);
        noise_file::write(&layout.best_noises(), run.shape(), &self.noises)
    }

    /// Removes what is no longer among the best, after the step is saved.
    pub(crate) fn prune(&mut self, layout: &Layout, run: &Run) -> Result<()> {
        let best = run.best_samples().iter().map(|sample| sample.key).collect::<Vec<_>>();
        let noise_of = |key: &SampleKey| self.noises.iter().find(|noise| noise.key == *key).cloned();
        let noises = best.iter().filter_map(noise_of).collect::<Vec<_>>();
        if noises != self.noises {
            noise_file::write(&layout.best_noises(), run.shape(), &noises)?;
            self.noises = noises;
        }
        remove_others(layout, &best)
    }
}

/// `best-0003-05`: sample 5 of step 3.
fn name(key: SampleKey) -> String {
    format!("{PREFIX}{}", samples::name(key))
}

/// Removes images of samples that are no longer among the best.
fn remove_others(layout: &Layout, best: &[SampleKey]) -> Result<()> {
    let best = best.iter().map(|key| name(*key)).collect::<BTreeSet<_>>();
    let folder = layout.images();
    if !folder.exists() {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(&folder).map_err(|source| Error::Read { path: folder.clone(), source })?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::Read { path: folder.clone(), source })?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let stem = file.split('.').next().unwrap_or_default();
        let sample = stem.strip_suffix("-strip").unwrap_or(stem);
        if file.starts_with(PREFIX) && !best.contains(sample) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

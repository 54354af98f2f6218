//! The best noises that a run has seen, with their pictures: best-of-n comes free with tuning.

use std::collections::BTreeSet;

use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::run::Run;
use noisefind_core::step::Step;
use noisefind_rundir::{Layout, remove_if_there};

use crate::artifacts::noise_file;
use crate::config::TuneConfig;
use crate::config::reward::sum_name;
use crate::error::{Error, Result};
use crate::images::save_frames;

/// What the names of these pictures begin with.
const PREFIX: &str = "best-";

/// Brings the pictures and the noises of the run's best samples up to date after `step`.
///
/// This comes before the step is saved: after a kill in between, the step is done again and writes the same.
pub(crate) fn save(layout: &Layout, config: &TuneConfig, run: &Run, step: &Step) -> Result<()> {
    let kept = run.best_samples().iter().map(|sample| sample.key()).collect::<Vec<_>>();
    let of_step = step.evaluations.iter().zip(&step.media);
    let newest = of_step.filter(|(sample, _)| kept.contains(&sample.key())).collect::<Vec<_>>();
    if newest.is_empty() {
        return Ok(());
    }
    for (sample, media) in newest {
        let SampleKey { seed, iteration, index } = sample.key();
        let reward = sample.reward.given().map(|reward| format!("{} {reward}", sum_name(&config.reward)));
        let texts = [
            ("prompt", config.prompt.clone()),
            ("seed", format!("{seed}, step {}, sample {index}", iteration + 1)),
            ("model", config.generation.model.clone()),
            ("reward", reward.unwrap_or_default()),
        ];
        save_frames(&layout.images(), &name(sample.key()), media, &texts)?;
    }
    let noises = run.best_samples().iter().map(|sample| sample.noise.clone()).collect::<Vec<Noise>>();
    noise_file::write(&layout.best_noises(), run.shape(), &noises)?;
    remove_others(layout, &kept)
}

/// `best-0003-05`: sample 5 of step 3.
fn name(key: SampleKey) -> String {
    format!("{PREFIX}{:04}-{:02}", key.iteration + 1, key.index)
}

/// Removes pictures of samples that are no longer among the best.
fn remove_others(layout: &Layout, kept: &[SampleKey]) -> Result<()> {
    let kept = kept.iter().map(|key| name(*key)).collect::<BTreeSet<_>>();
    let folder = layout.images();
    let entries =
        std::fs::read_dir(&folder).map_err(|source| Error::Read { path: folder.clone(), source })?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::Read { path: folder.clone(), source })?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let sample = file.trim_end_matches(".png").split("-frame-").next().unwrap_or_default();
        if file.starts_with(PREFIX) && !kept.contains(sample) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

//! Scoring pictures that are there already.

use std::path::{Path, PathBuf};

use noisefind_core::media::Media;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::rollout;
use serde::Serialize;

use crate::config::{GenerationConfig, TuneOptions, checked_prompt, no_reward};
use crate::error::{Error, Result};
use crate::models::registry::ModelSource;

/// Pictures that are in memory at the same time.
const BATCH: usize = 16;

/// The score of one file; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The picture.
    pub file: PathBuf,
    /// Name of the scorer.
    pub scorer: String,
    /// Higher is better; `null` where it is missing.
    pub reward: Option<f64>,
    /// Why it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Scores `files` against the prompt of `options` with the scorers `rewards`, or the model's own; `each` gets the
/// scores as they come, those of a file together.
///
/// # Errors
/// Where the prompt is empty, the scorer cannot be opened, or a file is no picture.
pub fn score<E: From<Error>>(
    files: &[PathBuf],
    options: &TuneOptions,
    rewards: &[String],
    mut each: impl FnMut(Scored) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let prompt = checked_prompt(options.prompt.as_deref().unwrap_or_default())?;
    let source = ModelSource::find(options.model_name())?;
    let defaults = source.defaults()?;
    let config = options.resolve_generation(&defaults)?;
    let mut scorers = scorers(&source, &config, prompt, rewards, defaults.reward)?;
    for files in files.chunks(BATCH) {
        let media = files.iter().map(|file| read_picture(file)).collect::<Result<Vec<_>>>()?;
        let score = |scorer: &mut Box<dyn Scorer>| Ok(rollout::score(&mut **scorer, prompt, &media)?);
        let rewards = scorers.iter_mut().map(score).collect::<Result<Vec<_>>>()?;
        for (at, file) in files.iter().enumerate() {
            for (scorer, rewards) in scorers.iter().zip(&rewards) {
                let (reward, reason) = match &rewards[at] {
                    Reward::Given(number) => (Some(*number), None),
                    Reward::Missing(reason) => (None, Some(reason.clone())),
                };
                each(Scored { file: file.clone(), scorer: scorer.name().to_owned(), reward, reason })?;
            }
        }
    }
    Ok(())
}

/// Opens what the user named, else what comes with the model, else what its program recommends.
fn scorers(
    source: &ModelSource,
    config: &GenerationConfig,
    prompt: &str,
    named: &[String],
    own: Option<String>,
) -> Result<Vec<Box<dyn Scorer>>> {
    let open = |name: &String| source.open_scorer(name, config, None);
    if !named.is_empty() {
        return named.iter().map(open).collect();
    }
    if let Some(own) = own {
        return Ok(vec![open(&own)?]);
    }
    let recommended = source.ask_for_rewards(config, prompt)?;
    if recommended.is_empty() {
        return Err(no_reward(&source.name));
    }
    let names = recommended.iter().map(|term| &term.scorer);
    names.map(|name| open(name).map_err(|error| source.recommends(name, error))).collect()
}

pub(crate) fn read_picture(file: &Path) -> Result<Media> {
    let bytes = std::fs::read(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let picture = image::load_from_memory(&bytes)
        .map_err(|error| Error::Picture(format!("{} is no PNG, JPEG or WebP: {error}", file.display())))?
        .to_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Media::new(1, height, width, picture.into_raw())
        .map_err(|error| Error::Picture(format!("{}: {error}", file.display())))
}

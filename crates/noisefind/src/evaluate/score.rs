//! Scoring images and clips that are there already.

use std::path::{Path, PathBuf};

use noisefind_core::media::Media;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::rollout;
use serde::Serialize;

use crate::config::{GenerationConfig, TuneOptions, checked_prompt, no_reward};
use crate::error::{Error, Result};
use crate::models::registry::ModelSource;

/// Images that are in memory at the same time.
const BATCH: usize = 16;

/// The score of one file; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The image, the animation, or the folder of frames.
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
/// Where the prompt is empty or the scorer cannot be opened; and, after all others are scored, where a file is no image or a
/// folder no clip.
pub fn score<E: From<Error>>(
    files: &[PathBuf],
    options: &TuneOptions,
    rewards: &[String],
    mut each: impl FnMut(Scored) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let prompt = checked_prompt(options.prompt.as_deref().unwrap_or_default())?;
    let source = ModelSource::of(&options.generation)?;
    let defaults = source.defaults()?;
    let config = options.generation.clone().resolve(defaults.generation)?;
    let mut scorers = scorers(&source, &config, prompt, rewards, defaults.reward)?;
    let batch = config.loading.generation_batch.unwrap_or(BATCH);
    let mut unread = Unread::default();
    for batch in files.chunks(batch) {
        let read: Vec<Result<Media>> = batch.iter().map(|file| read_media(file)).collect();
        let media: Vec<Media> = read.iter().flatten().cloned().collect();
        let score = |scorer: &mut Box<dyn Scorer>| match media.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(rollout::score(&mut **scorer, prompt, &media)?),
        };
        let rewards = scorers.iter_mut().map(score).collect::<Result<Vec<_>>>()?;
        let mut scored = 0;
        for (file, read) in batch.iter().zip(&read) {
            for (scorer, rewards) in scorers.iter().zip(&rewards) {
                let (reward, reason) = match (read, rewards.get(scored)) {
                    (Ok(_), Some(Reward::Given(number))) => (Some(*number), None),
                    (Ok(_), Some(Reward::Missing(reason))) => (None, Some(reason.clone())),
                    (Ok(_), None) => (None, Some("the scorer gave no reward".to_owned())),
                    (Err(error), _) => (None, Some(error.to_string())),
                };
                each(Scored { file: file.clone(), scorer: scorer.name().to_owned(), reward, reason })?;
            }
            match read {
                Ok(_) => scored += 1,
                Err(error) => unread.note(error),
            }
        }
    }
    Ok(unread.check(files.len())?)
}

/// Files that could not be read as images.
#[derive(Default)]
struct Unread {
    count: usize,
    first: String,
}

impl Unread {
    fn note(&mut self, error: &Error) {
        if self.count == 0 {
            self.first = error.to_string();
        }
        self.count += 1;
    }

    fn check(self, files: usize) -> Result<()> {
        match self.count {
            0 => Ok(()),
            count => Err(Error::Unread { count, files, first: self.first }),
        }
    }
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

/// Reads an image, an animated GIF or WebP file, or a folder whose image files are the frames of a clip in the order
/// of their names.
fn read_media(path: &Path) -> Result<Media> {
    let invalid = |reason: String| Error::Image { path: path.to_owned(), reason };
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source });
    let frames = if path.is_dir() {
        let entries =
            std::fs::read_dir(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(is_image));
        files.sort();
        files.iter().map(|file| read_image(file)).collect::<Result<Vec<_>>>()?
    } else {
        let animation =
            noisefind_images::decode_frames(&read(path)?).map_err(|error| invalid(error.to_string()))?;
        let media = |frame: noisefind_images::RgbImage| Media::new(1, frame.height, frame.width, frame.bytes);
        let frames = animation.frames.into_iter().map(media).collect::<std::result::Result<Vec<_>, _>>();
        let frames = frames.map_err(|error| invalid(error.to_string()))?;
        frames.into_iter().map(|frame| frame.with_fps(animation.fps)).collect()
    };
    let Some(first) = frames.first() else {
        return Err(invalid("the folder holds no image files, expected the frames of a clip".to_owned()));
    };
    let size = |media: &Media| (media.width(), media.height());
    if let Some((at, other)) = frames.iter().enumerate().find(|(_, frame)| size(frame) != size(first)) {
        let ((width, height), (first_width, first_height)) = (size(other), size(first));
        return Err(invalid(format!(
            "frame {at} has {width} x {height} pixels, expected {first_width} x {first_height} as the first frame has"
        )));
    }
    let pixels = frames.iter().flat_map(Media::pixels).copied().collect();
    let clip = Media::new(frames.len(), first.height(), first.width(), pixels);
    Ok(clip.map_err(|error| invalid(error.to_string()))?.with_fps(first.fps()))
}

/// Whether a file with this ending is taken for a frame.
fn is_image(ending: &std::ffi::OsStr) -> bool {
    const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "jfif"];
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Reads an image file as Pillow does.
pub(crate) fn read_image(file: &Path) -> Result<Media> {
    let bytes = std::fs::read(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let invalid = |reason: String| Error::Image { path: file.to_owned(), reason };
    let image = noisefind_images::decode(&bytes).map_err(|error| invalid(error.to_string()))?;
    Media::new(1, image.height, image.width, image.bytes).map_err(|error| invalid(error.to_string()))
}

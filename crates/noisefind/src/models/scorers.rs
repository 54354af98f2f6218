//! Scorers by the names that users give them: `NAME`, `NAME:DIR`, `NAME:HUB_ID` or `exec:COMMAND`.

use std::path::Path;

use noisefind_core::media::FrameReduction;
use noisefind_core::ports::Scorer;
use noisefind_diffusion::{DtypeChoice, ModelFiles, Placement};
use noisefind_external::ExternalScorer;
use noisefind_rewards::{Cached, Reduced, SCORERS, ScorerInfo, Screened};

use crate::config::reward::RewardTerm;
use crate::config::{DEFAULT_MODEL, GenerationConfig};
use crate::error::{Error, Result};
use crate::models::external::{EXTERNAL, timeouts};
use crate::models::registry::{ModelSource, OpenModel, Place};

/// Opens a scorer or a judge by name, beside the default model.
///
/// # Errors
/// Where there is no such scorer, or it cannot be opened.
pub fn open_scorer(name: &str) -> Result<Box<dyn Scorer>> {
    let source = ModelSource::find(DEFAULT_MODEL)?;
    let config = GenerationConfig::default().resolve(source.defaults()?.generation)?;
    source.open_scorer(name, &config, None)
}

impl ModelSource {
    /// Opens a scorer or a judge by name, to run where `config` says. All-black images have no reward under any
    /// scorer.
    ///
    /// What programs answer is kept in the file `answers`, where one is given, because they may cost money or minutes
    /// and a run that was killed between two steps asks again.
    ///
    /// # Errors
    /// Where there is no such scorer, or it cannot be opened.
    pub fn open_scorer(
        &self,
        name: &str,
        config: &GenerationConfig,
        answers: Option<&Path>,
    ) -> Result<Box<dyn Scorer>> {
        let scorer: Box<dyn Scorer> = match name.strip_prefix(EXTERNAL) {
            Some(command) => {
                let scorer = ExternalScorer::open(command, timeouts(&config.loading))
                    .map_err(|source| Error::reward(name, source))?;
                match answers {
                    Some(file) => Box::new(Cached::in_file(Box::new(scorer), name, file)),
                    None => Box::new(scorer),
                }
            }
            None => {
                let scorer = self.open_native(name, config)?;
                let info = ScorerInfo::named(name.split(':').next().unwrap_or_default());
                let is_mean = info.is_some_and(ScorerInfo::is_mean_over_frames);
                match config.reward_frames.filter(|_| is_mean) {
                    Some(frames) => Box::new(Reduced::new(scorer, FrameReduction::Evenly(frames))),
                    None => scorer,
                }
            }
        };
        Ok(Box::new(Screened::new(scorer)))
    }

    /// The rewards that a model's program recommends, which has to be started for that; none for other models, whose
    /// [`defaults`](Self::defaults) say all there is.
    ///
    /// # Errors
    /// Where the program does not start, or recommends what there is not.
    pub fn ask_for_rewards(&self, config: &GenerationConfig, prompt: &str) -> Result<Vec<RewardTerm>> {
        match self.place {
            Place::External(_) => self.recommended_rewards(&self.open(config, prompt)?),
            Place::Files(_) | Place::TestDouble(_) => Ok(Vec::new()),
        }
    }

    /// The rewards that the running program of this model recommends.
    ///
    /// # Errors
    /// Where it recommends what there is not.
    pub(crate) fn recommended_rewards(&self, running: &OpenModel) -> Result<Vec<RewardTerm>> {
        let term = |text: &String| {
            let term: RewardTerm = text.parse().map_err(Error::Usage)?;
            let name = term.scorer.split(':').next().unwrap_or_default();
            let is_known = term.scorer.starts_with(EXTERNAL) || ScorerInfo::named(name).is_some();
            if is_known { Ok(term) } else { Err(no_such_reward(name)) }
        };
        let recommended = |text: &String| term(text).map_err(|error| self.recommends(text, error));
        running.default_rewards.iter().map(recommended).collect()
    }

    /// Says of an error that the user did not name the reward.
    pub(crate) fn recommends(&self, reward: &str, error: Error) -> Error {
        let (model, reward, source) = (self.name.clone(), reward.to_owned(), Box::new(error));
        Error::Recommended { model, reward, source }
    }

    fn open_native(&self, name: &str, config: &GenerationConfig) -> Result<Box<dyn Scorer>> {
        if let Place::TestDouble(double) = self.place
            && let Some(scorer) = (double.scorer)(name)
        {
            return Ok(scorer);
        }
        let (scorer, folder) =
            name.split_once(':').map_or((name, None), |(scorer, folder)| (scorer, Some(folder)));
        let info = ScorerInfo::named(scorer).ok_or_else(|| no_such_reward(scorer))?;
        let failed = |source| Error::reward(name, source);
        if let Some(file) = folder.map(Path::new).filter(|path| info.is_one_file() && path.is_file()) {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let files = ModelFiles::directory(parent.unwrap_or(Path::new(".")))
                .map_err(|source| Error::reward(name, source))?;
            let file_name = file.file_name().unwrap_or_default().to_string_lossy();
            return info.open(Some((&files, &file_name)), &published(config)?).map_err(failed);
        }
        if let Some(folder) = folder {
            let files = ModelFiles::find(folder).map_err(|source| Error::reward(name, source))?;
            return info.open(Some((&files, "")), &published(config)?).map_err(failed);
        }
        let recommended = self.recommended()?;
        let own = match &self.place {
            Place::Files(files) if info.is_clip_score() => {
                Some(files).zip(recommended.default_clip.or(recommended.default_scorer))
            }
            Place::Files(files) if info.is_one_file() => Some(files).zip(recommended.default_scorer),
            Place::Files(files) if info.is_judge() => Some(files).zip(recommended.default_judge),
            _ => None,
        };
        let own = own.as_ref().map(|(files, folder)| (*files, folder.as_str()));
        info.open(own, &beside_model(config)?).map_err(failed)
    }
}

/// Where the scorers run that come with a model: where and how the model does.
fn beside_model(config: &GenerationConfig) -> Result<Placement> {
    placement(config, |dtype| dtype)
}

/// Where published scorers run: in f32 unless the user says otherwise, because people compare their digits, and one
/// look at an image costs little beside the many steps of generating it.
fn published(config: &GenerationConfig) -> Result<Placement> {
    placement(config, |dtype| if dtype == DtypeChoice::Auto { DtypeChoice::F32 } else { dtype })
}

fn placement(config: &GenerationConfig, dtype: impl FnOnce(DtypeChoice) -> DtypeChoice) -> Result<Placement> {
    let open = || {
        let (device, dtype_name) = (config.loading.device.as_deref(), config.loading.dtype.as_deref());
        Placement::open(device.unwrap_or("auto").parse()?, dtype(dtype_name.unwrap_or("auto").parse()?))
    };
    open().map_err(|source: noisefind_diffusion::Error| Error::Usage(source.to_string()))
}

fn no_such_reward(name: &str) -> Error {
    let known = SCORERS.iter().map(|scorer| scorer.name).collect::<Vec<_>>();
    let closest = known.iter().find(|known| strsim::jaro_winkler(known, name) > 0.85);
    let guess = closest.map(|known| format!(", did you mean {known}?")).unwrap_or_default();
    let reason =
        format!("there is no reward {name:?}{guess}; known are {} and {EXTERNAL}COMMAND", known.join(", "));
    Error::Usage(reason)
}

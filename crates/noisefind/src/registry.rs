//! Models, scorers and judges by name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use noisefind_core::ports::{Generator, Scorer};
use noisefind_diffusion::config::ModelIndex;
use noisefind_diffusion::{
    DeviceChoice, DiffusionGenerator, DiffusionModel, GenerationOptions, LoadOptions, ModelFiles, Placement,
};
use noisefind_rewards::external::{ExternalGenerator, ExternalOptions, ExternalScorer};
use noisefind_rewards::judge::SceneJudge;
use noisefind_rewards::{ClipScore, ClipVariant, SCORERS, ScorerInfo, Screened};
use serde::{Deserialize, Serialize};

use crate::config::{GenerationConfig, ModelDefaults};
use crate::error::{Error, Result};
use crate::hash::{FolderHash, counts, is_weights};
use crate::{embedded, fake, words};

/// Where a model folder may say what its makers recommend.
const RECOMMENDED: &str = "noisefind.json";

/// What stands before a command that is a model or a scorer.
const EXTERNAL: &str = "exec:";

/// The scorer that comes with a model: cosine of picture and prompt under a CLIP model.
const CLIP_SCORE: &str = "clip-score";

/// The judge that comes with a model.
const JUDGE: &str = "scene-judge";

/// A model that was found, not yet opened.
#[derive(Clone, Debug)]
pub struct ModelSource {
    /// As the user named it.
    pub name: String,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A folder, a model of the hub, or the files inside the program.
    Files(ModelFiles),
    /// The command of a process.
    External(String),
    /// The test double.
    Fake,
}

/// SHA-256 in hexadecimal of what a model is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelHashes {
    /// Over all files.
    pub model: String,
    /// Of each file of weights.
    pub weights: BTreeMap<String, String>,
}

/// A model that is ready to draw.
pub struct OpenModel {
    /// The frozen model.
    pub generator: Box<dyn Generator>,
    /// Where it runs.
    pub device: String,
    /// In which numbers it computes.
    pub dtype: String,
    /// Ends of the prompt that did not fit into the text encoder.
    pub truncated: Vec<String>,
}

/// `noisefind.json` of a model folder: what the makers of the model recommend. Every key is optional.
#[derive(Debug, Default, Deserialize)]
struct Recommended {
    /// Folder of the CLIP model behind `clip-score`.
    default_scorer: Option<String>,
    /// Folder of the judge.
    default_judge: Option<String>,
    num_inference_steps: Option<usize>,
    guidance_scale: Option<f64>,
}

impl ModelSource {
    /// Finds the model called `name`: a folder, an id on the hub, `exec:COMMAND`, or `emoji-64`.
    ///
    /// # Errors
    /// Where there is no such folder, the hub does not give it, or this program carries no default model.
    pub fn find(name: &str) -> Result<Self> {
        let place = match name {
            fake::NAME => Place::Fake,
            embedded::NAME => Place::Files(embedded::files()?),
            _ => match name.strip_prefix(EXTERNAL) {
                Some(command) => Place::External(command.to_owned()),
                None => Place::Files(ModelFiles::find(name).map_err(|source| Error::model(name, source))?),
            },
        };
        Ok(Self { name: name.to_owned(), place })
    }

    /// What the model wants where the user said nothing.
    ///
    /// # Errors
    /// Where the model's recommendations cannot be read.
    pub fn defaults(&self) -> Result<ModelDefaults> {
        if let Place::Fake = self.place {
            let (reward, judge) = (Some(fake::NAME.to_owned()), Some(fake::JUDGE.to_owned()));
            return Ok(ModelDefaults { num_inference_steps: 1, guidance_scale: 1.0, reward, judge });
        }
        let recommended = self.recommended()?;
        let index = match &self.place {
            Place::Files(files) => ModelIndex::read(files).ok(),
            Place::External(_) | Place::Fake => None,
        };
        let (steps, guidance) = index.map_or((50, 7.5), |index| index.default_steps_and_guidance());
        // A model may be given away without its judge.
        let there = |folder: Option<String>| match &self.place {
            Place::Files(files) => folder.filter(|folder| files.contains(&format!("{folder}/config.json"))),
            Place::External(_) | Place::Fake => None,
        };
        Ok(ModelDefaults {
            num_inference_steps: recommended.num_inference_steps.unwrap_or(steps),
            guidance_scale: recommended.guidance_scale.unwrap_or(guidance),
            reward: there(recommended.default_scorer).map(|_| CLIP_SCORE.to_owned()),
            judge: there(recommended.default_judge).map(|_| JUDGE.to_owned()),
        })
    }

    /// Opens the model to draw `prompt`.
    ///
    /// # Errors
    /// Where a file is missing or damaged, or the device is not there.
    pub fn open(&self, config: &GenerationConfig, prompt: &str) -> Result<OpenModel> {
        let opened = |generator: Box<dyn Generator>, device: &str, dtype: &str| OpenModel {
            generator,
            device: device.to_owned(),
            dtype: dtype.to_owned(),
            truncated: Vec::new(),
        };
        match &self.place {
            Place::Files(files) => {
                self.open_files(files, config, prompt).map_err(|source| Error::model(&self.name, source))
            }
            Place::External(command) => {
                let generation =
                    serde_json::to_value(config).ok().and_then(|value| value.as_object().cloned());
                let options = ExternalOptions::default();
                let generator = ExternalGenerator::open(command, generation.unwrap_or_default(), options)
                    .map_err(|source| Error::model(&self.name, source))?;
                Ok(opened(Box::new(generator), "external process", "its own numbers"))
            }
            Place::Fake => Ok(opened(Box::new(fake::FakeGenerator), "cpu", "f32")),
        }
    }

    /// Opens a scorer or a judge by name, to run where `config` says. All-black pictures have no reward under any.
    ///
    /// # Errors
    /// Where there is no such scorer, or it cannot be opened.
    pub fn open_scorer(&self, name: &str, config: &GenerationConfig) -> Result<Box<dyn Scorer>> {
        Ok(Box::new(Screened::new(self.open_unscreened(name, config)?)))
    }

    fn open_unscreened(&self, name: &str, config: &GenerationConfig) -> Result<Box<dyn Scorer>> {
        if let Some(command) = name.strip_prefix(EXTERNAL) {
            let scorer = ExternalScorer::open(command, ExternalOptions::default())
                .map_err(|source| Error::reward(name, source))?;
            return Ok(Box::new(scorer));
        }
        match (&self.place, name) {
            (Place::Fake, fake::NAME) => return Ok(Box::new(fake::FakeScorer)),
            (Place::Fake, fake::FLAT) => return Ok(Box::new(fake::FakeFlat)),
            (Place::Fake, fake::RED) => return Ok(Box::new(fake::FakeRed)),
            (Place::Fake, fake::JUDGE) => return Ok(Box::new(fake::FakeJudge)),
            _ => {}
        }
        let failed = |source| Error::reward(name, source);
        let recommended = self.recommended()?;
        match (&self.place, name, recommended.default_scorer, recommended.default_judge) {
            (Place::Files(files), CLIP_SCORE, Some(folder), _) => {
                let scorer = ClipScore::open(files, &folder, ClipVariant::default(), &placement(config)?);
                return Ok(Box::new(scorer.map_err(failed)?));
            }
            (Place::Files(files), JUDGE, _, Some(folder)) => {
                return Ok(Box::new(SceneJudge::open(files, &folder, &placement(config)?).map_err(failed)?));
            }
            _ => {}
        }
        let (scorer, folder) =
            name.split_once(':').map_or((name, None), |(scorer, folder)| (scorer, Some(folder)));
        let info = ScorerInfo::named(scorer).ok_or_else(|| self.no_such_reward(scorer))?;
        let files = folder.map(ModelFiles::find).transpose().map_err(|source| Error::reward(name, source))?;
        info.open(files.as_ref(), &placement(config)?).map_err(failed)
    }

    /// One sentence about words of `prompt` that the model does not know.
    pub fn unknown_words_warning(&self, prompt: &str) -> Option<String> {
        match &self.place {
            Place::Files(files) => words::unknown_words_warning(files, prompt),
            Place::External(_) | Place::Fake => None,
        }
    }

    /// SHA-256 over the model's files, or over the commit where the hub names their content by one; of no files where
    /// the model has none that we can see.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        Ok(self.hashes()?.model)
    }

    /// The hashes of the model's files, each read once; without those of single files where the hub names them all by
    /// a commit.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn hashes(&self) -> Result<ModelHashes> {
        let (mut model, mut weights) = (FolderHash::new(), BTreeMap::new());
        let Place::Files(files) = &self.place else {
            return Ok(ModelHashes { model: model.finish(), weights });
        };
        if let Some(commit) = files.commit() {
            let added = model.add("commit", commit.len() as u64, commit.as_bytes());
            added.map_err(|source| Error::Read { path: self.name.clone().into(), source })?;
            return Ok(ModelHashes { model: model.finish(), weights });
        }
        let Some(folder) = files.folder() else {
            let known = embedded::WEIGHTS.iter().map(|(path, own)| ((*path).to_owned(), (*own).to_owned()));
            return Ok(ModelHashes { model: embedded::SHA256.to_owned(), weights: known.collect() });
        };
        for relative in files_below(folder, "")? {
            let path = folder.join(&relative);
            let added = File::open(&path).and_then(|file| model.add(&relative, file.metadata()?.len(), file));
            let own = added.map_err(|source| Error::Read { path, source })?;
            if is_weights(&relative) {
                weights.insert(relative, own);
            }
        }
        Ok(ModelHashes { model: model.finish(), weights })
    }

    fn recommended(&self) -> Result<Recommended> {
        match &self.place {
            Place::Files(files) if files.contains(RECOMMENDED) => {
                files.read_json(RECOMMENDED).map_err(|source| Error::model(&self.name, source))
            }
            _ => Ok(Recommended::default()),
        }
    }

    fn open_files(
        &self,
        files: &ModelFiles,
        config: &GenerationConfig,
        prompt: &str,
    ) -> noisefind_diffusion::Result<OpenModel> {
        let load = LoadOptions {
            device: config.device.parse()?,
            dtype: config.dtype.parse()?,
            loras: config.lora.iter().map(|lora| lora.parse()).collect::<noisefind_diffusion::Result<_>>()?,
            vae: config.vae.clone(),
        };
        let options = GenerationOptions {
            num_inference_steps: config.num_inference_steps,
            guidance_scale: config.guidance_scale as f32,
            eta: config.eta as f32,
            negative_prompt: config.negative_prompt.clone(),
            clip_skip: config.clip_skip,
            scheduler: config.scheduler.as_deref().map(str::parse).transpose()?,
            height: config.height,
            width: config.width,
            // Whoever asks for pictures hands over as many noises as are to be computed together.
            batch_size: usize::MAX,
        };
        let model = DiffusionModel::open(files.clone(), &load)?;
        let placement = model.placement();
        let device = match load.device.to_string().as_str() {
            "auto" if placement.device == DeviceChoice::Cpu.open()? => "cpu".to_owned(),
            named => named.to_owned(),
        };
        let dtype = format!("{:?}", placement.dtype).to_lowercase();
        let mut generator = DiffusionGenerator::new(model, options)?;
        let truncated = generator.prepare(prompt)?.truncated().to_vec();
        Ok(OpenModel { generator: Box::new(generator), device, dtype, truncated })
    }

    fn no_such_reward(&self, name: &str) -> Error {
        let known = SCORERS.iter().map(|scorer| scorer.name).collect::<Vec<_>>();
        let closest = known.iter().find(|known| strsim::jaro_winkler(known, name) > 0.85);
        let guess = closest.map(|known| format!(", did you mean {known}?")).unwrap_or_default();
        let reason = format!(
            "there is no reward {name:?}{guess}; known are {} and {EXTERNAL}COMMAND",
            known.join(", ")
        );
        Error::Usage(reason)
    }
}

/// Where scorers run: where the model does.
fn placement(config: &GenerationConfig) -> Result<Placement> {
    let open = || Placement::open(config.device.parse()?, config.dtype.parse()?);
    open().map_err(|source: noisefind_diffusion::Error| Error::Usage(source.to_string()))
}

/// A model or scorer by name, and whether it can be used now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readiness {
    /// As for `--model` or `--reward`.
    pub name: String,
    /// Whether everything it needs is there.
    pub ready: bool,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Where models can run: what this program was built for and finds.
pub fn devices() -> Vec<String> {
    let known = [
        DeviceChoice::Cpu,
        DeviceChoice::Cuda(0),
        DeviceChoice::Rocm,
        DeviceChoice::Vulkan,
        DeviceChoice::Metal,
        DeviceChoice::WebGpu,
    ];
    known.into_iter().filter(|device| device.open().is_ok()).map(|device| device.to_string()).collect()
}

impl Readiness {
    /// The default model, or the one that the user named.
    pub fn of_model(source: &Result<ModelSource>, name: &str) -> Self {
        let found = source.as_ref().map_err(ToString::to_string).and_then(|source| match source.report() {
            Ok(report) if report.problems.is_empty() => Ok(()),
            Ok(report) => Err(report.problems.join("; ")),
            Err(error) => Err(error.to_string()),
        });
        Self { name: name.to_owned(), ready: found.is_ok(), missing: found.err() }
    }

    /// Every scorer, as far as it can be told without the folder that some need.
    ///
    /// # Errors
    /// Where the model's recommendations cannot be read.
    pub fn of_scorers(source: &ModelSource, config: &GenerationConfig) -> Result<Vec<Self>> {
        let ModelDefaults { reward, judge, .. } = source.defaults()?;
        let own = reward.into_iter().chain(judge).collect::<Vec<_>>();
        let others = SCORERS.iter().filter(|scorer| !own.iter().any(|name| name == scorer.name));
        let others = others.map(|scorer| Self {
            name: scorer.name.to_owned(),
            ready: scorer.files.is_empty(),
            missing: (!scorer.files.is_empty()).then(|| {
                format!(
                    "give {}:DIR, a folder with {} ({})",
                    scorer.name,
                    scorer.files.join(", "),
                    scorer.source
                )
            }),
        });
        let opened = own.iter().map(|name| {
            let opened = source.open_scorer(name, config);
            Self {
                name: name.clone(),
                ready: opened.is_ok(),
                missing: opened.err().map(|error| error.to_string()),
            }
        });
        Ok(opened.chain(others).collect())
    }
}

/// The files below `folder` that count, sorted, with `/` between the parts.
fn files_below(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path(), &format!("{relative}/"))?);
        } else if counts(&relative) {
            files.push(relative);
        }
    }
    files.sort();
    Ok(files)
}

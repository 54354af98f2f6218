//! Models, scorers and judges by name.

use std::path::Path;

use noisefind_core::ports::Generator;
use noisefind_diffusion::model_index::ModelIndex;
use noisefind_diffusion::scheduler::SchedulerChoice;
use noisefind_diffusion::{
    Decoding, DeviceChoice, DiffusionGenerator, DiffusionModel, GenerationOptions, LoadOptions, ModelFiles,
    TextLength, single_file,
};
use noisefind_external::ExternalGenerator;
use serde::Deserialize;

use crate::config::{GenerationConfig, ModelDefaults};
use crate::error::{Error, Result};
use crate::models::external::{EXTERNAL, timeouts};
use crate::models::hashes::ModelHashes;
use crate::models::memory::MemoryNeed;
use crate::models::test_double::{self, TestDouble};
use crate::models::{embedded, vocabulary};

/// Where a model folder may say what its makers recommend.
const RECOMMENDED: &str = "noisefind.json";

/// The scorer that comes with a model: cosine of image and prompt under a CLIP model.
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
    /// A folder, one file, a model of the hub, or the files inside the program.
    Files(ModelFiles),
    /// The command of a process.
    External(String),
    /// A model for tests.
    TestDouble(&'static TestDouble),
}

/// A model that is ready to generate.
pub struct OpenModel {
    /// The frozen model.
    pub generator: Box<dyn Generator>,
    /// Where it runs.
    pub device: String,
    /// In which numbers it computes.
    pub dtype: String,
    /// Ends of the prompt that did not fit into the text encoder.
    pub truncated: Vec<String>,
    /// What was changed about the model while it was opened, as diffusers' pipelines change it.
    pub notes: Vec<String>,
    /// Rewards that the model's program recommends, as it wrote them.
    pub default_rewards: Vec<String>,
    /// What it needs of this machine's memory; `None` where it computes elsewhere or does not say.
    pub memory: Option<MemoryNeed>,
}

/// What the names of models begin with that only a process outside of this one can run.
pub const OUTSIDE: &str = "python:";

/// `noisefind.json` of a model folder: what the makers of the model recommend. Every key is optional.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Recommended {
    /// Name of the scorer whose weights lie in `default_scorer`; absent: `clip-score`.
    default_reward: Option<String>,
    /// Folder of the weights of the default reward.
    pub(crate) default_scorer: Option<String>,
    /// Folder of the `CLIPModel` for scorers of that kind, where the default reward is of another.
    pub(crate) default_clip: Option<String>,
    /// Value of the default reward that images which show the prompt usually reach.
    success_reward: Option<f64>,
    /// Folder of the judge.
    pub(crate) default_judge: Option<String>,
    /// Folder of the model whose files complete this one's, relative to this one's.
    base: Option<String>,
    /// How it generates, by the keys of config files.
    #[serde(flatten)]
    generation: GenerationConfig,
}

/// The files of a folder, of one file or of a model of the hub; a folder that names a base is completed by it.
fn completed(name: &str, config_from: Option<&str>) -> noisefind_diffusion::Result<ModelFiles> {
    let files = single_file::find(name, config_from)?;
    let Some(folder) = files.folder().filter(|_| files.contains(RECOMMENDED)).map(Path::to_owned) else {
        return Ok(files);
    };
    match files.read_json::<Recommended>(RECOMMENDED)?.base {
        Some(base) => Ok(files.over(ModelFiles::directory(folder.join(base))?)),
        None => Ok(files),
    }
}

impl ModelSource {
    /// Finds the model that `config` names.
    ///
    /// # Errors
    /// As [`find`](Self::find), and where configs are given for a model that has its own.
    pub fn of(config: &GenerationConfig) -> Result<Self> {
        Self::with_configs(config.model(), config.config_from.as_deref())
    }

    /// Finds the model called `name`: a folder, one file, an id on the hub, `exec:COMMAND`, `emoji-64-turbo`, `emoji-64` or
    /// `emoji-64-video`.
    ///
    /// # Errors
    /// Where there is no such folder or file, it holds another kind of model, the hub does not give it, or this program does
    /// not carry the model.
    pub fn find(name: &str) -> Result<Self> {
        Self::with_configs(name, None)
    }

    fn with_configs(name: &str, config_from: Option<&str>) -> Result<Self> {
        if name.starts_with(OUTSIDE) {
            return Err(Error::Usage(format!(
                "model {name} is a pipeline of a Python program, which has to run to use it; \
                 noisefind.tune(pipe, ..., out=RUN, resume=True) goes on with its run"
            )));
        }
        if let Some(from) = config_from.filter(|_| !Path::new(name).is_file()) {
            let reason = format!(
                "--config-from is {from}, expected a --model that is one file; {name} has its own configs"
            );
            return Err(Error::Usage(reason));
        }
        let place = if let Some(double) = test_double::find(name) {
            Place::TestDouble(double)
        } else if embedded::is_name(name) {
            Place::Files(embedded::files(name)?)
        } else if let Some(command) = name.strip_prefix(EXTERNAL) {
            Place::External(command.to_owned())
        } else {
            Place::Files(completed(name, config_from).map_err(|source| Error::model(name, source))?)
        };
        Ok(Self { name: name.to_owned(), place })
    }

    /// What the model wants where the user said nothing.
    ///
    /// # Errors
    /// Where the model's recommendations cannot be read.
    pub fn defaults(&self) -> Result<ModelDefaults> {
        if let Place::TestDouble(double) = self.place {
            let (reward, judge) = (Some(double.reward.to_owned()), Some(double.judge.to_owned()));
            let generation = steps_and_guidance(1, 1.0);
            return Ok(ModelDefaults { generation, reward, judge, success_reward: None });
        }
        let recommended = self.recommended()?;
        let index = match &self.place {
            Place::Files(files) => ModelIndex::read(files).ok(),
            Place::External(_) | Place::TestDouble(_) => None,
        };
        let (steps, guidance) = index.map_or((50, 7.5), |index| index.default_steps_and_guidance());
        // A model may be given away without its judge.
        let there = |folder: Option<String>| match &self.place {
            Place::Files(files) => folder.filter(|folder| files.contains(&format!("{folder}/config.json"))),
            Place::External(_) | Place::TestDouble(_) => None,
        };
        let default_reward = recommended.default_reward;
        Ok(ModelDefaults {
            generation: recommended.generation.or(steps_and_guidance(steps, guidance)),
            reward: there(recommended.default_scorer)
                .map(|_| default_reward.unwrap_or_else(|| CLIP_SCORE.to_owned())),
            judge: there(recommended.default_judge).map(|_| JUDGE.to_owned()),
            success_reward: recommended.success_reward,
        })
    }

    /// Opens the model to generate `prompt`.
    ///
    /// # Errors
    /// Where a file is missing or damaged, or the device is not there.
    pub fn open(&self, config: &GenerationConfig, prompt: &str) -> Result<OpenModel> {
        let opened = |generator: Box<dyn Generator>, device: &str, dtype: &str| OpenModel {
            generator,
            device: device.to_owned(),
            dtype: dtype.to_owned(),
            truncated: Vec::new(),
            notes: Vec::new(),
            default_rewards: Vec::new(),
            memory: None,
        };
        match &self.place {
            Place::Files(files) => {
                self.open_files(files, config, prompt).map_err(|source| Error::model(&self.name, source))
            }
            Place::External(command) => {
                let generator =
                    ExternalGenerator::open(command, config.external(), timeouts(&config.loading))
                        .map_err(|source| Error::model(&self.name, source))?;
                let default_rewards = generator.default_rewards().to_vec();
                let opened = opened(Box::new(generator), "external process", "its own numbers");
                Ok(OpenModel { default_rewards, ..opened })
            }
            Place::TestDouble(double) => Ok(opened((double.generator)(), "cpu", "f32")),
        }
    }

    /// Whether the model is a program, which says what it recommends when it is started.
    pub fn is_program(&self) -> bool {
        matches!(self.place, Place::External(_))
    }

    /// What the user should know about how the model was found and about `prompt`: words that the model does not know, ends
    /// that it does not read, and what was repaired about the model.
    pub fn prompt_warnings(&self, opened: &OpenModel, prompt: &str) -> Vec<String> {
        let (notes, unknown) = match &self.place {
            Place::Files(files) => (files.notes(), vocabulary::unknown_words_warning(files, prompt)),
            Place::External(_) | Place::TestDouble(_) => (&[][..], None),
        };
        let truncated = opened.truncated.iter().map(|end| {
            format!(
                "the prompt is too long for the model, which does not read {end:?}; --long-prompt reads all"
            )
        });
        let repaired = opened.notes.iter().cloned();
        notes.iter().cloned().chain(unknown).chain(truncated).chain(repaired).collect()
    }

    /// SHA-256 over the model's files, or over the commit where the hub names their content by one; of no files where
    /// the model has none that we can see.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        Ok(self.hashes()?.model)
    }

    /// The hashes of the model's files, each read once.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn hashes(&self) -> Result<ModelHashes> {
        match &self.place {
            Place::Files(files) => ModelHashes::of(files),
            Place::External(_) | Place::TestDouble(_) => Ok(ModelHashes::of_none()),
        }
    }

    pub(crate) fn recommended(&self) -> Result<Recommended> {
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
        let loras = config.lora.iter().flatten();
        let load = LoadOptions {
            device: config.loading.device.as_deref().unwrap_or("auto").parse()?,
            dtype: config.loading.dtype.as_deref().unwrap_or("auto").parse()?,
            loras: loras.map(|lora| lora.parse()).collect::<noisefind_diffusion::Result<_>>()?,
            embeddings: config
                .embedding
                .iter()
                .flatten()
                .map(|file| file.parse())
                .collect::<noisefind_diffusion::Result<_>>()?,
            vae: config.vae.clone(),
            motion_adapter: config.motion_adapter.clone(),
            decoding: if config.vae_tiling.unwrap_or_default() { Decoding::Tiled } else { Decoding::Whole },
        };
        let options = GenerationOptions {
            num_inference_steps: config.num_inference_steps.unwrap_or_default(),
            guidance_scale: config.guidance_scale.unwrap_or_default() as f32,
            eta: config.eta.unwrap_or_default() as f32,
            negative_prompt: config.negative_prompt.clone(),
            text_length: match config.long_prompt {
                Some(true) => TextLength::Chunks,
                _ => TextLength::Truncated,
            },
            clip_skip: config.clip_skip.unwrap_or_default(),
            scheduler: config.scheduler.as_deref().map(str::parse).transpose()?,
            height: config.height,
            width: config.width,
            num_frames: config.num_frames,
            fps: config.fps,
            // Whoever asks for images hands over as many noises as are to be computed together.
            batch_size: usize::MAX,
        };
        DiffusionModel::check(files, &load, &options)?;
        let model = DiffusionModel::open(files.clone(), &load)?;
        let placement = model.placement();
        let device = match load.device.to_string().as_str() {
            "auto" if placement.device == DeviceChoice::Cpu.open()? => "cpu".to_owned(),
            named => named.to_owned(),
        };
        let dtype = format!("{:?}", placement.dtype).to_lowercase();
        let notes = model.notes().to_vec();
        let mut generator = DiffusionGenerator::new(model, options)?;
        let truncated = generator.prepare(prompt)?.truncated().to_vec();
        let shape = generator.noise_shape();
        let memory = (device == "cpu").then(|| MemoryNeed {
            working_bytes: generator.model().working_bytes(shape, 1),
            media_bytes: generator.model().media_bytes(shape),
            noise_bytes: 4 * shape.numel() as u64,
        });
        let (generator, default_rewards) = (Box::new(generator), Vec::new());
        Ok(OpenModel { generator, device, dtype, truncated, notes, default_rewards, memory })
    }
}

pub(crate) fn steps_and_guidance(steps: usize, guidance: f64) -> GenerationConfig {
    GenerationConfig {
        num_inference_steps: Some(steps),
        guidance_scale: Some(guidance),
        ..GenerationConfig::default()
    }
}

/// Every name that stands for a scheduler.
pub fn scheduler_names() -> impl Iterator<Item = &'static str> {
    SchedulerChoice::names()
}

//! Model, scorer and judge of one run, opened together and checked before anything is written.

use std::path::Path;

use noisefind_core::noise::NoiseShape;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::run::StopReason;
use noisefind_core::statistics::mean;
use noisefind_rewards::{Part, Standard, Weighted};
use noisefind_rundir::Provenance;

use crate::config::reward::{RewardScale, RewardTerm, sum_name};
use crate::config::{TuneConfig, TuneOptions};
use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arms, Comparison, Cost, ScorerNames};
use crate::evaluate::draw::{Sampler, fresh_seeds};
use crate::machine;
use crate::models::hashes::{ModelHashes, ScorerHashes, scorer_hashes};
use crate::models::registry::{ModelSource, OpenModel};
use crate::observer::Observer;
use crate::record::{Environment, PartRecord};

/// Everything that a run works with.
pub struct Session {
    /// Every value of the run.
    pub config: TuneConfig,
    /// Where the model is.
    pub source: ModelSource,
    /// Its files, hashed.
    pub hashes: ModelHashes,
    /// The weights of scorers that were given files of their own, hashed.
    pub scorer_hashes: ScorerHashes,
    /// The model.
    pub model: OpenModel,
    /// What is climbed.
    pub reward: Weighted,
    /// What is never climbed; none where the model brings none.
    pub judge: Option<Box<dyn Scorer>>,
    /// What is measured at every step and never climbed.
    pub watched: Vec<Box<dyn Scorer>>,
}

impl Session {
    /// Opens what `options` name; `answers` is where a run keeps what programs answered.
    ///
    /// # Errors
    /// Where a value is out of range, or the model, the scorer or the judge cannot be opened.
    pub fn open(options: &TuneOptions, answers: Option<&Path>) -> Result<Self> {
        let source = ModelSource::find(options.model_name())?;
        // A program that is started to be asked which rewards it recommends stays, because it may load gigabytes.
        let mut running = None;
        let config = options.resolve_asking(&source.defaults()?, |config| {
            if !source.is_program() {
                return Ok(Vec::new());
            }
            let model = running.insert(source.open(&config.generation, &config.prompt)?);
            source.recommended_rewards(model)
        })?;
        let open = |name: &str| source.open_scorer(name, &config.generation, answers);
        let reward = open_reward(&config, &|name| match (&running, open(name)) {
            (Some(_), Err(error)) => Err(source.recommends(name, error)),
            (_, opened) => opened,
        })?;
        let watched = config.watch.iter().map(|name| open(name)).collect::<Result<_>>()?;
        let judge = config.judge.as_deref().map(&open).transpose()?;
        let model = match running {
            Some(model) => model,
            None => source.open(&config.generation, &config.prompt)?,
        };
        let (hashes, scorer_hashes) = (source.hashes()?, scorer_hashes(&config)?);
        Ok(Self { config, source, hashes, scorer_hashes, model, reward, judge, watched })
    }

    /// Says what the user should know about the prompt.
    pub fn warn(&self, observer: &mut dyn Observer) {
        self.source
            .prompt_warnings(&self.model, &self.config.prompt)
            .iter()
            .for_each(|warning| observer.warned(warning));
    }

    /// What the run depends on that is no setting.
    pub fn environment(&self) -> Environment {
        Environment {
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: machine::git_commit(),
            started: jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .map_or_else(|_| String::new(), |now| now.to_string()),
            device: self.model.device.clone(),
            dtype: self.model.dtype.clone(),
            threads: machine::threads(),
            platform: machine::platform(),
            instruction_sets: machine::instruction_sets(),
            kernels: machine::kernels(),
            model_sha256: self.hashes.model.clone(),
            weights_sha256: self.hashes.weights.clone(),
            scorers_sha256: self.scorer_hashes.clone(),
        }
    }

    /// Shape of the noise that the model takes.
    pub fn noise_shape(&self) -> NoiseShape {
        self.model.generator.noise_shape()
    }

    /// What the value network sees of the prompt.
    ///
    /// # Errors
    /// Whatever the text encoder reports.
    pub fn prompt_embedding(&mut self) -> Result<Vec<f32>> {
        let embedding = self.model.generator.prompt_embedding(&self.config.prompt);
        Ok(embedding.map_err(noisefind_core::Error::Generator)?)
    }

    /// Uses what was measured when a saved run began; `None` where that was not yet.
    ///
    /// # Errors
    /// Where the number of standards is not that of the rewards.
    pub fn use_standards(&mut self, standards: Option<Vec<Standard>>) -> Result<()> {
        let name = sum_name(&self.config.reward);
        match standards {
            Some(standards) => {
                self.reward.set_standards(standards).map_err(|source| Error::reward(&name, source))
            }
            None => Ok(()),
        }
    }

    /// What the run depends on to go on with the same rewards.
    pub fn standards(&self) -> Option<Vec<Standard>> {
        self.reward.standards().map(<[Standard]>::to_vec)
    }

    /// What the parts of a reward of several said of the pictures that were scored last.
    pub fn part_records(&self) -> Vec<PartRecord> {
        let parts = self.reward.parts().iter().zip(self.reward.last());
        let record = |(part, rewards): (&Part, &Vec<Reward>)| {
            let rewards = rewards.iter().map(Reward::given).collect::<Vec<_>>();
            let given = rewards.iter().flatten().copied().collect::<Vec<_>>();
            let reward_mean = (!given.is_empty()).then(|| mean(&given));
            PartRecord { scorer: part.scorer.name().to_owned(), rewards, reward_mean }
        };
        if parts.len() == 1 { Vec::new() } else { parts.map(record).collect() }
    }

    /// Where a policy of this run comes from.
    pub fn provenance(&self, kl_nats: f64, evaluations: usize, stop_reason: StopReason) -> Provenance {
        let TuneConfig { generation, run, .. } = &self.config;
        Provenance {
            format: Provenance::FORMAT.to_owned(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            prompt: self.config.prompt.clone(),
            negative_prompt: generation.negative_prompt.clone(),
            model: generation.model.clone(),
            model_sha256: self.hashes.model.clone(),
            noise_shape: self.noise_shape().dims(),
            num_inference_steps: generation.num_inference_steps,
            guidance_scale: generation.guidance_scale,
            eta: generation.eta,
            scheduler: generation.scheduler.clone(),
            height: generation.height,
            width: generation.width,
            num_frames: generation.num_frames,
            fps: generation.fps,
            motion_adapter: generation.motion_adapter.clone(),
            lora: generation.lora.clone(),
            vae: generation.vae.clone(),
            vae_tiling: generation.vae_tiling,
            clip_skip: generation.clip_skip,
            method: self.config.method.name().to_owned(),
            seed: run.seed,
            evaluations,
            stop_reason: stop_reason.name().to_owned(),
            reward: sum_name(&self.config.reward),
            kl_nats,
        }
    }

    /// Draws base and tuned pictures from the same seeds and compares them; `None` where the observer
    /// interrupted.
    ///
    /// # Errors
    /// Whatever the model or a scorer reports.
    pub fn compare(
        &mut self,
        policy: &NoisePolicy,
        seeds: &[u64],
        cost: Cost,
        observer: &mut dyn Observer,
    ) -> Result<Option<Arms>> {
        let mut sampler = self.sampler();
        let total = 2 * seeds.len();
        let base = sampler.draw(&NoisePolicy::standard(policy.shape()), seeds, (0, total), observer)?;
        let tuned = sampler.draw(policy, seeds, (seeds.len(), total), observer)?;
        if base.seeds.len() + tuned.seeds.len() < total {
            return Ok(None);
        }
        let names = ScorerNames {
            reward: sum_name(&self.config.reward),
            parts: self.reward.parts().iter().map(|part| part.scorer.name().to_owned()).collect(),
            watched: self.watched.iter().map(|scorer| scorer.name().to_owned()).collect(),
            judge: self.config.judge.clone(),
        };
        let comparison = Comparison::new(&self.config.prompt, names, &base, &tuned, cost);
        Ok(Some(Arms { base, tuned, comparison }))
    }

    /// The model with its scorer and judge.
    pub fn sampler(&mut self) -> Sampler<'_> {
        Sampler {
            generator: &mut *self.model.generator,
            reward: Some(&mut self.reward),
            judge: self.judge.as_deref_mut(),
            watched: &mut self.watched,
            source: self.config.run.noise_rng,
            prompt: &self.config.prompt,
            batch_size: self.config.generation_batch,
            keep_latents: false,
        }
    }

    /// The seeds of the run's own final comparison.
    pub fn fresh_seeds(&self) -> Vec<u64> {
        fresh_seeds(self.config.run.seed, self.config.samples)
    }
}

/// The weighted sum of what is climbed.
fn open_reward(config: &TuneConfig, open: &dyn Fn(&str) -> Result<Box<dyn Scorer>>) -> Result<Weighted> {
    let part = |term: &RewardTerm| Ok(Part { scorer: open(&term.scorer)?, weight: term.weight });
    let parts = config.reward.iter().map(part).collect::<Result<Vec<_>>>()?;
    let sum = if is_standardised(config) { Weighted::standardised(parts) } else { Weighted::raw(parts) };
    sum.map_err(|source| Error::reward(&sum_name(&config.reward), source))
}

/// Whether rewards are measured in spreads of the model as it is; one scorer alone keeps its own units.
fn is_standardised(config: &TuneConfig) -> bool {
    let alone = matches!(config.reward.as_slice(), [RewardTerm { weight: 1.0, .. }]);
    config.reward_scale == RewardScale::Standardised && !alone
}

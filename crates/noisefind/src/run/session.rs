//! Model, scorer and judge of one run, opened together and checked before anything is written.

use std::path::Path;

use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::rng::NoiseSource;
use noisefind_core::rollout::{Rollout, Scores, default_generation_batch};
use noisefind_core::run::StopReason;
use noisefind_core::statistics::{BaseStatistics, mean};
use noisefind_core::threshold::verification_threshold;
use noisefind_rewards::{RewardSum, Term};
use noisefind_rundir::Provenance;

use crate::config::reward::{RewardScale, RewardTerm, has_one_plain_reward, sum_name};
use crate::config::{TuneConfig, TuneOptions};
use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arms, Comparison, Cost, ScorerNames};
use crate::evaluate::evaluator::{Evaluator, Journal, fresh_seeds, noise_of};
use crate::models::hashes::{ModelHashes, ScorerHashes, scorer_hashes};
use crate::models::memory::Held;
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
    /// The scorers that are optimised.
    pub scorers: Vec<Box<dyn Scorer>>,
    /// Makes one reward of theirs.
    pub reward: RewardSum,
    /// The judge, which is never optimised; none where the model brings none.
    pub judge: Option<Box<dyn Scorer>>,
    /// The held-out scorers, which are measured at every step and never optimised.
    pub held_out: Vec<Box<dyn Scorer>>,
}

impl Session {
    /// Opens what `options` name; `answers` is where a run keeps what programs answered.
    ///
    /// # Errors
    /// Where a value is out of range, or the model, the scorer or the judge cannot be opened.
    pub fn open(options: &TuneOptions, answers: Option<&Path>) -> Result<Self> {
        let source = ModelSource::of(&options.generation)?;
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
        let (scorers, reward) = open_rewards(&config, &|name| match (&running, open(name)) {
            (Some(_), Err(error)) => Err(source.recommends(name, error)),
            (_, opened) => opened,
        })?;
        let held_out = config.holdout.iter().map(|name| open(name)).collect::<Result<_>>()?;
        let judge = config.judge.as_deref().map(&open).transpose()?;
        let model = match running {
            Some(model) => model,
            None => source.open(&config.generation, &config.prompt)?,
        };
        check_frames(&source.name, &model, scorers.iter().chain(&held_out).chain(&judge))?;
        if let Some(memory) = model.memory {
            memory.check(Held {
                generation_batch: generation_batch(&config, model.generator.noise_shape()),
                // Both rows of the final comparison, and a step.
                media: 2 * u64::from(config.samples) + config.run.batch_size as u64,
                noises: config.run.batch_size as u64,
            })?;
        }
        let (hashes, scorer_hashes) = (source.hashes()?, scorer_hashes(&config)?);
        Ok(Self { config, source, hashes, scorer_hashes, model, scorers, reward, judge, held_out })
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
        let now = Environment::now(&self.model.device, &self.model.dtype, &self.hashes);
        Environment { scorers_sha256: self.scorer_hashes.clone(), ..now }
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

    /// Uses the base statistics that were measured when a saved run began; `None` where that was not yet.
    ///
    /// # Errors
    /// Where their number is not that of the rewards.
    pub fn use_base(&mut self, base: Option<Vec<BaseStatistics>>) -> Result<()> {
        let Some(base) = base else { return Ok(()) };
        let name = sum_name(&self.config.reward);
        self.reward.set_base(base).map_err(|source| Error::reward(&name, source))
    }

    /// What each term of a reward of several said of the samples of a step; none of one scorer alone.
    pub(crate) fn part_records(&self, samples: &[Scores]) -> Vec<PartRecord> {
        let terms = self.reward.terms();
        if terms.len() == 1 {
            return Vec::new();
        }
        let record = |(at, term): (usize, &Term)| {
            let rewards: Vec<Option<f64>> =
                samples.iter().map(|scores| scores.rewards.get(at).and_then(Reward::given)).collect();
            let given: Vec<f64> = rewards.iter().flatten().copied().collect();
            let reward_mean = (!given.is_empty()).then(|| mean(&given));
            PartRecord { scorer: term.scorer.clone(), rewards, reward_mean }
        };
        terms.iter().enumerate().map(record).collect()
    }

    /// Where a policy of this run comes from; `rewards` are those that tell what it reaches, in order.
    pub fn provenance(
        &self,
        kl_nats: f64,
        evaluations: usize,
        stop_reason: StopReason,
        rewards: &[f64],
    ) -> Provenance {
        let shape = self.noise_shape();
        let of_run = provenance(&self.config, shape, kl_nats, evaluations, stop_reason, rewards);
        Provenance { model_sha256: self.hashes.model.clone(), ..of_run }
    }

    /// Generates and scores base and tuned samples from the same seeds and compares them; `journals` know and record the
    /// samples of each arm. `None` where the observer interrupted.
    ///
    /// # Errors
    /// Whatever the model, a scorer or a journal reports.
    pub(crate) fn compare(
        &mut self,
        policy: &NoisePolicy,
        seeds: &[u64],
        cost: Cost,
        observer: &mut dyn Observer,
        [base_journal, tuned_journal]: [&mut dyn Journal; 2],
    ) -> Result<Option<Arms>> {
        let (standard, total) = (NoisePolicy::standard(policy.shape()), 2 * seeds.len());
        let mut evaluator = self.evaluator();
        let noises = |policy: &NoisePolicy, source: NoiseSource| -> Vec<Noise> {
            seeds.iter().map(|seed| noise_of(policy, source, *seed)).collect()
        };
        let source = evaluator.source;
        let base = noises(&standard, source);
        let base = evaluator.evaluate_recorded(base, (0, total), observer, base_journal)?;
        let tuned = noises(policy, source);
        let tuned = evaluator.evaluate_recorded(tuned, (seeds.len(), total), observer, tuned_journal)?;
        if base.seeds.len() + tuned.seeds.len() < total {
            return Ok(None);
        }
        let names = ScorerNames {
            reward: sum_name(&self.config.reward),
            parts: self.reward.terms().iter().map(|term| term.scorer.clone()).collect(),
            held_out: self.held_out.iter().map(|scorer| scorer.name().to_owned()).collect(),
            judge: self.config.judge.clone(),
        };
        let comparison = Comparison::new(&self.config.prompt, names, &base, &tuned, cost);
        Ok(Some(Arms { base, tuned, comparison }))
    }

    /// The model with its scorers and judge.
    pub fn evaluator(&mut self) -> Evaluator<'_> {
        let generation_batch = self.generation_batch();
        let mut rollout = Rollout::new(&self.config.prompt, &mut *self.model.generator);
        rollout.rewards = borrowed(&mut self.scorers);
        rollout.held_out = borrowed(&mut self.held_out);
        rollout.judge = self.judge.as_deref_mut().map(|judge| judge as &mut dyn Scorer);
        rollout.generation_batch = generation_batch;
        Evaluator { rollout, reward: Some(&self.reward), source: self.config.run.noise_rng }
    }

    /// Noises that the model gets at once.
    pub(crate) fn generation_batch(&self) -> usize {
        generation_batch(&self.config, self.noise_shape())
    }

    /// The seeds of the run's own final comparison.
    pub fn fresh_seeds(&self) -> Vec<u64> {
        fresh_seeds(self.config.run.seed, self.config.samples)
    }
}

/// Where a policy comes from that was tuned with `config` on a model whose files are unknown; `rewards` are those that
/// tell what it reaches, in order.
pub(crate) fn provenance(
    config: &TuneConfig,
    shape: NoiseShape,
    kl_nats: f64,
    evaluations: usize,
    stop_reason: StopReason,
    rewards: &[f64],
) -> Provenance {
    let TuneConfig { generation, run, .. } = config;
    Provenance {
        format: Provenance::FORMAT.to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        prompt: config.prompt.clone(),
        model: generation.model().to_owned(),
        model_sha256: ModelHashes::of_none().model,
        noise_shape: shape.dims(),
        generation: generation.provenance(),
        method: config.method.name().to_owned(),
        seed: run.seed,
        evaluations,
        stop_reason: stop_reason.name().to_owned(),
        reward: sum_name(&config.reward),
        kl_nats,
        // The file holds no base statistics, so a standardised sum cannot be computed again from it.
        threshold: verification_threshold(rewards, config.method.success_reward())
            .filter(|_| has_one_plain_reward(&config.reward)),
    }
}

fn generation_batch(config: &TuneConfig, shape: NoiseShape) -> usize {
    config.generation.loading.generation_batch.unwrap_or_else(|| default_generation_batch(shape))
}

/// Scorers as a rollout takes them.
pub(crate) fn borrowed(scorers: &mut [Box<dyn Scorer>]) -> Vec<&mut dyn Scorer> {
    scorers.iter_mut().map(|scorer| &mut **scorer as &mut dyn Scorer).collect()
}

/// Refuses scorers of clips for a model of images, before anything is generated in vain.
fn check_frames<'a>(
    name: &str,
    model: &OpenModel,
    mut scorers: impl Iterator<Item = &'a Box<dyn Scorer>>,
) -> Result<()> {
    // Models that compress time give more frames than their noise has; one without frames gives an image.
    let frames = model.generator.noise_shape().frames.unwrap_or(1);
    let Some(scorer) = scorers.find(|scorer| frames == 1 && scorer.min_frames() > 1) else { return Ok(()) };
    let (scorer, least) = (scorer.name(), scorer.min_frames());
    Err(Error::Usage(format!(
        "scorer {scorer} takes clips of at least {least} frames, and model {name} generates one frame; give a model of \
         clips with --num-frames {least} or more, or another scorer"
    )))
}

/// The scorers that are optimised, and the sum of their rewards.
fn open_rewards(
    config: &TuneConfig,
    open: &dyn Fn(&str) -> Result<Box<dyn Scorer>>,
) -> Result<(Vec<Box<dyn Scorer>>, RewardSum)> {
    let scorers = config.reward.iter().map(|term| open(&term.scorer)).collect::<Result<Vec<_>>>()?;
    let names = scorers.iter().map(|scorer| scorer.name().to_owned());
    let term = |(scorer, term): (String, &RewardTerm)| Term { scorer, weight: term.weight };
    let terms = names.zip(&config.reward).map(term).collect();
    let sum = if is_standardised(config) { RewardSum::standardised(terms) } else { RewardSum::raw(terms) };
    Ok((scorers, sum.map_err(|source| Error::reward(&sum_name(&config.reward), source))?))
}

/// Whether rewards are measured in spreads of the model as it is; one scorer alone keeps its own units.
fn is_standardised(config: &TuneConfig) -> bool {
    config.reward_scale == RewardScale::Standardised && !has_one_plain_reward(&config.reward)
}

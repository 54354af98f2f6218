//! The frozen model with everything that looks at its images, opened once for all prompts.

use anyhow::{Context, Result};
use clap::Args;
use noisefind::config::GenerationConfig;
use noisefind::core::policy::NoisePolicy;
use noisefind::core::ports::Scorer;
use noisefind::core::rng::NoiseSource;
use noisefind::core::rollout::Rollout;
use noisefind::evaluator::{Evaluated, Evaluator};
use noisefind::registry::{ModelSource, OpenModel};
use noisefind_rewards::{RewardSum, Term};

/// Images handed to the model at once.
pub const GENERATION_BATCH: usize = 16;

/// Which model, and who looks at it.
#[derive(Args, Clone)]
pub struct WorkbenchArgs {
    /// Model folder in the diffusers layout, or emoji-64, which ships with noisefind
    #[arg(long, default_value = "emoji-64")]
    model: String,
    /// Scorer to optimise [default: the model's own]
    #[arg(long)]
    reward: Option<String>,
    /// Scorer that tells success, 1 or 0; never optimised [default: the model's own, if it has one]
    #[arg(long)]
    judge: Option<String>,
    /// Held-out scorer: recorded, never optimised; repeatable
    #[arg(long, value_name = "NAME")]
    holdout: Vec<String>,
    /// Denoising steps an image [default: the model's own]
    #[arg(long)]
    num_inference_steps: Option<usize>,
    /// Classifier-free guidance [default: the model's own]
    #[arg(long)]
    guidance_scale: Option<f64>,
    /// Threads that the model uses [default: all]
    #[arg(long)]
    threads: Option<usize>,
}

/// The opened model, scorer, judge and held-out scorers.
pub struct Workbench {
    /// The frozen model.
    pub model: OpenModel,
    /// What is optimised.
    pub scorer: Box<dyn Scorer>,
    /// Value of it that images which show the prompt usually reach, where the model tells.
    pub success_reward: Option<f64>,
    /// Its reward alone.
    reward: RewardSum,
    judge: Option<Box<dyn Scorer>>,
    held_out: Vec<Box<dyn Scorer>>,
    /// SHA-256 over the model's files, so that records of different models are not mixed.
    pub model_sha256: String,
}

impl WorkbenchArgs {
    /// The model as it was asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Opens everything; sets the number of threads of the whole program.
    pub fn open(&self) -> Result<Workbench> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("--threads")?;
        }
        let config = GenerationConfig {
            num_inference_steps: self.num_inference_steps,
            guidance_scale: self.guidance_scale,
            ..GenerationConfig::of_model(&self.model)
        };
        let source = ModelSource::find(&self.model)?;
        let defaults = source.defaults()?;
        let generation = config.resolve(defaults.generation.clone())?;
        let open = |name: &String| source.open_scorer(name, &generation, None);
        let success_reward = defaults.success_reward.filter(|_| self.reward.is_none());
        let reward =
            self.reward.clone().or(defaults.reward).context("the model has no scorer: give --reward")?;
        let scorer = open(&reward)?;
        Ok(Workbench {
            reward: RewardSum::raw(vec![Term { scorer: scorer.name().to_owned(), weight: 1.0 }])?,
            scorer,
            success_reward,
            judge: self.judge.clone().or(defaults.judge).as_ref().map(open).transpose()?,
            held_out: self.holdout.iter().map(open).collect::<noisefind::Result<_>>()?,
            model: source.open(&generation, "")?,
            model_sha256: source.sha256()?,
        })
    }
}

impl Workbench {
    /// Names of the held-out scorers, in the order of what they say.
    pub fn held_out(&self) -> impl Iterator<Item = &str> {
        self.held_out.iter().map(|scorer| scorer.name())
    }

    /// Generates one sample a seed from `policy` and shows it to every scorer.
    pub fn look(&mut self, prompt: &str, policy: &NoisePolicy, seeds: &[u64]) -> Result<Evaluated> {
        let mut evaluator = self.evaluator(prompt);
        Ok(evaluator.sample(policy, seeds, (0, seeds.len()), &mut ())?)
    }

    /// The model with the scorer that is optimised, and no other.
    pub fn learner<'a>(&'a mut self, prompt: &'a str) -> Rollout<'a> {
        let mut rollout = Rollout::new(prompt, &mut *self.model.generator);
        rollout.rewards.push(&mut *self.scorer);
        rollout
    }

    /// The model with everything that looks at its samples.
    pub fn evaluator<'a>(&'a mut self, prompt: &'a str) -> Evaluator<'a> {
        let mut rollout = Rollout::new(prompt, &mut *self.model.generator);
        rollout.rewards.push(&mut *self.scorer);
        rollout.judge = self.judge.as_deref_mut().map(|judge| judge as &mut dyn Scorer);
        rollout.held_out = self.held_out.iter_mut().map(|scorer| &mut **scorer as &mut dyn Scorer).collect();
        rollout.generation_batch = GENERATION_BATCH;
        Evaluator { rollout, reward: Some(&self.reward), source: NoiseSource::Philox }
    }
}

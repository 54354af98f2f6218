//! Model, scorer and judge of one run, opened together and checked before anything is written.

use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::Scorer;

use crate::comparison::{Comparison, Cost};
use crate::config::{TuneConfig, TuneOptions};
use crate::draw::{Drawn, Sampler, fresh_seeds};
use crate::error::Result;
use crate::machine;
use crate::observer::Observer;
use crate::record::Environment;
use crate::registry::{ModelSource, OpenModel};

/// Everything that a run works with.
pub struct Session {
    /// Every value of the run.
    pub config: TuneConfig,
    /// Where the model is.
    pub source: ModelSource,
    /// Its weights, hashed.
    pub model_sha256: String,
    /// The model.
    pub model: OpenModel,
    /// What is climbed.
    pub scorer: Box<dyn Scorer>,
    /// What is never climbed; none where the model brings none.
    pub judge: Option<Box<dyn Scorer>>,
}

/// Both arms of a comparison.
pub struct Arms {
    /// Noise from N(0, I).
    pub base: Drawn,
    /// The same seeds under the policy.
    pub tuned: Drawn,
    /// What the numbers say.
    pub comparison: Comparison,
}

impl Session {
    /// Opens what `options` name.
    ///
    /// # Errors
    /// Where a value is out of range, or the model, the scorer or the judge cannot be opened.
    pub fn open(options: &TuneOptions) -> Result<Self> {
        let source = ModelSource::find(options.model_name())?;
        let config = options.resolve(&source.defaults()?)?;
        let scorer = source.open_scorer(&config.reward, &config.generation)?;
        let judge = config.judge.as_deref();
        let judge = judge.map(|name| source.open_scorer(name, &config.generation)).transpose()?;
        let model = source.open(&config.generation, &config.prompt)?;
        let model_sha256 = source.sha256()?;
        Ok(Self { config, source, model_sha256, model, scorer, judge })
    }

    /// Says what the user should know about the prompt.
    pub fn warn(&self, observer: &mut dyn Observer) {
        warn_about_prompt(&self.source, &self.model, &self.config.prompt, observer);
    }

    /// What the run depends on that is no setting.
    pub fn environment(&self) -> Environment {
        Environment {
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.model.device.clone(),
            dtype: self.model.dtype.clone(),
            threads: machine::threads(),
            platform: machine::platform(),
            instruction_sets: machine::instruction_sets(),
            model_sha256: self.model_sha256.clone(),
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
        let mut sampler = Sampler {
            generator: &mut *self.model.generator,
            scorer: Some(&mut *self.scorer),
            judge: self.judge.as_mut().map(|judge| &mut **judge as &mut dyn Scorer),
            source: self.config.run.noise_rng,
            prompt: &self.config.prompt,
            batch_size: self.config.run.generation_batch,
        };
        let total = 2 * seeds.len();
        let base = sampler.draw(&NoisePolicy::standard(policy.shape()), seeds, (0, total), observer)?;
        let tuned = sampler.draw(policy, seeds, (seeds.len(), total), observer)?;
        if base.seeds.len() + tuned.seeds.len() < total {
            return Ok(None);
        }
        let judge = self.config.judge.as_deref();
        let comparison =
            Comparison::new(&self.config.prompt, &self.config.reward, judge, &base, &tuned, cost);
        Ok(Some(Arms { base, tuned, comparison }))
    }

    /// The seeds of the run's own final comparison.
    pub fn fresh_seeds(&self) -> Vec<u64> {
        fresh_seeds(self.config.run.seed, self.config.samples)
    }
}

/// Says which words the model does not know and which it does not read.
pub fn warn_about_prompt(source: &ModelSource, model: &OpenModel, prompt: &str, observer: &mut dyn Observer) {
    if let Some(warning) = source.unknown_words_warning(prompt) {
        observer.warned(&warning);
    }
    for end in &model.truncated {
        observer.warned(&format!("the prompt is too long for the model, which does not read {end:?}"));
    }
}

//! One step of the method, in seven statements; the caller owns the loop.

use crate::diagnostics;
use crate::error::{Error, Result};
use crate::evaluation::{Batch, Evaluation};
use crate::media::Media;
use crate::method::Update;
use crate::noise::Noise;
use crate::policy::NoisePolicy;
use crate::ports::{Generator, Reward, Scorer};
use crate::record::{StepRecord, missing_reasons};
use crate::run::Run;
use crate::statistics::{mean, standard_deviation};

/// What a step gives back: its figures, its samples and what they look like, in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The figures.
    pub record: StepRecord,
    /// Noise and reward of each sample.
    pub evaluations: Vec<Evaluation>,
    /// Picture or clip of each sample.
    pub media: Vec<Media>,
}

/// Draws, generates and scores one batch and lets the method learn from it.
///
/// # Errors
/// Where the generator or the scorer fails or answers with the wrong number of things; the run is then as it
/// was before and the step can be tried again.
pub fn step(
    run: &mut Run,
    prompt: &str,
    generator: &mut dyn Generator,
    scorer: &mut dyn Scorer,
) -> Result<Step> {
    let noises = run.ask();
    let media = generate(run, prompt, generator, &noises)?;
    let batch = score(run, prompt, scorer, noises, &media)?;
    let expected = run.calibrate(&batch);
    let advantages = run.advantages(&expected);
    let (before, update) = (run.policy().clone(), run.tell(&advantages)?);
    Ok(Step {
        record: record(run, &batch, &expected, &before, update),
        evaluations: batch.evaluations,
        media,
    })
}

/// Generates all noises, a generation batch at a time.
fn generate(run: &Run, prompt: &str, generator: &mut dyn Generator, noises: &[Noise]) -> Result<Vec<Media>> {
    if generator.noise_shape() != run.shape() {
        let (expected, found) = (run.shape().dims(), generator.noise_shape().dims());
        return Err(Error::NoiseShape { expected, found });
    }
    let mut media = Vec::with_capacity(noises.len());
    for part in noises.chunks(run.config().generation_batch) {
        let drawn = generator.generate(prompt, part).map_err(Error::Generator)?;
        if drawn.len() != part.len() {
            let (expected, found) = (part.len(), drawn.len());
            return Err(Error::Count { port: "the generator".into(), things: "media", expected, found });
        }
        media.extend(drawn);
    }
    Ok(media)
}

/// Scores all media and joins every noise with its own reward for good.
fn score(
    run: &Run,
    prompt: &str,
    scorer: &mut dyn Scorer,
    noises: Vec<Noise>,
    media: &[Media],
) -> Result<Batch> {
    let rewards = scorer
        .score(prompt, media)
        .map_err(|source| Error::Scorer { name: scorer.name().to_owned(), source })?;
    if rewards.len() != noises.len() {
        let (port, expected, found) = (format!("scorer {}", scorer.name()), noises.len(), rewards.len());
        return Err(Error::Count { port, things: "rewards", expected, found });
    }
    // A scorer may hand over a NaN as if it were given; from here on a given reward is a finite number.
    let finite = rewards.into_iter().map(|reward| reward.given().map_or(reward.clone(), Reward::from_number));
    let evaluations =
        noises.into_iter().zip(finite).map(|(noise, reward)| Evaluation { noise, reward }).collect();
    Ok(Batch { iteration: run.progress().iteration, policy: run.policy().clone(), evaluations })
}

fn record(run: &Run, batch: &Batch, expected: &[f64], before: &NoisePolicy, update: Update) -> StepRecord {
    let (progress, policy) = (run.progress(), run.policy());
    let rewards: Vec<Option<f64>> = batch.evaluations.iter().map(|one| one.reward.given()).collect();
    let given = batch.given_rewards();
    let some = |value: f64| (!given.is_empty()).then_some(value);
    let in_base_sigmas = |(base, spread): (f64, f64)| (spread > 0.0).then(|| (mean(&given) - base) / spread);
    let missing_reasons = missing_reasons(batch.evaluations.iter().map(|one| &one.reward));
    let warnings = diagnostics::warnings(run.config(), progress, &rewards, &missing_reasons, update.updated);
    let dimensions = policy.shape().numel().max(1) as f64;
    let sigmas: Vec<f64> = policy.sigma().iter().map(|&sigma| f64::from(sigma)).collect();
    StepRecord {
        iteration: batch.iteration,
        evaluations: progress.evaluations,
        reward_mean: some(mean(&given)),
        reward_std: some(standard_deviation(&given)),
        reward_min: given.iter().copied().reduce(f64::min),
        reward_max: given.iter().copied().reduce(f64::max),
        reward_base_sigmas: progress.base.and_then(in_base_sigmas).filter(|_| !given.is_empty()),
        reward_smoothed: progress.level.map(|level| level.mean),
        best_reward: progress.kept.first().map(|&(_, reward)| reward),
        missing: rewards.len() - given.len(),
        missing_reasons,
        expected_reward: (!expected.is_empty()).then(|| mean(&expected[expected.len() - given.len()..])),
        updated: update.updated,
        kl_nats: policy.kl_nats(),
        mean_norm: policy.mean_norm(),
        mean_rms: policy.mean_norm() / dimensions.sqrt(),
        sigma_mean: mean(&sigmas),
        step_norm: policy.distance_from(before),
        effective_sample_size: update.effective_sample_size,
        explained_share: progress.explained.share(),
        warnings,
        rewards,
    }
}

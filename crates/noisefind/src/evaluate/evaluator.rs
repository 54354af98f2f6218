//! Generating and scoring outside of tuning: one 64-bit seed a sample, one sample at a time.

use std::ops::ControlFlow;

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::Reward;
use noisefind_core::rng::{Domain, NoiseSource, Stream};
use noisefind_core::rollout::{Rollout, Sample};
use noisefind_rewards::RewardSum;

use crate::error::{Error, Result};
use crate::observer::Observer;

/// Samples with their seeds and rewards, in the same order; fewer than asked for where the user interrupted.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// What was generated.
    pub media: Vec<Media>,
    /// The final latents of each, where they were asked for.
    pub latents: Vec<Vec<f32>>,
    /// The seed of each.
    pub seeds: Vec<u64>,
    /// Its reward, where a reward was given.
    pub rewards: Vec<Reward>,
    /// What each term of the reward said of it, term by term.
    pub parts: Vec<Vec<Reward>>,
    /// Its judgement, where a judge was given.
    pub judgements: Vec<Reward>,
    /// What each held-out scorer said of it, scorer by scorer.
    pub held_out: Vec<Vec<Reward>>,
}

/// A rollout with the sum of its rewards.
pub struct Evaluator<'a> {
    /// Generates and scores.
    pub rollout: Rollout<'a>,
    /// Makes one reward of several; `None` where there are none.
    pub reward: Option<&'a RewardSum>,
    /// Generator of the noises.
    pub source: NoiseSource,
}

/// Where finished samples are recorded, and looked up before they are generated.
pub(crate) trait Journal {
    /// The sample of `noise` as an earlier process left it.
    fn known(&mut self, noise: &Noise) -> Result<Option<Sample>>;

    /// Takes in a finished sample and its reward, before the next is scored.
    fn record(&mut self, sample: &Sample, reward: Option<&Reward>) -> Result<()>;
}

/// Records nothing.
impl Journal for () {
    fn known(&mut self, _noise: &Noise) -> Result<Option<Sample>> {
        Ok(None)
    }

    fn record(&mut self, _sample: &Sample, _reward: Option<&Reward>) -> Result<()> {
        Ok(())
    }
}

/// The seeds of `count` fresh samples for a run: the same in every comparison of the run, and never a noise
/// that it was tuned on, because fresh noises come from streams of their own.
pub fn fresh_seeds(run_seed: u64, count: u32) -> Vec<u64> {
    let mut stream = Stream::new(SampleKey::fresh(run_seed, u32::MAX), Domain::EvaluationNoise);
    // Ten digits are enough to be disjoint from small numbers that people type, and still readable.
    let first = 1_000_000_000 + stream.next_u64() % 8_000_000_000;
    (first..).take(count as usize).collect()
}

/// The noise of the sample `seed` under `policy`.
pub fn noise_of(policy: &NoisePolicy, source: NoiseSource, seed: u64) -> Noise {
    policy.sample(source, SampleKey::fresh(seed, 0))
}

impl Evaluator<'_> {
    /// Generates and scores one sample a seed; the observer hears of them as `done` and more of `total`.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn sample(
        &mut self,
        policy: &NoisePolicy,
        seeds: &[u64],
        counted: (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Evaluated> {
        let noises = seeds.iter().map(|seed| noise_of(policy, self.source, *seed)).collect();
        self.evaluate(noises, counted, observer)
    }

    /// Generates and scores one sample a noise; the observer hears of them as `done` and more of `total`.
    ///
    /// # Errors
    /// Whatever the generator or a scorer reports, or where one returns another number of things than asked for.
    pub fn evaluate(
        &mut self,
        noises: Vec<Noise>,
        counted: (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Evaluated> {
        self.evaluate_recorded(noises, counted, observer, &mut ())
    }

    /// As [`evaluate`](Self::evaluate), with a journal that already knows some of the samples.
    pub(crate) fn evaluate_recorded(
        &mut self,
        noises: Vec<Noise>,
        (mut done, total): (usize, usize),
        observer: &mut dyn Observer,
        journal: &mut dyn Journal,
    ) -> Result<Evaluated> {
        let mut samples: Vec<Option<Sample>> = Vec::with_capacity(noises.len());
        let mut pending = Vec::new();
        for noise in noises {
            let known = journal.known(&noise)?;
            match &known {
                Some(_) => done += 1,
                None => pending.push(noise),
            }
            samples.push(known);
        }
        observer.generated(done, total);
        let mut gaps: Vec<usize> = (0..samples.len()).filter(|&at| samples[at].is_none()).rev().collect();
        if !observer.interrupted() {
            let reward = self.reward;
            self.rollout.run(pending, |sample| {
                let reward = reward.map(|sum| sum.reward(&sample.scores.rewards));
                journal.record(&sample, reward.as_ref())?;
                observer.sampled(sample.noise.key, &sample.media, reward.as_ref());
                done += 1;
                observer.generated(done, total);
                // Samples come in the order of their noises.
                if let Some(at) = gaps.pop() {
                    samples[at] = Some(sample);
                }
                let is_over = observer.interrupted();
                Ok::<_, Error>(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        Ok(self.columns(samples.into_iter().flatten()))
    }

    /// The samples with what was said of them, column by column.
    pub(crate) fn columns(&self, samples: impl Iterator<Item = Sample>) -> Evaluated {
        let mut all = Evaluated {
            parts: vec![Vec::new(); self.rollout.rewards.len()],
            held_out: vec![Vec::new(); self.rollout.held_out.len()],
            ..Evaluated::default()
        };
        for sample in samples {
            let scores = sample.scores;
            all.rewards.extend(self.reward.map(|sum| sum.reward(&scores.rewards)));
            all.parts.iter_mut().zip(scores.rewards).for_each(|(part, reward)| part.push(reward));
            all.held_out.iter_mut().zip(scores.held_out).for_each(|(one, reward)| one.push(reward));
            all.judgements.extend(scores.judgement);
            all.latents.extend(sample.latents);
            all.seeds.push(sample.noise.key.seed);
            all.media.push(sample.media);
        }
        all
    }
}

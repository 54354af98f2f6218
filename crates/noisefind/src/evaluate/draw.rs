//! Drawing pictures outside of tuning: one 64-bit seed a picture, in batches that can be interrupted.

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Generator, Reward, Scorer};
use noisefind_core::rng::{Domain, NoiseSource, Stream};
use noisefind_rewards::Weighted;

use crate::error::Result;
use crate::observer::Observer;

/// Pictures with their seeds and rewards; fewer than asked for where the user interrupted.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// What was drawn, one a seed.
    pub media: Vec<Media>,
    /// The final latents of each, where they were asked for.
    pub latents: Vec<Vec<f32>>,
    /// The seed of each.
    pub seeds: Vec<u64>,
    /// Its reward, where a scorer was given.
    pub rewards: Vec<Reward>,
    /// What each part of the reward said of it, part by part.
    pub parts: Vec<Vec<Reward>>,
    /// Its judgement, where a judge was given.
    pub judgements: Vec<Reward>,
    /// What each held-out scorer said of it, scorer by scorer.
    pub watched: Vec<Vec<Reward>>,
}

/// A generator with those who look at its pictures.
pub struct Sampler<'a> {
    /// Draws.
    pub generator: &'a mut dyn Generator,
    /// Gives the rewards.
    pub reward: Option<&'a mut Weighted>,
    /// Gives the judgements.
    pub judge: Option<&'a mut (dyn Scorer + 'static)>,
    /// Say what is recorded only.
    pub watched: &'a mut [Box<dyn Scorer>],
    /// Where the noise comes from.
    pub source: NoiseSource,
    /// What should be drawn.
    pub prompt: &'a str,
    /// Pictures between two looks at the observer.
    pub batch_size: usize,
    /// Whether to keep final latents, which not every model shows.
    pub keep_latents: bool,
}

/// The seeds of `count` fresh pictures for a run: the same in every comparison of the run, and never a noise
/// that it was tuned on, because fresh noises come from streams of their own.
pub fn fresh_seeds(run_seed: u64, count: u32) -> Vec<u64> {
    let mut stream = Stream::new(SampleKey::fresh(run_seed, u32::MAX), Domain::EvaluationNoise);
    // Ten digits are enough to be disjoint from small numbers that people type, and still readable.
    let first = 1_000_000_000 + stream.next_u64() % 8_000_000_000;
    (first..).take(count as usize).collect()
}

/// The noise of the picture `seed` under `policy`.
pub fn noise_of(policy: &NoisePolicy, source: NoiseSource, seed: u64) -> Noise {
    policy.sample(source, SampleKey::fresh(seed, 0))
}

impl Sampler<'_> {
    /// Draws and scores one picture a seed; the observer hears of them as `done` and more of `total`.
    ///
    /// # Errors
    /// As [`Self::draw_noises`].
    pub fn draw(
        &mut self,
        policy: &NoisePolicy,
        seeds: &[u64],
        counted: (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Drawn> {
        let noises = seeds.iter().map(|seed| noise_of(policy, self.source, *seed)).collect::<Vec<_>>();
        self.draw_noises(&noises, counted, observer)
    }

    /// Draws and scores one picture a noise; the observer hears of them as `done` and more of `total`.
    ///
    /// # Errors
    /// Whatever the generator or a scorer reports, or where one returns another number of things than asked for.
    pub fn draw_noises(
        &mut self,
        noises: &[Noise],
        (done, total): (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Drawn> {
        let mut drawn = Drawn { watched: vec![Vec::new(); self.watched.len()], ..Drawn::default() };
        observer.drawn(done, total);
        for noises in noises.chunks(self.batch_size.max(1)) {
            if observer.interrupted() {
                break;
            }
            let media = self.generate(noises, &mut drawn.latents)?;
            if let Some(reward) = &mut self.reward {
                drawn.rewards.extend(score(&mut **reward, self.prompt, &media)?);
                drawn.parts.resize(reward.last().len(), Vec::new());
                drawn.parts.iter_mut().zip(reward.last()).for_each(|(all, new)| all.extend_from_slice(new));
            }
            if let Some(judge) = &mut self.judge {
                drawn.judgements.extend(score(&mut **judge, self.prompt, &media)?);
            }
            for (all, scorer) in drawn.watched.iter_mut().zip(&mut *self.watched) {
                all.extend(score(&mut **scorer, self.prompt, &media)?);
            }
            drawn.media.extend(media);
            drawn.seeds.extend(noises.iter().map(|noise| noise.key.seed));
            observer.drawn(done + drawn.seeds.len(), total);
        }
        Ok(drawn)
    }

    fn generate(&mut self, noises: &[Noise], latents: &mut Vec<Vec<f32>>) -> Result<Vec<Media>> {
        let media = if self.keep_latents {
            let pairs = self.generator.generate_with_latents(self.prompt, noises);
            pairs.map(|pairs| {
                let (media, newest): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                latents.extend(newest);
                media
            })
        } else {
            self.generator.generate(self.prompt, noises)
        };
        let media = media.map_err(noisefind_core::Error::Generator)?;
        counted_right("generator", "pictures", noises.len(), media.len())?;
        Ok(media)
    }
}

/// Scores `media` and makes sure that there is one reward each.
///
/// # Errors
/// Whatever the scorer reports.
pub fn score(scorer: &mut dyn Scorer, prompt: &str, media: &[Media]) -> Result<Vec<Reward>> {
    let rewards = scorer
        .score(prompt, media)
        .map_err(|source| noisefind_core::Error::Scorer { name: scorer.name().to_owned(), source })?;
    counted_right(scorer.name(), "rewards", media.len(), rewards.len())?;
    Ok(rewards)
}

fn counted_right(port: &str, things: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(noisefind_core::Error::Count { port: port.to_owned(), things, expected, found }.into())
}

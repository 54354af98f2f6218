//! The one way from noises to rewards: generate, score, hand over, one sample at a time.
//!
//! Tuning, sampling, comparing and measuring all go through here. Noises may be generated a few at once, because that
//! is faster for small models. Scoring is always sample by sample, and each finished sample is handed over before the
//! next is scored, so that the caller can record it, show it, save it or stop.

use std::ops::ControlFlow;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::media::Media;
use crate::noise::{Noise, NoiseShape};
use crate::ports::{Generator, Reward, Scorer};

/// Values of all noises that are generated at once where the caller says nothing: eight noises of 32x32x4, and one of
/// a model whose images take long enough that losing one matters.
const DEFAULT_BATCH_VALUES: usize = 8 * 32 * 32;
/// Most noises that are generated at once where the caller says nothing.
const LARGEST_DEFAULT_BATCH: usize = 8;

/// Longest batch that is generated ahead of the scores of the one before it: a stop waits for it and throws it away.
const LONGEST_WAIT_SECONDS: f64 = 2.0;

/// A generator with the scorers that see its media.
pub struct Rollout<'a> {
    /// What the media should show.
    pub prompt: &'a str,
    /// The frozen model.
    pub generator: &'a mut dyn Generator,
    /// The scorers that are optimised.
    pub rewards: Vec<&'a mut dyn Scorer>,
    /// The judge.
    pub judge: Option<&'a mut dyn Scorer>,
    /// The held-out scorers.
    pub held_out: Vec<&'a mut dyn Scorer>,
    /// Noises generated at once; changes memory and speed, never a result.
    pub generation_batch: usize,
    /// Whether to hand over final latents, which not every generator gives.
    pub with_latents: bool,
}

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it came from.
    pub noise: Noise,
    /// What was generated.
    pub media: Media,
    /// The final latents, in the shape of the noise, where they were asked for.
    pub latents: Option<Vec<f32>>,
    /// What the scorers say.
    pub scores: Scores,
}

/// What the scorers of a rollout say of one sample, in the order of the scorers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// One for each scorer that is optimised.
    pub rewards: Vec<Reward>,
    /// The judge's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Reward>,
    /// One for each held-out scorer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<Reward>,
}

/// Noises of `shape` to generate at once where the user says nothing: up to eight while they are small, one from
/// 8192 values on. A sample of such a model takes seconds to minutes, and a kill loses what was generated and not
/// scored.
pub fn default_generation_batch(shape: NoiseShape) -> usize {
    (DEFAULT_BATCH_VALUES / shape.numel().max(1)).clamp(1, LARGEST_DEFAULT_BATCH)
}

impl<'a> Rollout<'a> {
    /// A rollout without scorers.
    pub fn new(prompt: &'a str, generator: &'a mut dyn Generator) -> Self {
        let generation_batch = default_generation_batch(generator.noise_shape());
        Self {
            prompt,
            generator,
            rewards: Vec::new(),
            judge: None,
            held_out: Vec::new(),
            generation_batch,
            with_latents: false,
        }
    }

    /// Generates and scores a sample for each noise, in order; `each` gets every finished sample and decides whether to
    /// go on.
    ///
    /// While a batch is scored and handed over, the next is generated in another thread, where batches take so little
    /// time that who stops the rollout can wait for one.
    ///
    /// # Errors
    /// Where the generator takes noise of another shape, a port fails or answers with the wrong number of things, or
    /// `each` fails.
    pub fn run<E: From<Error>>(
        &mut self,
        noises: Vec<Noise>,
        mut each: impl FnMut(Sample) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        let Self { prompt, generator, rewards, judge, held_out, generation_batch, with_latents } = self;
        let request = Request { prompt, with_latents: *with_latents };
        let mut scorers = Scorers { prompt, rewards, judge, held_out };
        let mut left = noises.into_iter();
        let mut next_batch = || left.by_ref().take((*generation_batch).max(1)).collect::<Vec<Noise>>();
        let batch = next_batch();
        if batch.is_empty() {
            return Ok(());
        }
        thread::scope(|scope| {
            let mut generator = &mut **generator;
            let (mut current, mut seconds) = request.generate(generator, batch);
            loop {
                let generated = current?;
                let batch = next_batch();
                let ahead = if !batch.is_empty() && seconds <= LONGEST_WAIT_SECONDS {
                    Ahead::Started(scope.spawn(move || {
                        let generated = request.generate(generator, batch);
                        (generator, generated)
                    }))
                } else {
                    Ahead::Waiting(generator, batch)
                };
                for (noise, media, latents) in generated {
                    let scores = scorers.score(&media)?;
                    if each(Sample { noise, media, latents, scores })?.is_break() {
                        return Ok(());
                    }
                }
                let next = match ahead {
                    Ahead::Waiting(_, batch) if batch.is_empty() => return Ok(()),
                    Ahead::Waiting(generator, batch) => {
                        let generated = request.generate(generator, batch);
                        (generator, generated)
                    }
                    Ahead::Started(thread) => {
                        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    }
                };
                (generator, (current, seconds)) = next;
            }
        })
    }
}

/// A batch that is generated while the one before it is scored, or its noises, which wait.
enum Ahead<'scope, 'a, 'b> {
    Started(ScopedJoinHandle<'scope, (&'a mut (dyn Generator + 'b), Timed)>),
    Waiting(&'a mut (dyn Generator + 'b), Vec<Noise>),
}

/// What became of a batch, and the seconds that it took.
type Timed = (Result<Vec<Generated>>, f64);
/// A noise, what was generated from it, and the final latents where they were asked for.
type Generated = (Noise, Media, Option<Vec<f32>>);

/// What is asked of a generator beside noises.
#[derive(Clone, Copy)]
struct Request<'a> {
    prompt: &'a str,
    with_latents: bool,
}

impl Request<'_> {
    fn generate(self, generator: &mut dyn Generator, noises: Vec<Noise>) -> Timed {
        let started = Instant::now();
        let generated = self.generated(generator, noises);
        (generated, started.elapsed().as_secs_f64())
    }

    fn generated(self, generator: &mut dyn Generator, noises: Vec<Noise>) -> Result<Vec<Generated>> {
        let expected = generator.noise_shape();
        if let Some(other) = noises.iter().find(|noise| noise.shape() != expected) {
            return Err(Error::NoiseShape { expected: expected.dims(), found: other.shape().dims() });
        }
        let generated: Vec<_> = if self.with_latents {
            let pairs = generator.generate_with_latents(self.prompt, &noises).map_err(Error::Generator)?;
            pairs.into_iter().map(|(media, latents)| (media, Some(latents))).collect()
        } else {
            let media = generator.generate(self.prompt, &noises).map_err(Error::Generator)?;
            media.into_iter().map(|media| (media, None)).collect()
        };
        check_count("the generator", "media", noises.len(), generated.len())?;
        let joined = noises.into_iter().zip(generated);
        Ok(joined.map(|(noise, (media, latents))| (noise, media, latents)).collect())
    }
}

/// The scorers of a rollout.
struct Scorers<'a, 'b> {
    prompt: &'a str,
    rewards: &'a mut Vec<&'b mut dyn Scorer>,
    judge: &'a mut Option<&'b mut dyn Scorer>,
    held_out: &'a mut Vec<&'b mut dyn Scorer>,
}

impl Scorers<'_, '_> {
    fn score(&mut self, media: &Media) -> Result<Scores> {
        let prompt = self.prompt;
        let media = std::slice::from_ref(media);
        let all = |scorers: &mut [&mut dyn Scorer]| -> Result<Vec<Reward>> {
            let each = scorers.iter_mut().map(|scorer| score(&mut **scorer, prompt, media));
            Ok(each.collect::<Result<Vec<_>>>()?.concat())
        };
        Ok(Scores {
            rewards: all(self.rewards)?,
            judgement: all(self.judge.as_mut_slice())?.pop(),
            held_out: all(self.held_out)?,
        })
    }
}

/// Scores media that are there already, in the same order. A reward that is given is a finite number from here on.
///
/// # Errors
/// Where the scorer fails, or returns another number of rewards.
pub fn score(scorer: &mut dyn Scorer, prompt: &str, media: &[Media]) -> Result<Vec<Reward>> {
    let rewards = scorer
        .score(prompt, media)
        .map_err(|source| Error::Scorer { name: scorer.name().to_owned(), source })?;
    check_count(&format!("scorer {}", scorer.name()), "rewards", media.len(), rewards.len())?;
    let finite = |reward: Reward| match reward {
        Reward::Given(number) => Reward::from_number(scorer.name(), number),
        missing => missing,
    };
    Ok(rewards.into_iter().map(finite).collect())
}

fn check_count(port: &str, things: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Count { port: port.to_owned(), things, expected, found })
}

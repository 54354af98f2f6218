//! Verified sampling: a sample whose reward is below a threshold is generated again from another seed.

use noisefind_core::noise::Noise;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::rollout::Sample;
use noisefind_rewards::{RewardSum, Term};
use noisefind_rundir::Provenance;
use serde::Serialize;

use crate::config::GenerationConfig;
use crate::config::reward::RewardTerm;
use crate::error::{Error, Result};
use crate::evaluate::evaluator::{Evaluator, Journal, noise_of};
use crate::models::registry::ModelSource;
use crate::observer::Observer;

/// Tries of one sample at most.
pub const MOST_TRIES: u64 = 8;

/// More than the seeds of one request, and no multiple of a usual number of components.
const TRY_STRIDE: u64 = 1_000_001;

/// The seed of try `k`, counted from 0, of the sample with this seed.
pub fn seed_of_try(seed: u64, k: u64) -> u64 {
    seed.wrapping_add(k.wrapping_mul(TRY_STRIDE))
}

/// Every seed that may be tried for samples with `seeds`.
pub(crate) fn seeds_of_tries(seeds: &[u64]) -> impl Iterator<Item = u64> {
    (0..MOST_TRIES).flat_map(|k| seeds.iter().map(move |seed| seed_of_try(*seed, k)))
}

/// Which samples are generated again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verify {
    /// Those below the threshold in the policy file.
    PolicyThreshold,
    /// Those whose reward is below this.
    Threshold(f64),
}

/// What verification reached, and at which cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Reward that a sample has to reach.
    pub threshold: f64,
    /// Samples that were saved.
    pub samples: usize,
    /// Those that reach it.
    pub reached: usize,
    /// Images generated in all.
    pub generations: usize,
    /// Images generated for each sample that was saved.
    pub generations_per_image: f64,
}

impl Verify {
    /// The threshold for a policy of this provenance.
    ///
    /// # Errors
    /// Where the policy has none, or the number is not finite.
    pub(crate) fn threshold(self, policy: Option<&Provenance>) -> Result<f64> {
        let (threshold, culprit) = match (self, policy) {
            (Self::Threshold(threshold), _) => (Some(threshold), "the threshold of --verify is not finite"),
            (Self::PolicyThreshold, Some(policy)) => (
                policy.threshold,
                "--verify: the policy has no threshold, because it was tuned with several rewards, with equal ones \
                 or by an earlier program",
            ),
            (Self::PolicyThreshold, None) => (None, "--verify: without a policy there is no threshold"),
        };
        threshold
            .filter(|threshold| threshold.is_finite())
            .ok_or_else(|| Error::Usage(format!("{culprit}; give a reward, as in --verify=0.5")))
    }
}

/// The scorer that the policy was tuned with; without a policy, the model's own.
///
/// # Errors
/// Where there is none, it is a weighted sum, or it cannot be opened.
pub(crate) fn open_scorer(
    policy: Option<&Provenance>,
    source: &ModelSource,
    config: &GenerationConfig,
) -> Result<Box<dyn Scorer>> {
    let own = source.defaults()?.reward;
    let Some(name) = policy.map(|policy| policy.reward.clone()).or(own) else {
        return Err(Error::Usage("--verify needs a scorer, and the model brings none".to_owned()));
    };
    let is_plain = name.parse().is_ok_and(|term: RewardTerm| term.weight == 1.0 && !name.contains(" + "));
    if !is_plain {
        return Err(Error::Usage(format!(
            "--verify: the policy was tuned with the reward {name:?}, expected one scorer of weight 1"
        )));
    }
    source.open_scorer(&name, config, None)
}

/// The reward of `scorer` alone, in its own units.
///
/// # Errors
/// Where the scorer has no name.
pub(crate) fn reward_of(scorer: &dyn Scorer) -> Result<RewardSum> {
    let term = Term { scorer: scorer.name().to_owned(), weight: 1.0 };
    RewardSum::raw(vec![term]).map_err(|source| Error::reward(scorer.name(), source))
}

/// Generates a sample for each seed until its reward reaches `threshold`, at most [`MOST_TRIES`] times. What reaches it
/// is handed to `journal` at once, the best try of each other seed at the end; fewer where the observer interrupts.
///
/// # Errors
/// Whatever the generator, the scorer or the journal reports.
pub(crate) fn generate(
    evaluator: &mut Evaluator<'_>,
    policy: &NoisePolicy,
    seeds: &[u64],
    threshold: f64,
    observer: &mut dyn Observer,
    journal: &mut dyn Journal,
) -> Result<(Vec<Sample>, Verified)> {
    let mut best: Vec<Option<(f64, Sample)>> = vec![None; seeds.len()];
    let mut pending: Vec<usize> = (0..seeds.len()).collect();
    let mut generations = 0;
    for k in 0..MOST_TRIES {
        let seed = |at: usize| seed_of_try(seeds[at], k);
        let noises = pending.iter().map(|&at| noise_of(policy, evaluator.source, seed(at))).collect();
        let mut tries = Tries { threshold, journal, best: &mut best, pending: &pending, finished: 0 };
        evaluator.evaluate_recorded(
            noises,
            (seeds.len() - pending.len(), seeds.len()),
            observer,
            &mut tries,
        )?;
        generations += tries.finished;
        pending.retain(|&at| best[at].as_ref().is_none_or(|(reward, _)| *reward < threshold));
        if observer.interrupted() || pending.is_empty() {
            break;
        }
    }
    for (reward, sample) in pending.iter().filter_map(|&at| best[at].as_ref()) {
        journal.record(sample, Some(&Reward::Given(*reward)))?;
    }
    let samples: Vec<Sample> = best.into_iter().flatten().map(|(_, sample)| sample).collect();
    let verified = Verified {
        threshold,
        samples: samples.len(),
        reached: seeds.len() - pending.len(),
        generations,
        generations_per_image: generations as f64 / samples.len().max(1) as f64,
    };
    Ok((samples, verified))
}

/// One try of each pending sample. The best of each is kept; one without a reward is below every other.
struct Tries<'a> {
    threshold: f64,
    journal: &'a mut dyn Journal,
    best: &'a mut [Option<(f64, Sample)>],
    /// The seeds that are tried, in the order of the samples.
    pending: &'a [usize],
    finished: usize,
}

impl Journal for Tries<'_> {
    fn known(&mut self, _noise: &Noise) -> Result<Option<Sample>> {
        Ok(None)
    }

    fn record(&mut self, sample: &Sample, reward: Option<&Reward>) -> Result<()> {
        let value = reward.and_then(Reward::given).unwrap_or(f64::NEG_INFINITY);
        if value >= self.threshold {
            self.journal.record(sample, reward)?;
        }
        let best = &mut self.best[self.pending[self.finished]];
        if best.as_ref().is_none_or(|(highest, _)| value > *highest) {
            *best = Some((value, sample.clone()));
        }
        self.finished += 1;
        Ok(())
    }
}

//! The final comparison of a run whose samples another process evaluates.

use std::cell::RefCell;

use noisefind_core::noise::Noise;
use noisefind_core::policy::NoisePolicy;
use noisefind_core::rollout::{Sample, Scores};
use noisefind_rundir::RunReader;

use super::{Answer, AskTell};
use crate::artifacts::finish;
use crate::config::reward::sum_name;
use crate::error::{Error, Result};
use crate::evaluate::comparison::{Arms, Comparison, Cost, ScorerNames};
use crate::evaluate::evaluator::{Evaluated, Journal, fresh_seeds, noise_of};
use crate::images::read_frames;
use crate::record::Phase;
use crate::run::journal::{ArmJournal, line};

/// An arm of the final comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonArm {
    /// Noise from N(0, I).
    Base,
    /// The same seeds under the policy.
    Tuned,
}

impl ComparisonArm {
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Base => Phase::Base,
            Self::Tuned => Phase::Tuned,
        }
    }
}

impl AskTell {
    /// All noises of an arm of the comparison, one a seed.
    pub fn ask_comparison(&self, arm: ComparisonArm) -> Vec<Noise> {
        let standard = NoisePolicy::standard(self.shape());
        let policy = if arm == ComparisonArm::Base { &standard } else { self.policy() };
        let seeds = fresh_seeds(self.config.run.seed, self.config.samples);
        seeds.into_iter().map(|seed| noise_of(policy, self.config.run.noise_rng, seed)).collect()
    }

    /// Takes in answers for an arm of the comparison, each with its media and saved before the next.
    ///
    /// # Errors
    /// Where the run goes on, a key is not one of the arm's, an answer has no media or another number of held-out rewards
    /// than the config; or the disk fails.
    pub fn tell_comparison(&mut self, arm: ComparisonArm, answers: Vec<Answer>) -> Result<()> {
        self.finished()?;
        let noises = self.ask_comparison(arm);
        let step = self.step();
        for answer in answers {
            let noise = self.check(&answer, &noises, "the comparison")?;
            let Answer { key, reward, judgement, held_out, media } = answer;
            if self.is_known(Some(arm), key) {
                continue;
            }
            let Some(media) = media else {
                return Err(Error::Usage(format!(
                    "seed {} of the comparison was told without an image",
                    key.seed
                )));
            };
            let scores = Scores { rewards: vec![reward.clone()], judgement, held_out };
            let sample = Sample { noise, media, latents: None, scores };
            let elapsed_seconds = self.elapsed_seconds();
            let layout = self.writer.layout().clone();
            let mut journal = ArmJournal {
                phase: arm.phase(),
                step,
                journaled: &self.journaled,
                config: &self.config,
                layout: &layout,
                writer: &RefCell::new(&mut self.writer),
                elapsed_seconds: &|| elapsed_seconds,
            };
            journal.record(&sample, Some(&reward))?;
            self.journaled.push(line(arm.phase(), step, &sample, elapsed_seconds));
        }
        Ok(())
    }

    /// The comparison of a run that was compared.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn comparison(&self) -> Result<Option<Comparison>> {
        Ok(RunReader::open(self.root())?.json(&self.writer.layout().comparison())?)
    }

    /// Compares the arms and writes what tuning leaves of them: numbers, grid, curve, report.
    ///
    /// # Errors
    /// Where the run goes on, an answer of an arm is missing, or the disk fails.
    pub fn compare(&self) -> Result<Comparison> {
        self.finished()?;
        let base = self.evaluated(ComparisonArm::Base)?;
        let tuned = self.evaluated(ComparisonArm::Tuned)?;
        let names = ScorerNames {
            reward: sum_name(&self.config.reward),
            parts: vec![sum_name(&self.config.reward)],
            held_out: self.config.holdout.clone(),
            judge: self.config.judge.clone(),
        };
        let elapsed_seconds = self.metrics.last().map_or(0.0, |line| line.elapsed_seconds);
        let cost =
            Cost { kl_nats: self.policy().kl_nats(), evaluations: self.evaluations(), elapsed_seconds };
        let comparison = Comparison::new(&self.config.prompt, names, &base, &tuned, cost);
        let arms = Arms { base, tuned, comparison };
        let overview = finish::write(self.writer.layout(), &self.config, &self.metrics, &arms, &mut ())?;
        self.events.append(&overview.event(self.step(), elapsed_seconds))?;
        Ok(arms.comparison)
    }

    fn evaluated(&self, arm: ComparisonArm) -> Result<Evaluated> {
        let mut all = Evaluated {
            parts: vec![Vec::new()],
            held_out: vec![Vec::new(); self.config.holdout.len()],
            ..Evaluated::default()
        };
        for noise in self.ask_comparison(arm) {
            let (phase, seed) = (arm.phase(), noise.key.seed);
            let line = self.journaled.find(phase, self.step(), noise.key);
            let media = read_frames(&self.writer.layout().images(), &format!("{}-{seed}", phase.name()));
            let (Some(line), Some(media)) = (line, media) else {
                return Err(Error::Usage(format!(
                    "seed {seed} of the {} arm was not told yet",
                    phase.name()
                )));
            };
            all.rewards.extend(line.scores.rewards.first().cloned());
            all.parts[0].extend(line.scores.rewards.first().cloned());
            all.held_out.iter_mut().zip(&line.scores.held_out).for_each(|(one, new)| one.push(new.clone()));
            all.judgements.extend(line.scores.judgement.clone());
            all.seeds.push(seed);
            all.media.push(media);
        }
        Ok(all)
    }
}

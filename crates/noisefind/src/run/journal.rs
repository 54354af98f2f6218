//! The journal of a run: every sample is recorded before the next is scored, and none is scored twice.

use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::ports::Reward;
use noisefind_core::rollout::{Sample, Scores};
use noisefind_rundir::{Layout, RunReader, RunWriter};

use crate::config::TuneConfig;
use crate::config::reward::sum_name;
use crate::error::Result;
use crate::evaluate::evaluator::Journal;
use crate::images::{read_frames, save_frames};
use crate::record::{Phase, SampleLine};

/// The samples of `rewards.jsonl` that belong to the step or the comparison that an earlier process left unfinished.
#[derive(Debug, Default)]
pub(crate) struct Journaled {
    lines: Vec<SampleLine>,
}

impl Journaled {
    /// Those of a run folder in which `step` steps are saved.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub(crate) fn read(reader: &RunReader, step: u32) -> Result<Self> {
        let mut lines = reader.samples::<SampleLine>()?;
        lines.retain(|line| line.step == step);
        Ok(Self { lines })
    }

    /// The recorded sample of `key`.
    pub(crate) fn find(&self, phase: Phase, step: u32, key: SampleKey) -> Option<&SampleLine> {
        self.lines.iter().find(|line| (line.phase, line.step, line.key) == (phase, step, key))
    }

    /// Adds a line that was just recorded.
    pub(crate) fn push(&mut self, line: SampleLine) {
        self.lines.push(line);
    }

    /// How many samples of the unfinished step are there.
    pub(crate) fn tuning_samples(&self) -> usize {
        self.lines.iter().filter(|line| line.phase == Phase::Tuning).count()
    }

    /// Seconds of the run at the last sample.
    pub(crate) fn elapsed_seconds(&self) -> f64 {
        self.lines.last().map_or(0.0, |line| line.elapsed_seconds)
    }
}

/// One arm of the final comparison: its images and its lines in the journal.
pub(crate) struct ArmJournal<'a> {
    /// Which arm.
    pub phase: Phase,
    /// Steps that were saved.
    pub step: u32,
    /// What an earlier process left.
    pub journaled: &'a Journaled,
    /// The settings of the run.
    pub config: &'a TuneConfig,
    /// Where images go.
    pub layout: &'a Layout,
    /// Where lines go, shared by both arms.
    pub writer: &'a std::cell::RefCell<&'a mut RunWriter>,
    /// Seconds of the run so far.
    pub elapsed_seconds: &'a dyn Fn() -> f64,
}

impl ArmJournal<'_> {
    fn image_name(&self, key: SampleKey) -> String {
        format!("{}-{}", self.phase.name(), key.seed)
    }
}

impl Journal for ArmJournal<'_> {
    fn known(&mut self, noise: &Noise) -> Result<Option<Sample>> {
        let Some(line) = self.journaled.find(self.phase, self.step, noise.key) else { return Ok(None) };
        let media = read_frames(&self.layout.images(), &self.image_name(noise.key));
        Ok(media.map(|media| Sample {
            noise: noise.clone(),
            media: media.with_fps(line.fps),
            latents: None,
            scores: line.scores.clone(),
        }))
    }

    fn record(&mut self, sample: &Sample, reward: Option<&Reward>) -> Result<()> {
        let key = sample.noise.key;
        let mut texts = vec![
            ("prompt", self.config.prompt.clone()),
            ("seed", key.seed.to_string()),
            ("policy", self.phase.name().to_owned()),
            ("model", self.config.generation.model().to_owned()),
        ];
        if let Some(reward) = reward.and_then(Reward::given) {
            texts.push(("reward", format!("{} {reward}", sum_name(&self.config.reward))));
        }
        if let Some(judgement) = sample.scores.judgement.as_ref().and_then(Reward::given) {
            let judge = self.config.judge.as_deref().unwrap_or_default();
            texts.push(("judgement", format!("{judge} {judgement}")));
        }
        save_frames(&self.layout.images(), &self.image_name(key), &sample.media, &texts)?;
        let line = line(self.phase, self.step, sample, (self.elapsed_seconds)());
        Ok(self.writer.borrow_mut().save_sample(&line)?)
    }
}

/// The line of a finished sample.
pub(crate) fn line(phase: Phase, step: u32, sample: &Sample, elapsed_seconds: f64) -> SampleLine {
    let Sample { noise, media, scores, .. } = sample;
    SampleLine {
        phase,
        step,
        key: noise.key,
        scores: Scores::clone(scores),
        fps: media.fps(),
        elapsed_seconds,
    }
}

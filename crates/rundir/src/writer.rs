//! Writing a run: one process at a time, and after each step everything that is needed to go on.

use std::fs::{self, File};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::{names_in, remove_if_there, sweep_temporaries, sync_folder, write_atomic};
use crate::claim::{Claim, lock};
use crate::error::{Error, Result};
use crate::layout::{Layout, step_of};
use crate::lines::LineWriter;
use crate::policy::PolicyFile;
use crate::tensors::TensorFile;

/// What to do with a run that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfOccupied {
    /// Leave it alone and say so.
    Refuse,
    /// Remove the run (and nothing else that may lie in the folder) and start anew.
    Replace,
}

/// A run that is being written; holds the folder's lock until it is dropped or the process dies.
pub struct RunWriter {
    layout: Layout,
    metrics: LineWriter,
    rewards: LineWriter,
    _lock: Option<File>,
}

/// A run that goes on.
pub struct Resumed<M> {
    /// Where the next steps go.
    pub writer: RunWriter,
    /// The text of `config.toml`.
    pub config: String,
    /// The last step that was saved and its state; `None` where the run was killed before its first.
    pub checkpoint: Option<(u32, TensorFile<M>)>,
}

impl RunWriter {
    /// Starts a run in a folder that was claimed for it. `config.toml` is written last: from then on it is a run.
    ///
    /// # Errors
    /// Where the folder cannot be written; folders made for it are removed again.
    pub fn create(claim: Claim, config: &str, environment: &impl Serialize) -> Result<Self> {
        let layout = Layout::new(claim.root());
        match Self::fill(&layout, claim.if_occupied(), config, environment) {
            Ok([metrics, rewards]) => Ok(Self { layout, metrics, rewards, _lock: claim.keep() }),
            Err(error) => {
                claim.discard();
                Err(error)
            }
        }
    }

    fn fill(
        layout: &Layout,
        if_occupied: IfOccupied,
        config: &str,
        environment: &impl Serialize,
    ) -> Result<[LineWriter; 2]> {
        let root = layout.root();
        // Without its config the folder is no run any more, whenever a kill comes.
        for name in ["config.toml"].into_iter().chain(Layout::NAMES) {
            // What external processes answered may have cost money, and holds for every run with the same images.
            let stays = name == ".lock" || name == "answers.jsonl" && if_occupied == IfOccupied::Refuse;
            if !stays {
                remove_if_there(&root.join(name))?;
            }
        }
        sweep_temporaries(root)?;
        sync_folder(root)?;
        let metrics = LineWriter::open_after(&layout.metrics(), 0)?;
        let rewards = LineWriter::open_whole(&layout.rewards())?;
        let path = layout.environment();
        let json = serde_json::to_vec_pretty(environment).map_err(|error| Error::invalid(&path, error))?;
        write_atomic(&path, &json)?;
        write_atomic(&layout.config(), config.as_bytes())?;
        Ok([metrics, rewards])
    }

    /// Continues the run in `root` after its last saved step; records of later steps are cut off.
    ///
    /// # Errors
    /// Where there is no run, another process writes it, or no checkpoint can be read.
    pub fn resume<M: Serialize + DeserializeOwned>(root: &Path) -> Result<Resumed<M>> {
        let layout = Layout::new(root);
        let config = read_config(&layout)?;
        let lock = lock(&layout)?;
        sweep_temporaries(root)?;
        sweep_temporaries(&layout.checkpoints())?;
        let checkpoint = match saved_steps(&layout)?.last() {
            Some(step) => {
                let read = TensorFile::read(&layout.checkpoint(*step));
                Some((*step, read.map_err(|error| error.with_advice(&advice(&layout)))?))
            }
            None => None,
        };
        let last_step = checkpoint.as_ref().map_or(0, |(step, _)| *step);
        let metrics = LineWriter::open_after(&layout.metrics(), last_step)?;
        let rewards = LineWriter::open_whole(&layout.rewards())?;
        Ok(Resumed { writer: Self { layout, metrics, rewards, _lock: Some(lock) }, config, checkpoint })
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Appends what the scorers said of one sample, synced: from here on a kill does not lose it.
    ///
    /// # Errors
    /// Where the system refuses; the line is taken back.
    pub fn save_sample(&mut self, record: &impl Serialize) -> Result<()> {
        self.rewards.append(record)
    }

    /// Saves step number `step` (from 1): the record, then the state, both synced; then drops the states that
    /// are neither among the last two nor `best_step`.
    ///
    /// `record` must serialise to an object with the number `step` under the key "step".
    ///
    /// # Errors
    /// Where the system refuses; the run stays as it was after the step before.
    pub fn save_step<M: Serialize + DeserializeOwned>(
        &mut self,
        step: u32,
        record: &impl Serialize,
        state: &TensorFile<M>,
        best_step: Option<u32>,
    ) -> Result<()> {
        self.metrics.append(record)?;
        state.write(&self.layout.checkpoint(step))?;
        let steps = saved_steps(&self.layout)?;
        let dropped = steps.iter().rev().skip(2).filter(|step| Some(**step) != best_step);
        for step in dropped {
            remove_if_there(&self.layout.checkpoint(*step))?;
        }
        Ok(())
    }

    /// Writes the product of the run.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save_policy(&self, policy: &PolicyFile) -> Result<()> {
        policy.write(&self.layout.policy())
    }
}

/// Whether a sample of the run was scored.
pub(crate) fn holds_samples(layout: &Layout) -> Result<bool> {
    let has_line = fs::metadata(layout.rewards()).is_ok_and(|file| file.len() > 0);
    Ok(has_line || !saved_steps(layout)?.is_empty())
}

/// The steps that have a checkpoint, in rising order.
pub(crate) fn saved_steps(layout: &Layout) -> Result<Vec<u32>> {
    let mut steps =
        names_in(&layout.checkpoints())?.iter().filter_map(|name| step_of(name)).collect::<Vec<_>>();
    steps.sort_unstable();
    Ok(steps)
}

/// What to do where a saved state cannot be read: a run goes on bit for bit, which needs the state as it was saved.
fn advice(layout: &Layout) -> String {
    let config = layout.config();
    let anew = format!("start anew with --config {}", config.display());
    if layout.policy().is_file() {
        format!("the run's policy can still be sampled and compared; {anew}")
    } else {
        anew
    }
}

pub(crate) fn read_config(layout: &Layout) -> Result<String> {
    let path = layout.config();
    if !path.is_file() {
        return Err(Error::NotARun { path: layout.root().to_owned(), missing: "config.toml" });
    }
    fs::read_to_string(&path).map_err(Error::io("read", &path))
}

//! Writing a run: one process at a time, and after each step everything that is needed to go on.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::{is_temporary, names_in, remove_if_there, sweep_temporaries, sync_folder, write_atomic};
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
    _lock: File,
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
    /// Whether a new run may be made in `root`, without touching anything. A run that ended before its first sample was
    /// scored may be replaced, because it holds nothing to lose.
    ///
    /// # Errors
    /// [`Error::HoldsRun`] or [`Error::Foreign`] where the folder is taken.
    pub fn check(root: &Path, if_occupied: IfOccupied) -> Result<()> {
        let names = names_in(root)?;
        let ours = |name: &String| Layout::NAMES.contains(&name.as_str()) || is_temporary(name);
        if names.iter().any(|name| name == "config.toml")
            && names.iter().any(|name| name == "environment.json")
        {
            return match if_occupied {
                IfOccupied::Refuse if holds_samples(&Layout::new(root))? => {
                    Err(Error::HoldsRun(root.to_owned()))
                }
                IfOccupied::Refuse | IfOccupied::Replace => Ok(()),
            };
        }
        match names.into_iter().find(|name| !ours(name)) {
            Some(found) => Err(Error::Foreign { path: root.to_owned(), found }),
            None => Ok(()),
        }
    }

    /// Makes the folder and starts a run in it. `config.toml` is written last: from then on it is a run.
    ///
    /// # Errors
    /// Where the folder is taken, locked or cannot be written; folders made for it are removed again.
    pub fn create(
        root: &Path,
        if_occupied: IfOccupied,
        config: &str,
        environment: &impl Serialize,
    ) -> Result<Self> {
        Self::check(root, if_occupied)?;
        let made = first_missing(root);
        let writer = Self::fill(root, if_occupied, config, environment);
        if let (Err(_), Some(made)) = (&writer, made) {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(made);
        }
        writer
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
            Some(step) => Some((*step, TensorFile::read(&layout.checkpoint(*step))?)),
            None => None,
        };
        let last_step = checkpoint.as_ref().map_or(0, |(step, _)| *step);
        let metrics = LineWriter::open_after(&layout.metrics(), last_step)?;
        let rewards = LineWriter::open_whole(&layout.rewards())?;
        Ok(Resumed { writer: Self { layout, metrics, rewards, _lock: lock }, config, checkpoint })
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

    fn fill(
        root: &Path,
        if_occupied: IfOccupied,
        config: &str,
        environment: &impl Serialize,
    ) -> Result<Self> {
        let layout = Layout::new(root);
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = lock(&layout)?;
        // Somebody may have started a run between the first look and the lock.
        Self::check(root, if_occupied)?;
        // Without its config the folder is no run any more, whenever a kill comes.
        for name in ["config.toml"].into_iter().chain(Layout::NAMES) {
            // What external processes answered may have cost money, and holds for every run with the same pictures.
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
        Ok(Self { layout, metrics, rewards, _lock: lock })
    }
}

/// Whether a sample of the run was scored.
fn holds_samples(layout: &Layout) -> Result<bool> {
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

pub(crate) fn read_config(layout: &Layout) -> Result<String> {
    let path = layout.config();
    if !path.is_file() {
        return Err(Error::NotARun { path: layout.root().to_owned(), missing: "config.toml" });
    }
    fs::read_to_string(&path).map_err(Error::io("read", &path))
}

/// An advisory lock that the kernel lets go when the process ends, however it ends.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let file = File::create(&path).map_err(Error::io("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(layout.root().to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
    }
}

/// The outermost folder on the way to `root` that does not exist yet.
fn first_missing(root: &Path) -> Option<&Path> {
    root.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).last()
}

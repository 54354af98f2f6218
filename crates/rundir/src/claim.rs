//! Taking a folder for a new run: found free, made and locked before anything slow happens, so that several starts at the
//! same moment each get a folder of their own.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::atomic::{is_temporary, names_in, remove_if_there, sweep_temporaries};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::writer::{IfOccupied, holds_samples};

/// A folder that this process holds for a new run. Dropped before a run was created in it, it removes the folders that it
/// made, where they are empty.
#[derive(Debug)]
pub struct Claim {
    root: PathBuf,
    if_occupied: IfOccupied,
    /// The outermost folder that was made for the claim.
    made: Option<PathBuf>,
    /// `None` once a run was created.
    lock: Option<File>,
}

impl Claim {
    /// Takes `root`, and makes it where it does not exist. A run that ended before its first sample was scored may be
    /// replaced, because it holds nothing to lose.
    ///
    /// # Errors
    /// [`Error::HoldsRun`], [`Error::Foreign`] or [`Error::Locked`] where the folder is taken, and where it cannot be
    /// written.
    pub fn take(root: &Path, if_occupied: IfOccupied) -> Result<Self> {
        check(root, if_occupied)?;
        let made = first_missing(root).map(Path::to_owned);
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        Self::locked(root.to_owned(), if_occupied, made)
    }

    /// Whether a run may be made in `root` that replaces nothing.
    pub fn is_free(root: &Path) -> bool {
        check(root, IfOccupied::Refuse).is_ok()
    }

    /// Takes the folder `name` in `parent`, or, where something has that name, `name-2`, `name-3` and so on.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn free(parent: &Path, name: &str) -> Result<Self> {
        let outer = first_missing(parent).map(Path::to_owned);
        let root = make_free_folder(parent, name)?;
        let made = outer.or_else(|| Some(root.clone()));
        Self::locked(root, IfOccupied::Refuse, made)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What to do with the run that may be there.
    pub(crate) fn if_occupied(&self) -> IfOccupied {
        self.if_occupied
    }

    /// The lock, for the run that was created.
    pub(crate) fn keep(mut self) -> Option<File> {
        self.lock.take()
    }

    /// Removes the half of a run that could not be created; paid answers stay, and so does a folder that was there before.
    pub(crate) fn discard(self) {
        if self.made.is_some() {
            // The error that led here is the one to tell.
            let _ = sweep_temporaries(&self.root);
            for name in Layout::NAMES.iter().filter(|name| !matches!(**name, ".lock" | "answers.jsonl")) {
                let _ = remove_if_there(&self.root.join(name));
            }
        }
    }

    fn locked(root: PathBuf, if_occupied: IfOccupied, made: Option<PathBuf>) -> Result<Self> {
        let lock = Some(lock(&Layout::new(&root))?);
        let claim = Self { root, if_occupied, made, lock };
        // Somebody may have started a run between the first look and the lock.
        check(&claim.root, if_occupied)?;
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (Some(_lock), Some(made)) = (&self.lock, &self.made) else { return };
        let root = Layout::new(&self.root);
        // Only what is empty goes: an answer that an external process was paid for stays. The error that led here is
        // the one to tell.
        if names_in(&self.root).is_ok_and(|names| names.iter().all(|name| name == ".lock")) {
            let _ = remove_if_there(&root.lock());
            for folder in self.root.ancestors().take_while(|folder| folder.starts_with(made)) {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// Makes the folder `name` in `parent`, or, where something has that name, `name-2`, `name-3` and so on: found and made
/// in one step, so that no two callers get the same.
///
/// # Errors
/// Where the folder cannot be made.
pub fn make_free_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let mut folder = parent.join(name);
    for number in 2_u32.. {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                folder = parent.join(format!("{name}-{number}"));
            }
            made => {
                made.map_err(Error::io("create", &folder))?;
                break;
            }
        }
    }
    Ok(folder)
}

/// Whether a new run may be made in `root`.
fn check(root: &Path, if_occupied: IfOccupied) -> Result<()> {
    let names = names_in(root)?;
    let ours = |name: &String| Layout::NAMES.contains(&name.as_str()) || is_temporary(name);
    let has = |file: &str| names.iter().any(|name| name == file);
    if has("config.toml") && has("environment.json") {
        return match if_occupied {
            IfOccupied::Refuse if holds_samples(&Layout::new(root))? => Err(Error::HoldsRun(root.to_owned())),
            IfOccupied::Refuse | IfOccupied::Replace => Ok(()),
        };
    }
    match names.into_iter().find(|name| !ours(name)) {
        Some(found) => Err(Error::Foreign { path: root.to_owned(), found }),
        None => Ok(()),
    }
}

/// An advisory lock that the kernel lets go when the process ends, however it ends.
pub(crate) fn lock(layout: &Layout) -> Result<File> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_are_numbered_and_a_dropped_claim_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let claims = [(); 3].map(|()| Claim::free(&runs, "a").unwrap());
        let names = claims.each_ref().map(|claim| claim.root().file_name().unwrap().to_owned());
        assert_eq!(names, ["a", "a-2", "a-3"]);
        let taken = Claim::take(&runs.join("a"), IfOccupied::Refuse).unwrap_err();
        assert!(matches!(taken, Error::Locked(_)), "{taken}");
        drop(claims);
        assert!(names_in(&runs).unwrap().is_empty());
    }

    #[test]
    fn a_dropped_claim_keeps_what_it_did_not_make() {
        let folder = tempfile::tempdir().unwrap();
        let claim = Claim::take(&folder.path().join("a/b"), IfOccupied::Refuse).unwrap();
        fs::write(claim.root().join("answers.jsonl"), "{}").unwrap();
        drop(claim);
        assert!(folder.path().join("a/b/answers.jsonl").is_file());
        drop(Claim::take(folder.path().join("a").as_path(), IfOccupied::Refuse).unwrap_err());
        assert!(folder.path().join("a/b/answers.jsonl").is_file());
    }
}

//! Files that appear whole or not at all: temporary file, sync, rename, sync of the folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Ending of the temporary files that a kill can leave behind.
const TEMPORARY: &str = ".noisefind-tmp";

/// Puts `bytes` at `path`; a reader sees the old file or the new one, never a part, and neither a full disk
/// nor a power cut changes that. Missing parent folders are made.
///
/// # Errors
/// Whatever the system reports; the temporary file is removed before this returns.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(Error::invalid(path, "not the name of a file"));
    };
    // Renaming over a device or a folder would destroy it or fail late.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(Error::invalid(path, "exists and is not an ordinary file"));
        }
        _ => {}
    }
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let temporary = folder.join(format!(".{}.{}{TEMPORARY}", name.to_string_lossy(), std::process::id()));
    let written = write_and_sync(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The file may not even exist; what matters is the first error.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path)(source));
    }
    sync_folder(folder)
}

/// Makes renames and removals in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Folders cannot be opened for syncing everywhere (Windows); there the rename itself is journalled.
    if cfg!(unix) {
        File::open(folder).and_then(|opened| opened.sync_all()).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

/// Removes what killed writers left in `folder`.
pub(crate) fn sweep_temporaries(folder: &Path) -> Result<()> {
    for name in names_in(folder)?.iter().filter(|name| is_temporary(name)) {
        remove_if_there(&folder.join(name))?;
    }
    Ok(())
}

/// Whether a file name is that of a temporary file of [`write_atomic`].
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

/// The names in a folder, sorted; none where it does not exist.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(Error::io("read", folder))?;
    names.sort_unstable();
    Ok(names)
}

/// Removes a file or a folder with all it holds; absent is fine.
///
/// # Errors
/// Where the system refuses.
pub fn remove_if_there(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names_in(path.parent().unwrap()).unwrap(), ["file.txt"]);
    }

    #[test]
    fn refuses_to_replace_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let message = write_atomic(folder.path(), b"x").unwrap_err().to_string();
        assert!(message.ends_with("exists and is not an ordinary file"), "{message}");
    }

    #[test]
    fn sweeps_only_temporaries() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!(".a.1{TEMPORARY}")), b"x").unwrap();
        fs::write(folder.path().join("a"), b"x").unwrap();
        sweep_temporaries(folder.path()).unwrap();
        assert_eq!(names_in(folder.path()).unwrap(), ["a"]);
    }
}

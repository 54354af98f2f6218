//! Whether a process writes a run now, told without taking its lock: a look must never make a writer fail.

use std::time::{Duration, SystemTime};

use crate::layout::Layout;

/// How long after its last record a run counts as running where the system does not list its locks.
const RECENT: Duration = Duration::from_secs(120);

/// Whether some process writes the run now. Linux lists the locks that are held; elsewhere a run counts as running for
/// two minutes after its last record.
pub fn is_being_written(layout: &Layout) -> bool {
    held(layout).unwrap_or_else(|| changed_recently(layout))
}

/// Whether the lock of the run is in the system's list; `None` where there is no list.
#[cfg(target_os = "linux")]
fn held(layout: &Layout) -> Option<bool> {
    use std::os::linux::fs::MetadataExt;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let Ok(file) = std::fs::symlink_metadata(layout.lock()) else { return Some(false) };
    // A line reads "1: FLOCK  ADVISORY  WRITE 4711 fe:00:263203 0 EOF". Some file systems show another device number
    // there than the file itself has, so the number of the file alone is compared.
    let inode = file.st_ino().to_string();
    let is_ours = |line: &str| {
        let named = line.split_whitespace().nth(5).and_then(|id| id.rsplit(':').next());
        line.contains("FLOCK") && named == Some(&inode)
    };
    Some(locks.lines().any(is_ours))
}

#[cfg(not(target_os = "linux"))]
fn held(_layout: &Layout) -> Option<bool> {
    None
}

fn changed_recently(layout: &Layout) -> bool {
    let changed = std::fs::symlink_metadata(layout.metrics()).and_then(|file| file.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < RECENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_held_lock_is_seen_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        assert!(!is_being_written(&layout));
        let lock = std::fs::File::create(layout.lock()).unwrap();
        assert!(!is_being_written(&layout));
        lock.try_lock().unwrap();
        assert!(is_being_written(&layout));
        drop(lock);
        assert!(!is_being_written(&layout));
    }

    #[test]
    fn a_fresh_record_counts_where_locks_are_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        assert!(!changed_recently(&layout));
        std::fs::write(layout.metrics(), "").unwrap();
        assert!(changed_recently(&layout));
    }
}

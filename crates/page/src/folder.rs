//! A folder that cannot be left: no symbolic link, `..` or special file leads a read out of it or makes it wait.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::error::{Error, Result};

/// Most bytes of a file that is read as text or records.
pub const TEXT_LIMIT: u64 = 64 << 20;
/// Most bytes of a file that is read as an image or clip.
pub const IMAGE_LIMIT: u64 = 256 << 20;

/// An open folder and where it lies; all paths are relative to it.
pub struct Folder {
    dir: Dir,
    path: PathBuf,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is a folder itself; links are neither folders nor files.
    pub is_folder: bool,
}

/// Says whether a file changed between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Bytes.
    pub length: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified_nanos: u64,
}

impl Folder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// Where it is no folder or cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(unreadable(path))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Opens a folder inside this one.
    ///
    /// # Errors
    /// Where it is no folder, or lies outside.
    pub fn inner(&self, path: &Path) -> Result<Self> {
        let dir = self.dir.open_dir(path).map_err(unreadable(path))?;
        Ok(Self { dir, path: self.path.join(path) })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// Where it is not an ordinary file inside this folder, is larger, or cannot be read.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.file(path)?;
        let length = file.metadata().map_err(unreadable(path))?.len();
        if length > limit {
            let reason = format!("has {length} bytes, expected at most {limit}");
            return Err(Error::Refused { path: path.to_owned(), reason });
        }
        let mut bytes = Vec::with_capacity(length as usize);
        // The file may grow while it is read.
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable(path))?;
        Ok(bytes)
    }

    /// As [`Self::read`], with at most `count` bytes from the beginning of a file of any size.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_start(&self, path: &Path, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(count).read_to_end(&mut bytes).map_err(unreadable(path))?;
        Ok(bytes)
    }

    /// The content as text, with damaged characters replaced; `None` where the file is absent.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn text(&self, path: &Path) -> Result<Option<String>> {
        match self.read(path, TEXT_LIMIT) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What lies in a folder, sorted by name; nothing where it is absent. Names that are not text are left out.
    ///
    /// # Errors
    /// Where it cannot be listed.
    pub fn entries(&self, path: &Path) -> Result<Vec<Entry>> {
        let read = if path.as_os_str().is_empty() { self.dir.entries() } else { self.dir.read_dir(path) };
        let read = match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(unreadable(path))?,
        };
        let mut entries = read
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let kind = entry.file_type().ok()?;
                let name = entry.file_name().into_string().ok()?;
                (kind.is_dir() || kind.is_file()).then_some(Entry { name, is_folder: kind.is_dir() })
            })
            .collect::<Vec<_>>();
        entries.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(entries)
    }

    /// Length and time of a file; `None` where there is no ordinary file.
    pub fn stamp(&self, path: &Path) -> Option<Stamp> {
        let metadata = self.dir.metadata(path).ok().filter(|metadata| metadata.is_file())?;
        let modified = metadata.modified().ok()?.into_std();
        let nanos = modified.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(Stamp { length: metadata.len(), modified_nanos: u64::try_from(nanos).ok()? })
    }

    fn file(&self, path: &Path) -> Result<cap_std::fs::File> {
        let mut options = OpenOptions::new();
        options.read(true);
        // A named pipe would otherwise wait for a writer for ever.
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = self.dir.open_with(path, &options).map_err(unreadable(path))?;
        if !file.metadata().map_err(unreadable(path))?.is_file() {
            let reason = "expected an ordinary file".to_owned();
            return Err(Error::Refused { path: path.to_owned(), reason });
        }
        Ok(file)
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(inside.path().join("own"), "own").unwrap();
        std::os::unix::fs::symlink(&secret, inside.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("folder")).unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        assert_eq!(folder.read(Path::new("own"), 10).unwrap(), b"own");
        assert!(folder.read(Path::new("own"), 2).is_err());
        let upward = Path::new("..").join(outside.path().file_name().unwrap()).join("secret");
        for path in [Path::new("link"), Path::new("folder/secret"), &upward, &secret] {
            assert!(folder.read(path, 10).is_err(), "{}", path.display());
            assert_eq!(folder.stamp(path), None);
        }
        assert!(folder.inner(Path::new("folder")).is_err());
        // A link is listed neither as a file nor as a folder.
        let names = folder.entries(Path::new("")).unwrap();
        assert_eq!(names, [Entry { name: "own".to_owned(), is_folder: false }]);
    }

    #[test]
    #[cfg(unix)]
    fn special_files_do_not_make_anybody_wait() {
        let inside = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(inside.path().join("pipe")).status().unwrap();
        assert!(made.success());
        let folder = Folder::open(inside.path()).unwrap();
        let message = folder.read(Path::new("pipe"), 10).unwrap_err().to_string();
        assert_eq!(message, "pipe: expected an ordinary file");
    }

    #[test]
    fn absent_is_not_an_error_where_it_may_be_absent() {
        let inside = tempfile::tempdir().unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        assert_eq!(folder.text(Path::new("none")).unwrap(), None);
        assert_eq!(folder.entries(Path::new("none")).unwrap(), []);
    }
}

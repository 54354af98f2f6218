//! A picture or the frames of a clip as PNG files.

use std::path::{Path, PathBuf};

use noisefind_core::media::Media;
use noisefind_rundir::write_atomic;

use crate::error::Result;
use crate::images::png::picture;

/// Saves a picture as `NAME.png`, a clip as `NAME-frame-000.png` and so on.
pub(crate) fn save_frames(
    folder: &Path,
    name: &str,
    media: &Media,
    texts: &[(&str, String)],
) -> Result<Vec<PathBuf>> {
    (0..media.frames())
        .map(|frame| {
            let file = match media.frames() {
                1 => format!("{name}.png"),
                _ => format!("{name}-frame-{frame:03}.png"),
            };
            let path = folder.join(file);
            write_atomic(&path, &picture(media, frame, texts)?)?;
            Ok(path)
        })
        .collect()
}

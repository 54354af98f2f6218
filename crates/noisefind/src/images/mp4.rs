//! MP4 files of clips, by the program `ffmpeg` where there is one: no encoder of H.264 travels with this program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use noisefind_core::media::Media;

use crate::observer::Observer;

/// The program as it is started.
const FFMPEG: &str = "ffmpeg";

/// Frames a second of a clip whose generator gives none.
const DEFAULT_FPS: f64 = 8.0;

/// Saves each clip as an MP4 file at its path; -> the paths that were written. Says once where there is no `ffmpeg`, and
/// why it refuses a clip.
pub(crate) fn save_all<'a>(
    clips: impl IntoIterator<Item = (PathBuf, &'a Media)>,
    observer: &mut dyn Observer,
) -> Vec<PathBuf> {
    let mut clips = clips.into_iter().filter(|(_, media)| media.frames() > 1).peekable();
    if clips.peek().is_none() {
        return Vec::new();
    }
    if !is_there() {
        observer
            .warned("no ffmpeg was found, so no MP4 files are written; WebP and GIF files show the clips");
        return Vec::new();
    }
    let mut written = Vec::new();
    for (path, media) in clips {
        match save(&path, media) {
            Ok(()) => written.push(path),
            Err(reason) => {
                observer.warned(&format!("ffmpeg wrote no {}: {reason}", path.display()));
                break;
            }
        }
    }
    written
}

fn is_there() -> bool {
    let mut command = Command::new(FFMPEG);
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn save(path: &Path, media: &Media) -> Result<(), String> {
    let unfinished = path.with_extension("mp4.part");
    let written = encode(&unfinished, media)
        .and_then(|()| std::fs::rename(&unfinished, path).map_err(|error| error.to_string()));
    if written.is_err() {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

fn encode(path: &Path, media: &Media) -> Result<(), String> {
    let size = format!("{}x{}", media.width(), media.height());
    let rate = media.fps().unwrap_or(DEFAULT_FPS).to_string();
    let mut command = Command::new(FFMPEG);
    command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &rate]);
    // Players want halved colours, which need even sides.
    command.args(["-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]);
    command.args(["-movflags", "+faststart", "-f", "mp4"]).arg(path);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    // Where it stops reading, its message says why.
    let fed = child.stdin.take().map(|mut stdin| stdin.write_all(media.pixels()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() && matches!(fed, Some(Ok(()))) {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(message.lines().last().unwrap_or("it says nothing").to_owned())
}

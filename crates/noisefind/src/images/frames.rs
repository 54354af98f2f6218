//! The files of a sample: an image is a PNG file; a clip is an animated WebP file with exactly its pixels, a GIF file for
//! programs that show nothing else, and a strip of its frames as PNG for paper.

use std::path::{Path, PathBuf};

use noisefind_core::media::{FrameReduction, Media};
use noisefind_images::{ClipFrames, decode, decode_frames};
use noisefind_rundir::write_atomic;

use super::png;
use crate::error::{Error, Result};

/// Frames a second of a clip whose generator gives none.
const DEFAULT_FPS: f64 = 8.0;
/// Most frames of a strip, evenly spread.
const STRIP_FRAMES: usize = 8;
/// White columns between the frames of a strip.
const GAP: usize = 2;

/// Reads back what [`save_frames`] saved; `None` where the file is absent or damaged.
pub(crate) fn read_frames(folder: &Path, name: &str) -> Option<Media> {
    if let Ok(bytes) = std::fs::read(folder.join(format!("{name}.webp"))) {
        let animation = decode_frames(&bytes).ok()?;
        let first = animation.frames.first()?;
        let pixels = animation.frames.iter().flat_map(|frame| &frame.bytes).copied().collect();
        let media = Media::new(animation.frames.len(), first.height, first.width, pixels).ok()?;
        return Some(media.with_fps(animation.fps));
    }
    let image = decode(&std::fs::read(folder.join(format!("{name}.png"))).ok()?).ok()?;
    Media::new(1, image.height, image.width, image.bytes).ok()
}

/// Saves an image as `NAME.png`, a clip as `NAME.webp`, `NAME.gif` and `NAME-strip.png`; the paths in this order. The
/// PNG file holds `texts`, each a keyword (Latin letters) and its value.
pub(crate) fn save_frames(
    folder: &Path,
    name: &str,
    media: &Media,
    texts: &[(&str, String)],
) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut save = |file: String, bytes: Vec<u8>| {
        let path = folder.join(file);
        write_atomic(&path, &bytes)?;
        paths.push(path);
        Ok::<_, Error>(())
    };
    if media.frames() == 1 {
        save(format!("{name}.png"), png::image(media, 0, texts)?)?;
        return Ok(paths);
    }
    let frames: Vec<&[u8]> = (0..media.frames()).map(|frame| media.frame(frame)).collect();
    let [webp, gif] = animations(media.width(), media.height(), &frames, media.fps())?;
    save(format!("{name}.webp"), webp)?;
    save(format!("{name}.gif"), gif)?;
    save(format!("{name}-strip.png"), strip(media, texts)?)?;
    Ok(paths)
}

/// An animated WebP and an animated GIF file of `frames`, `[height, width, 3]` bytes each.
pub(crate) fn animations(
    width: usize,
    height: usize,
    frames: &[&[u8]],
    fps: Option<f64>,
) -> Result<[Vec<u8>; 2]> {
    let clip = ClipFrames { width, height, frames, fps: fps.unwrap_or(DEFAULT_FPS) };
    let failed = |error: noisefind_images::Error| Error::Rendering(error.to_string());
    Ok([clip.to_webp().map_err(failed)?, clip.to_gif().map_err(failed)?])
}

/// Frames of a clip side by side as a PNG file.
fn strip(media: &Media, texts: &[(&str, String)]) -> Result<Vec<u8>> {
    let shown = media.reduced(FrameReduction::Evenly(STRIP_FRAMES));
    let row = 3 * shown.width();
    let mut rgb = Vec::new();
    for y in 0..shown.height() {
        for frame in 0..shown.frames() {
            if frame > 0 {
                rgb.extend([255; 3 * GAP]);
            }
            rgb.extend(&shown.frame(frame)[y * row..(y + 1) * row]);
        }
    }
    let width = shown.frames() * (shown.width() + GAP) - GAP;
    png::encode(width, shown.height(), &rgb, texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: u8) -> Media {
        let pixels = (0..frames).flat_map(|frame| vec![frame * 20; 4 * 2 * 3]).collect();
        Media::new(frames.into(), 2, 4, pixels).expect("the sizes agree").with_fps(Some(10.0))
    }

    #[test]
    fn a_clip_becomes_two_animations_and_a_strip() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let texts = [("reward", "clip-score 0.5".to_owned())];
        let paths = save_frames(folder.path(), "clip", &clip(3), &texts).expect("it is writable");
        let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["clip.webp", "clip.gif", "clip-strip.png"]);
        for path in &paths[..2] {
            let read = decode_frames(&std::fs::read(path).unwrap()).unwrap();
            assert_eq!((read.frames.len(), read.fps.map(f64::round)), (3, Some(10.0)));
            assert_eq!(read.frames.iter().map(|frame| frame.bytes[0]).collect::<Vec<_>>(), [0, 20, 40]);
        }
        let strip = decode(&std::fs::read(&paths[2]).unwrap()).unwrap();
        assert_eq!((strip.width, strip.height), (4 * 3 + 2 * GAP, 2));
        assert_eq!([1, 5, 7, 15].map(|x| strip.bytes[3 * x]), [0, 255, 20, 40]);
    }

    #[test]
    fn a_strip_of_a_long_clip_has_frames_from_all_of_it() {
        let strip = decode(&strip(&clip(12), &[]).unwrap()).unwrap();
        assert_eq!(strip.width, STRIP_FRAMES * (4 + GAP) - GAP);
    }

    #[test]
    fn what_was_saved_is_read_back_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let image = Media::new(1, 1, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        save_frames(folder.path(), "image", &image, &[]).unwrap();
        save_frames(folder.path(), "clip", &clip(3), &[]).unwrap();
        assert_eq!(read_frames(folder.path(), "image"), Some(image));
        assert_eq!(read_frames(folder.path(), "clip"), Some(clip(3)));
        assert_eq!(read_frames(folder.path(), "none"), None);
        std::fs::write(folder.path().join("clip.webp"), "half a file").unwrap();
        assert_eq!(read_frames(folder.path(), "clip"), None);
    }
}

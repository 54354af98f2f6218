//! An image as a PNG file; a clip as an animated GIF and as the PNG files of its frames.

use std::path::{Path, PathBuf};

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};
use noisefind_core::media::Media;
use noisefind_rundir::write_atomic;

use crate::error::{Error, Result};
use crate::images::png::picture;

/// Frames a second of a clip whose generator gives none.
const DEFAULT_FPS: f64 = 8.0;

/// Reads back what [`save_frames`] saved; `None` where a file is absent or damaged, or the frames differ in size.
pub(crate) fn read_frames(folder: &Path, name: &str) -> Option<Media> {
    let image = folder.join(format!("{name}.png"));
    let frames = if image.exists() {
        vec![read_image(&image)?]
    } else {
        let paths = (0..).map(|frame| folder.join(format!("{name}-frame-{frame:03}.png")));
        paths.take_while(|path| path.exists()).map(|path| read_image(&path)).collect::<Option<Vec<_>>>()?
    };
    let (width, height) = frames.first()?.dimensions();
    if frames.iter().any(|frame| frame.dimensions() != (width, height)) {
        return None;
    }
    let pixels = frames.iter().flat_map(|frame| frame.as_raw()).copied().collect();
    Media::new(frames.len(), height as usize, width as usize, pixels).ok()
}

fn read_image(path: &Path) -> Option<image::RgbImage> {
    Some(image::open(path).ok()?.into_rgb8())
}

/// Saves an image as `NAME.png`, a clip as `NAME.gif` and `NAME-frame-000.png` and so on; the paths, the GIF first.
pub(crate) fn save_frames(
    folder: &Path,
    name: &str,
    media: &Media,
    texts: &[(&str, String)],
) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::with_capacity(media.frames() + 1);
    if media.frames() > 1 {
        let path = folder.join(format!("{name}.gif"));
        write_atomic(&path, &animation(media)?)?;
        paths.push(path);
    }
    for frame in 0..media.frames() {
        let file = match media.frames() {
            1 => format!("{name}.png"),
            _ => format!("{name}-frame-{frame:03}.png"),
        };
        let path = folder.join(file);
        write_atomic(&path, &picture(media, frame, texts)?)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The clip as an animated GIF that repeats for ever.
fn animation(media: &Media) -> Result<Vec<u8>> {
    let failed = |error: image::ImageError| Error::Picture(error.to_string());
    let (width, height) = (media.width() as u32, media.height() as u32);
    let delay = Delay::from_numer_denom_ms((1000.0 / media.fps().unwrap_or(DEFAULT_FPS)).round() as u32, 1);
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
    for frame in 0..media.frames() {
        let rgba =
            media.frame(frame).as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        let Some(image) = RgbaImage::from_raw(width, height, rgba) else { continue };
        encoder.encode_frame(Frame::from_parts(image, 0, 0, delay)).map_err(failed)?;
    }
    drop(encoder);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;

    use super::*;

    #[test]
    fn a_clip_becomes_an_animation_with_its_frame_rate() {
        let pixels = (0..3u8).flat_map(|frame| vec![frame * 100; 4 * 2 * 3]).collect();
        let media = Media::new(3, 2, 4, pixels).expect("the sizes agree").with_fps(Some(10.0));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = save_frames(folder.path(), "clip", &media, &[]).expect("it is writable");
        assert_eq!(paths.len(), 4);
        let file = std::io::BufReader::new(std::fs::File::open(&paths[0]).expect("it was written"));
        let frames = GifDecoder::new(file).expect("it is a GIF").into_frames();
        let frames = frames.collect_frames().expect("it is whole");
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|frame| frame.delay().numer_denom_ms() == (100, 1)));
        let values: Vec<u8> = frames.iter().map(|frame| frame.buffer().get_pixel(0, 0)[0]).collect();
        assert_eq!(values, [0, 100, 200]);
    }

    #[test]
    fn what_was_saved_is_read_back_and_what_is_incomplete_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let image = Media::new(1, 1, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let clip = Media::new(2, 1, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        save_frames(folder.path(), "image", &image, &[]).unwrap();
        save_frames(folder.path(), "clip", &clip, &[]).unwrap();
        assert_eq!(read_frames(folder.path(), "image"), Some(image));
        assert_eq!(read_frames(folder.path(), "clip"), Some(clip));
        assert_eq!(read_frames(folder.path(), "none"), None);
        std::fs::write(folder.path().join("clip-frame-001.png"), "half a file").unwrap();
        assert_eq!(read_frames(folder.path(), "clip"), None);
    }
}

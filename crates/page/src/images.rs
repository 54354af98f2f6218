//! Which images and clips a run has, and their bytes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::{Folder, IMAGE_LIMIT};
use crate::image_key::ImageKey;
use crate::thumbnail::{Encoded, SIDE, strip, thumbnail};

/// Longest side of [`ImageSize::Medium`].
const MEDIUM_SIDE: u32 = 768;

/// How the files of one image lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFiles {
    /// One PNG.
    Still,
    /// One file that moves, of that ending.
    Animated(&'static str),
}

impl ImageFiles {
    /// Whether it moves.
    pub fn is_clip(self) -> bool {
        self != Self::Still
    }
}

/// In which size an image is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageSize {
    /// As it was saved.
    Full,
    /// At most 256 pixels a side, for lists; of a clip, its middle frame.
    Thumbnail,
    /// At most 768 pixels a side, for pages that are sent; of a clip, its middle frame.
    Medium,
    /// All frames of a clip side by side.
    Strip,
}

/// The images in one folder of the run, by the key that `key_of` gives to a file's name without ending. Of the files of
/// a clip its WebP file counts, then its GIF file.
pub(crate) fn list(
    run: &Folder,
    path: &Path,
    key_of: impl Fn(&str) -> Option<ImageKey>,
) -> Result<BTreeMap<ImageKey, ImageFiles>> {
    let mut found = BTreeMap::new();
    for entry in run.entries(path)?.iter().filter(|entry| !entry.is_folder) {
        let Some((stem, ending)) = entry.name.rsplit_once('.') else { continue };
        let files = match ending {
            "png" => ImageFiles::Still,
            "webp" => ImageFiles::Animated("webp"),
            "gif" => ImageFiles::Animated("gif"),
            _ => continue,
        };
        let Some(key) = key_of(stem) else { continue };
        let is_better = match found.get(&key) {
            None | Some(ImageFiles::Still) => true,
            Some(ImageFiles::Animated(_)) => files == ImageFiles::Animated("webp"),
        };
        if is_better {
            found.insert(key, files);
        }
    }
    Ok(found)
}

/// An image of the run in the size that is asked for.
///
/// # Errors
/// Where the run has no such image, or it cannot be decoded.
pub fn read_image(run: &Folder, key: ImageKey, size: ImageSize) -> Result<Encoded> {
    let (folder, stem) = key.stem();
    let file = |ending: &str| folder.join(format!("{stem}{ending}"));
    let whole = |path: &Path| run.read(path, IMAGE_LIMIT);
    for (ending, mime) in [(".webp", "image/webp"), (".gif", "image/gif"), (".png", "image/png")] {
        let bytes = match whole(&file(ending)) {
            Err(error) if error.is_absent() => continue,
            bytes => bytes?,
        };
        return match size {
            ImageSize::Full => Ok(Encoded { bytes, mime }),
            ImageSize::Thumbnail => thumbnail(&key.to_string(), Encoded { bytes, mime }, SIDE),
            ImageSize::Medium => thumbnail(&key.to_string(), Encoded { bytes, mime }, MEDIUM_SIDE),
            ImageSize::Strip => strip(&key.to_string(), &Encoded { bytes, mime }),
        };
    }
    Err(Error::Read { path: file(".png"), source: std::io::ErrorKind::NotFound.into() })
}

/// What the program wrote into an image about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Inscription {
    /// The reward that the optimised scorers gave.
    pub reward: Option<f64>,
    /// Whether the judge accepted it.
    pub success: Option<bool>,
}

/// Bytes in front of the pixels in which the texts of a PNG lie.
const TEXTS_LIMIT: u64 = 64 << 10;

/// Reward and judgement of a still, or of a clip by the strip of its frames; nothing where the file does not say.
pub(crate) fn inscription(run: &Folder, key: ImageKey) -> Inscription {
    let (folder, stem) = key.stem();
    let names = [format!("{stem}.png"), format!("{stem}-strip.png")];
    let bytes = names.iter().find_map(|name| run.read_start(&folder.join(name), TEXTS_LIMIT).ok());
    let Some(bytes) = bytes else { return Inscription::default() };
    let Ok(reader) = png::Decoder::new(std::io::Cursor::new(bytes)).read_info() else {
        return Inscription::default();
    };
    let text = |keyword: &str| {
        let chunk = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == keyword)?;
        chunk.get_text().ok()
    };
    // "clip-score 0.61": the name of the scorer, which may hold spaces, then the number.
    let number =
        |text: String| text.rsplit(' ').next()?.parse::<f64>().ok().filter(|value| value.is_finite());
    Inscription {
        reward: text("reward").and_then(number),
        success: text("judgement").and_then(number).map(|judgement| judgement >= 0.5),
    }
}

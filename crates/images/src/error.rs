//! What keeps a file from being an image, or images from being a file.

use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no image; the messages are made to follow the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are those of no format that is read.
    #[error("the file is no PNG, JPEG, WebP, GIF, BMP or TIFF image: it begins with the bytes {start}")]
    UnknownFormat {
        /// The first bytes in hexadecimal.
        start: String,
    },
    /// The file ends before the image does.
    #[error("the {format} file is cut off: it ends before the image does")]
    Truncated {
        /// Its format.
        format: Format,
    },
    /// The file contradicts its format.
    #[error("the {format} file is damaged: {reason}")]
    Damaged {
        /// Its format.
        format: Format,
        /// What contradicts it.
        reason: String,
    },
    /// A kind of its format that is not read.
    #[error("the {format} file has {feature}, which is not read; save it as PNG")]
    Unsupported {
        /// Its format.
        format: Format,
        /// What it has.
        feature: String,
    },
    /// Frames that the format cannot hold.
    #[error("no {format} file can be made: {reason}")]
    Encode {
        /// The format.
        format: Format,
        /// What keeps it from being made.
        reason: String,
    },
    /// More pixels than any image has that is to be scored.
    #[error("the image has {width} x {height} pixels, expected at most {largest} in all")]
    TooLarge {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The most pixels.
        largest: usize,
    },
}

/// A format of image files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
    /// Graphics Interchange Format.
    Gif,
    /// Windows bitmaps.
    Bmp,
    /// Tagged Image File Format.
    Tiff,
}

impl Format {
    /// The format whose files begin like `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        let riff = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Ok(Self::Png),
            [0xff, 0xd8, ..] => Ok(Self::Jpeg),
            [b'G', b'I', b'F', b'8', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            _ if riff => Ok(Self::WebP),
            _ => {
                let start: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                Err(Error::UnknownFormat { start: start.join(" ") })
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

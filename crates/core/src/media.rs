//! What a generator gives and a scorer sees: an image, or a clip of several frames, in 8 bits.

use serde::{Deserialize, Serialize};

/// An image or clip: `[frames, height, width, 3]`, 8-bit RGB, as files and screens have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    frames: usize,
    height: usize,
    width: usize,
    fps: Option<f64>,
    pixels: Vec<u8>,
}

/// Why numbers make no media.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MediaError {
    /// The number of values does not fit the dimensions.
    #[error("{found} values, expected {expected} for {frames} frames of {height} rows and {width} columns")]
    Count {
        /// Frames that were announced.
        frames: usize,
        /// Rows that were announced.
        height: usize,
        /// Columns that were announced.
        width: usize,
        /// Their product, times 3.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {at} is {value}, expected a finite number")]
    NotFinite {
        /// Its position.
        at: usize,
        /// The value.
        value: f32,
    },
}

impl Media {
    /// Wraps `pixels` in `[frames, height, width, 3]` order.
    ///
    /// # Errors
    /// Where their number differs from `frames * height * width * 3`, or is 0.
    pub fn new(frames: usize, height: usize, width: usize, pixels: Vec<u8>) -> Result<Self, MediaError> {
        check_count(frames, height, width, pixels.len())?;
        Ok(Self { frames, height, width, fps: None, pixels })
    }

    /// Rounds `values` in `[3, frames, height, width]` order to 8 bits: `round(255 x)` of each, clamped to `0.0..=1.0`.
    ///
    /// # Errors
    /// Where their number differs from `3 * frames * height * width`, is 0, or one is not finite.
    pub fn quantise(frames: usize, height: usize, width: usize, values: &[f32]) -> Result<Self, MediaError> {
        check_count(frames, height, width, values.len())?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(MediaError::NotFinite { at, value: values[at] });
        }
        let plane = frames * height * width;
        let channels = |pixel| [values[pixel], values[plane + pixel], values[2 * plane + pixel]];
        let byte = |value: f32| (255.0 * value.clamp(0.0, 1.0)).round() as u8;
        let pixels = (0..plane).flat_map(|pixel| channels(pixel).map(byte)).collect();
        Ok(Self { frames, height, width, fps: None, pixels })
    }

    /// The same frames, shown at `fps` frames a second.
    #[must_use]
    pub fn with_fps(self, fps: Option<f64>) -> Self {
        Self { fps, ..self }
    }

    /// Number of frames; 1 for an image.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Frames a second, where the generator has one.
    pub fn fps(&self) -> Option<f64> {
        self.fps
    }

    /// All bytes in `[frames, height, width, 3]` order.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of frame `at`, `[height, width, 3]`; empty where there is no such frame.
    pub fn frame(&self, at: usize) -> &[u8] {
        let size = self.height * self.width * 3;
        self.pixels.get(at * size..(at + 1) * size).unwrap_or_default()
    }

    /// The frames that `reduction` chooses; without a frame rate where some are left out.
    #[must_use]
    pub fn reduced(&self, reduction: FrameReduction) -> Self {
        let chosen = reduction.of(self.frames);
        if chosen.len() == self.frames {
            return self.clone();
        }
        let pixels = chosen.iter().flat_map(|&at| self.frame(at)).copied().collect();
        Self { frames: chosen.len(), height: self.height, width: self.width, fps: None, pixels }
    }
}

fn check_count(frames: usize, height: usize, width: usize, found: usize) -> Result<(), MediaError> {
    let expected = 3 * frames * height * width;
    if found == expected && expected > 0 {
        return Ok(());
    }
    Err(MediaError::Count { frames, height, width, expected, found })
}

/// Which frames of a clip stand for it where images are needed: a scorer of images gives a clip the mean of their
/// scores. Of an image it is the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameReduction {
    /// Every frame.
    #[default]
    All,
    /// At most this many, evenly spread: the middle frames of that many stretches of equal length.
    Evenly(usize),
    /// The first frame.
    First,
    /// The middle frame.
    Middle,
}

impl FrameReduction {
    /// The chosen of `count` frames, in rising order.
    pub fn of(self, count: usize) -> Vec<usize> {
        match self {
            Self::All => (0..count).collect(),
            Self::Evenly(wanted) => {
                let wanted = wanted.min(count);
                (0..wanted).map(|at| (2 * at + 1) * count / (2 * wanted)).collect()
            }
            Self::First => (0..count.min(1)).collect(),
            Self::Middle => (count / 2..count).take(1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_interleaved() {
        // Two frames of one pixel: red, then a colour of each rounding.
        let values = [1.0, 0.5, 0.0, 0.001, 0.0, 2.0];
        let media = Media::quantise(2, 1, 1, &values).unwrap();
        assert_eq!(media.pixels(), [255, 0, 0, 128, 0, 255]);
        assert_eq!((media.frame(1), media.frame(2)), (&[128, 0, 255][..], &[][..]));
        assert_eq!(media.clone().with_fps(Some(8.0)).fps(), Some(8.0));
        assert_eq!(Media::new(2, 1, 1, media.pixels().to_vec()).unwrap(), media);
        let last = media.clone().with_fps(Some(8.0)).reduced(FrameReduction::Middle);
        assert_eq!((last.frames(), last.pixels(), last.fps()), (1, media.frame(1), None));
        assert_eq!(media.reduced(FrameReduction::All), media);
    }

    #[test]
    fn wrong_counts_and_values_that_are_not_finite_are_refused() {
        let message = |values: &[f32]| Media::quantise(1, 1, 1, values).unwrap_err().to_string();
        assert_eq!(message(&[0.0; 2]), "2 values, expected 3 for 1 frames of 1 rows and 1 columns");
        assert_eq!(message(&[0.0, f32::NAN, 0.0]), "value 1 is NaN, expected a finite number");
        assert_eq!(message(&[0.0, 0.0, f32::INFINITY]), "value 2 is inf, expected a finite number");
        assert!(Media::new(0, 4, 4, Vec::new()).is_err());
    }

    #[test]
    fn reductions_choose_frames() {
        assert_eq!(FrameReduction::All.of(3), [0, 1, 2]);
        assert_eq!(FrameReduction::Evenly(4).of(16), [2, 6, 10, 14]);
        assert_eq!(FrameReduction::Evenly(8).of(3), [0, 1, 2]);
        assert_eq!(FrameReduction::Evenly(1).of(5), FrameReduction::Middle.of(5));
        assert_eq!((FrameReduction::First.of(5), FrameReduction::Middle.of(8)), (vec![0], vec![4]));
        for reduction in [FrameReduction::All, FrameReduction::Evenly(3), FrameReduction::First] {
            assert_eq!((reduction.of(1), reduction.of(0)), (vec![0], vec![]));
        }
        assert_eq!((FrameReduction::Middle.of(1), FrameReduction::Middle.of(0)), (vec![0], vec![]));
    }
}

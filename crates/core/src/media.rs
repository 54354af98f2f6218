//! What a generator gives and a scorer sees: a picture, or a clip of several frames.

/// A picture or clip: `[3, frames, height, width]`, RGB in `0.0..=1.0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    frames: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Media {
    /// Wraps `values` in `[3, frames, height, width]` order and clamps them to `0.0..=1.0` (NaN becomes 0);
    /// `None` where their number differs from `3 * frames * height * width`.
    pub fn new(frames: usize, height: usize, width: usize, mut values: Vec<f32>) -> Option<Self> {
        if values.len() != 3 * frames * height * width {
            return None;
        }
        for value in &mut values {
            *value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        }
        Some(Self { frames, height, width, values })
    }

    /// Frames; 1 for a picture.
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

    /// The numbers in `[3, frames, height, width]` order, each in `0.0..=1.0`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One frame as interleaved 8-bit RGB, `height * width * 3` bytes, each `round(255 x)`.
    pub fn rgb8(&self, frame: usize) -> Vec<u8> {
        let pixels = self.height * self.width;
        let plane = self.frames * pixels;
        let start = frame * pixels;
        (0..pixels)
            .flat_map(|pixel| (0..3).map(move |channel| channel * plane + start + pixel))
            .map(|at| (self.values[at] * 255.0).round() as u8)
            .collect()
    }
}

//! Animated WebP and GIF files of a clip.
//!
//! A WebP file is a row of chunks in RIFF's framing: a header that announces an animation, its parameters, and a chunk a
//! frame that holds the lossless bitstream of a still file. Source: RFC 9649, "WebP Image Format", section 2.7.

use gif::{Encoder, Frame, Repeat};
use image_webp::{ColorType, WebPEncoder};

use crate::error::{Error, Format, Result};

/// Speed of the search for a GIF's 256 colours, 1 to 30: at 10 it is ten times as fast as at 1 and looks the same.
const PALETTE_SPEED: i32 = 10;

/// Frames of one size, `[height, width, 3]` bytes each, to be shown again and again.
#[derive(Clone, Copy, Debug)]
pub struct ClipFrames<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// In the order in which they are shown.
    pub frames: &'a [&'a [u8]],
    /// Frames per second.
    pub fps: f64,
}

impl ClipFrames<'_> {
    /// An animated WebP file with exactly these pixels.
    ///
    /// # Errors
    /// Where there is no frame, a frame has another size, or a side is longer than 16384 pixels.
    pub fn to_webp(&self) -> Result<Vec<u8>> {
        /// The frame replaces what is below it.
        const NO_BLENDING: u8 = 2;
        self.check(Format::WebP, 16_384)?;
        let less_one = |size: usize| (size as u32 - 1).to_le_bytes();
        let size = [&less_one(self.width)[..3], &less_one(self.height)[..3]].concat();
        let mut chunks = chunk(b"VP8X", &[&[2, 0, 0, 0][..], &size].concat());
        // Background colour, and 0 for repeating for ever.
        chunks.extend(chunk(b"ANIM", &[0; 6]));
        for (frame, milliseconds) in self.frames.iter().zip(self.durations(1)) {
            let mut file = Vec::new();
            WebPEncoder::new(&mut file)
                .encode(frame, self.width as u32, self.height as u32, ColorType::Rgb8)
                .map_err(|error| failed(Format::WebP, error))?;
            // A still file is a RIFF header of 12 bytes and then the chunk of its bitstream.
            let bitstream = file.get(12..).unwrap_or_default();
            let shown = [&[0; 6][..], &size, &milliseconds.to_le_bytes()[..3], &[NO_BLENDING]].concat();
            chunks.extend(chunk(b"ANMF", &[&shown[..], bitstream].concat()));
        }
        Ok(chunk(b"RIFF", &[b"WEBP", &chunks[..]].concat()))
    }

    /// An animated GIF file; frames of more than 256 colours lose some.
    ///
    /// # Errors
    /// Where there is no frame, a frame has another size, or a side is longer than 65535 pixels.
    pub fn to_gif(&self) -> Result<Vec<u8>> {
        self.check(Format::Gif, u16::MAX.into())?;
        let (width, height) = (self.width as u16, self.height as u16);
        let mut file = Vec::new();
        let mut encoder =
            Encoder::new(&mut file, width, height, &[]).map_err(|error| failed(Format::Gif, error))?;
        encoder.set_repeat(Repeat::Infinite).map_err(|error| failed(Format::Gif, error))?;
        for (frame, milliseconds) in self.frames.iter().zip(self.durations(10)) {
            let mut frame = Frame::from_rgb_speed(width, height, frame, PALETTE_SPEED);
            frame.delay = (milliseconds / 10).try_into().unwrap_or(u16::MAX);
            encoder.write_frame(&frame).map_err(|error| failed(Format::Gif, error))?;
        }
        drop(encoder);
        Ok(file)
    }

    fn check(&self, format: Format, longest: usize) -> Result<()> {
        let bytes = self.width * self.height * 3;
        let reason = if self.frames.is_empty() {
            "there is no frame".to_owned()
        } else if bytes == 0 || self.width.max(self.height) > longest {
            format!("a frame has {} x {} pixels, expected 1 to {longest} a side", self.width, self.height)
        } else if let Some(other) = self.frames.iter().find(|frame| frame.len() != bytes) {
            format!("a frame has {} bytes, expected {bytes}", other.len())
        } else {
            return Ok(());
        };
        Err(Error::Encode { format, reason })
    }

    /// How many milliseconds each frame is shown, in multiples of `unit`, without drift: the rounded ends are those of
    /// the frame rate.
    fn durations(&self, unit: u32) -> impl Iterator<Item = u32> {
        let (fps, unit) = (self.fps.clamp(0.1, 1000.0), f64::from(unit));
        let end = move |frame: usize| (1000.0 * frame as f64 / fps / unit).round() * unit;
        (0..self.frames.len()).map(move |frame| (end(frame + 1) - end(frame)) as u32)
    }
}

/// A name of four letters, the length of the content, and the content, filled up to an even length.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let filling = &[0][..content.len() % 2];
    [&name[..], &(content.len() as u32).to_le_bytes(), content, filling].concat()
}

fn failed(format: Format, error: impl ToString) -> Error {
    Error::Encode { format, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_frames;

    /// Three frames of odd size with a gradient and a moving line.
    fn frames() -> Vec<Vec<u8>> {
        let pixel = |frame: usize, at: usize| {
            let (x, y) = (at % 7, at / 7);
            if x == frame { [255, 0, 9] } else { [(x * 30) as u8, (y * 50) as u8, 77] }
        };
        (0..3).map(|frame| (0..35).flat_map(|at| pixel(frame, at)).collect()).collect()
    }

    #[test]
    fn both_formats_give_back_pixels_and_frame_rate() {
        let frames = frames();
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        for fps in [8.0, 10.0, 24.0] {
            let clip = ClipFrames { width: 7, height: 5, frames: &slices, fps };
            // 35 colours fit into the palette of a GIF.
            for file in [clip.to_webp().unwrap(), clip.to_gif().unwrap()] {
                let read = decode_frames(&file).unwrap();
                let pixels: Vec<&[u8]> = read.frames.iter().map(|frame| &frame.bytes[..]).collect();
                assert_eq!(pixels, slices);
                let found = read.fps.unwrap();
                assert!((found / fps - 1.0).abs() < 0.06, "{found} in place of {fps}");
            }
        }
    }

    #[test]
    fn rounded_durations_do_not_drift() {
        let frame: &[u8] = &[0; 3];
        let clip = ClipFrames { width: 1, height: 1, frames: &[frame; 8], fps: 8.0 };
        assert_eq!(clip.durations(10).sum::<u32>(), 1000);
        assert_eq!(clip.durations(1).collect::<Vec<_>>(), [125; 8]);
    }

    #[test]
    fn what_is_no_clip_is_an_error() {
        let message = |width, frames: &[&[u8]]| {
            let clip = ClipFrames { width, height: 1, frames, fps: 8.0 };
            [clip.to_webp().unwrap_err().to_string(), clip.to_gif().unwrap_err().to_string()]
        };
        assert!(message(1, &[])[0].contains("there is no frame"));
        assert!(message(2, &[&[0; 6], &[0; 3]])[1].contains("a frame has 3 bytes, expected 6"));
        assert!(message(70_000, &[&[0; 210_000]])[1].contains("expected 1 to 65535 a side"));
    }
}

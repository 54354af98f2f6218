//! `tensorboard/`: the figures of each step and the final images, as TensorBoard reads them.
//!
//! A file is a row of records in TensorFlow's framing (length, masked CRC-32C of the length, data, masked CRC-32C of
//! the data), each of them an `Event` in protocol-buffer encoding with a `Summary` of values. Only the few fields that
//! we need are written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The file of one run, from its beginning.
#[derive(Clone, Debug)]
pub struct EventFile {
    path: PathBuf,
    started: f64,
}

/// What happened at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// The step.
    pub step: u32,
    /// Seconds since the run began.
    pub elapsed_seconds: f64,
    /// Names, with `/` between group and figure, and what stands under them.
    pub values: Vec<(String, EventValue<'a>)>,
}

/// A value of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EventValue<'a> {
    /// A figure.
    Scalar(f64),
    /// An image as a PNG file.
    Png(&'a [u8]),
    /// A clip as a GIF file, which TensorBoard plays.
    Gif(&'a [u8]),
}

impl EventFile {
    /// The file in `folder` for a run that began at `started`, in seconds since 1970; it holds exactly `events`.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn rewrite(folder: PathBuf, started: f64, events: &[Event<'_>]) -> Result<Self> {
        let path = folder.join(format!("events.out.tfevents.{started:010.0}.noisefind"));
        let mut bytes = record(&[double(1, started), text(3, b"brain.Event:2")].concat());
        events.iter().for_each(|event| bytes.extend(record(&encode(event, started))));
        crate::atomic::write_atomic(&path, &bytes)?;
        Ok(Self { path, started })
    }

    /// Adds an event; a reader leaves out one that is written in part.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn append(&self, event: &Event<'_>) -> Result<()> {
        let failed = |source| Error::io("write", &self.path)(source);
        let length = fs::metadata(&self.path).map_err(failed)?.len();
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(failed)?;
        let written = file.write_all(&record(&encode(event, self.started)));
        if written.is_err() {
            // What follows a torn record would never be read.
            let _ = file.set_len(length);
        }
        written.map_err(failed)
    }
}

fn encode(event: &Event<'_>, started: f64) -> Vec<u8> {
    let summary = event.values.iter().map(|(name, value)| {
        let value = match value {
            EventValue::Scalar(number) => float(2, *number as f32),
            EventValue::Png(bytes) => text(4, &[png_size(bytes), text(4, bytes)].concat()),
            EventValue::Gif(bytes) => text(4, &[gif_size(bytes), text(4, bytes)].concat()),
        };
        text(1, &[text(1, name.as_bytes()), value].concat())
    });
    let summary = summary.collect::<Vec<_>>().concat();
    let wall_time = started + event.elapsed_seconds;
    [double(1, wall_time), integer(2, u64::from(event.step)), text(5, &summary)].concat()
}

/// The size of a PNG file, whose header says how large it is.
fn png_size(png: &[u8]) -> Vec<u8> {
    let number =
        |at: usize| png.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    size(number(20), number(16))
}

/// The size of a GIF file, by its header too.
fn gif_size(gif: &[u8]) -> Vec<u8> {
    let number =
        |at: usize| gif.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_le_bytes);
    size(number(8).into(), number(6).into())
}

/// Rows, columns and colour space (3: RGB) of an image.
fn size(height: u32, width: u32) -> Vec<u8> {
    [integer(1, height.into()), integer(2, width.into()), integer(3, 3)].concat()
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// The checksum of a checksum must not be trivial, so TensorFlow rotates it and adds a constant.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Number and wire type of a field: 0 an integer, 1 eight bytes, 2 a length and that many bytes, 5 four bytes.
fn key(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

fn integer(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [&key(field, 1)[..], &value.to_le_bytes()].concat()
}

fn text(field: u64, bytes: &[u8]) -> Vec<u8> {
    [&key(field, 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

fn float(field: u64, value: f32) -> Vec<u8> {
    [&key(field, 5)[..], &value.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_that_of_tensorflow() {
        // What `RecordWriter(file).write(b"abc")` of the Python package tensorboard 2.20 writes.
        let expected =
            [3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e, 0x61, 0x62, 0x63, 0x6e, 0x57, 0xf1, 0x21];
        assert_eq!(record(b"abc"), expected);
    }

    #[test]
    fn an_event_is_that_of_its_protocol_buffer() {
        let event = Event {
            step: 300,
            elapsed_seconds: 0.5,
            values: vec![("a/b".to_owned(), EventValue::Scalar(1.0))],
        };
        let expected = [
            &[0x09][..],
            &2.5f64.to_le_bytes(),
            &[0x10, 0xac, 0x02, 0x2a, 12, 0x0a, 10, 0x0a, 3],
            b"a/b",
            &[0x15],
            &1.0f32.to_le_bytes(),
        ];
        assert_eq!(encode(&event, 2.0), expected.concat());
    }

    #[test]
    fn an_image_has_the_size_of_its_header() {
        let gif = b"GIF89a\x2c\x01\x40\x00";
        assert_eq!(gif_size(gif), [0x08, 64, 0x10, 0xac, 0x02, 0x18, 3]);
        let png = [&[0; 16][..], &300u32.to_be_bytes(), &64u32.to_be_bytes()].concat();
        assert_eq!(png_size(&png), gif_size(gif));
    }

    #[test]
    fn appending_is_rewriting_with_one_event_more() {
        let folder = tempfile::tempdir().unwrap();
        let event = |step| Event { step, elapsed_seconds: f64::from(step), values: vec![] };
        let file = EventFile::rewrite(folder.path().join("one"), 1e9, &[event(1)]).unwrap();
        file.append(&event(2)).unwrap();
        let whole = EventFile::rewrite(folder.path().join("two"), 1e9, &[event(1), event(2)]).unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), fs::read(&whole.path).unwrap());
    }
}

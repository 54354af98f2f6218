//! JPEG, with the numbers of libjpeg: baseline, extended and progressive Huffman files of eight bits.
//!
//! ITU-T T.81. The standard leaves the rounding of the inverse transform, of the enlargement of subsampled colours and of
//! the conversion to RGB open; scores depend on it, so all three follow libjpeg, which Pillow uses.

mod colors;
mod entropy;
mod idct;
mod upsample;

use crate::error::{Error, Format, Result};
use crate::{RgbImage, check_size};
use colors::Space;
use entropy::{HuffmanTable, Scan, ScanComponent};

/// The order in which the coefficients of a block are coded, as rows times eight plus columns.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One colour of the file with its quantised coefficients.
struct Component {
    id: u8,
    horizontal: usize,
    vertical: usize,
    quantization: usize,
    /// Blocks that hold pixels of the image.
    blocks_wide: usize,
    blocks_high: usize,
    /// Blocks in memory in a row: a multiple of `horizontal`.
    stride: usize,
    coefficients: Vec<[i16; 64]>,
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    largest: [usize; 2],
}

impl Frame {
    /// Blocks of all components together that are coded as a unit, in rows and columns.
    fn units(&self) -> [usize; 2] {
        let [horizontal, vertical] = self.largest;
        [self.height.div_ceil(8 * vertical), self.width.div_ceil(8 * horizontal)]
    }
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
}

/// Decodes a file.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage> {
    decode_with(bytes, Tables::default(), None)
}

/// Decodes a piece of a TIFF file, whose tables may lie elsewhere, and whose colours are YCbCr or RGB.
pub(crate) fn decode_piece(tables: &[u8], bytes: &[u8], ycbcr: bool) -> Result<RgbImage> {
    let mut known = Tables::default();
    let mut reader = Reader { bytes: tables, at: 2 };
    while reader.at + 2 < tables.len() {
        let marker = reader.marker()?;
        let mut segment = reader.segment()?;
        match marker {
            0xc4 => huffman_tables(&mut segment, &mut known)?,
            0xdb => quantization_tables(&mut segment, &mut known)?,
            _ => {}
        }
    }
    decode_with(bytes, known, Some(if ycbcr { Space::YCbCr } else { Space::Rgb }))
}

/// `space` is that of three colours, where the file does not say it.
fn decode_with(bytes: &[u8], mut tables: Tables, space: Option<Space>) -> Result<RgbImage> {
    let mut reader = Reader { bytes, at: 2 };
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    loop {
        let marker = reader.marker()?;
        match marker {
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let mut segment = reader.segment()?;
        match marker {
            0xc0..=0xc2 if frame.is_none() => frame = Some(start_of_frame(&mut segment, marker == 0xc2)?),
            0xc0..=0xc2 => return Err(damaged("it has two frames")),
            0xc4 => huffman_tables(&mut segment, &mut tables)?,
            0xc3 | 0xc5..=0xcf => return Err(unsupported(marker)),
            0xdb => quantization_tables(&mut segment, &mut tables)?,
            0xdd => tables.restart_interval = usize::from(segment.word()?),
            0xe0 => tables.jfif |= segment.bytes.starts_with(b"JFIF\0"),
            0xee if segment.bytes.starts_with(b"Adobe") && segment.bytes.len() >= 12 => {
                tables.adobe_transform = Some(segment.bytes[11]);
            }
            0xda => {
                let frame = frame.as_mut().ok_or_else(|| damaged("a scan comes before the frame"))?;
                let scan = start_of_scan(&mut segment, frame)?;
                reader.at += entropy::decode_scan(&bytes[reader.at..], frame, &tables, &scan)?;
                scans += 1;
            }
            _ => {}
        }
    }
    let frame = frame.filter(|_| scans > 0).ok_or_else(|| damaged("it ends before any pixel"))?;
    output(frame, &tables, space)
}

fn output(frame: Frame, tables: &Tables, given: Option<Space>) -> Result<RgbImage> {
    let (width, height, largest) = (frame.width, frame.height, frame.largest);
    let space = match given {
        Some(space) if frame.components.len() == 3 => space,
        _ => Space::of(&frame, tables)?,
    };
    let mut planes = Vec::with_capacity(frame.components.len());
    for component in frame.components {
        let quantization = tables.quantization[component.quantization]
            .ok_or_else(|| damaged(format!("quantisation table {} is absent", component.quantization)))?;
        let stride = 8 * component.stride;
        let mut samples = vec![0; stride * 8 * component.blocks_high];
        for (row, blocks) in component.coefficients.chunks_exact(component.stride).enumerate() {
            if row >= component.blocks_high {
                break;
            }
            for (column, block) in blocks.iter().enumerate() {
                let pixels = idct::inverse(block, &quantization);
                for (line, pixels) in pixels.as_chunks::<8>().0.iter().enumerate() {
                    let start = (row * 8 + line) * stride + column * 8;
                    samples[start..start + 8].copy_from_slice(pixels);
                }
            }
        }
        let factors = [component.horizontal, component.vertical];
        let small = upsample::Plane {
            width: (width * component.horizontal).div_ceil(largest[0]),
            height: (height * component.vertical).div_ceil(largest[1]),
            stride,
            samples,
        };
        planes.push(upsample::enlarge(small, factors, largest, [width, height])?);
    }
    Ok(RgbImage { width, height, bytes: space.to_rgb(&planes) })
}

fn start_of_frame(segment: &mut Reader<'_>, progressive: bool) -> Result<Frame> {
    let bits = segment.byte()?;
    if bits != 8 {
        return Err(Error::Unsupported { format: Format::Jpeg, feature: format!("{bits} bits a colour") });
    }
    let (height, width) = (usize::from(segment.word()?), usize::from(segment.word()?));
    check_size(width, height, Format::Jpeg)?;
    let count = segment.byte()?;
    if !(1..=4).contains(&count) {
        let feature = format!("{count} components");
        return Err(Error::Unsupported { format: Format::Jpeg, feature });
    }
    let mut components = Vec::new();
    for _ in 0..count {
        let (id, factors, quantization) = (segment.byte()?, segment.byte()?, segment.byte()?);
        let (horizontal, vertical) = (usize::from(factors >> 4), usize::from(factors & 15));
        if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) || quantization > 3 {
            return Err(damaged("a component has impossible sampling factors or tables"));
        }
        // A single component is coded block by block, whatever its factors say.
        let factors = if count == 1 { [1, 1] } else { [horizontal, vertical] };
        components.push((id, factors, usize::from(quantization)));
    }
    let most = |at: usize| components.iter().map(|(_, factors, _)| factors[at]).max().unwrap_or(1);
    let mut frame = Frame { width, height, progressive, components: Vec::new(), largest: [most(0), most(1)] };
    let [rows, columns] = frame.units();
    frame.components = components
        .into_iter()
        .map(|(id, [horizontal, vertical], quantization)| {
            let stride = columns * horizontal;
            Component {
                id,
                horizontal,
                vertical,
                quantization,
                blocks_wide: (width * horizontal).div_ceil(8 * frame.largest[0]),
                blocks_high: (height * vertical).div_ceil(8 * frame.largest[1]),
                stride,
                coefficients: vec![[0; 64]; stride * rows * vertical],
            }
        })
        .collect();
    Ok(frame)
}

fn start_of_scan(segment: &mut Reader<'_>, frame: &Frame) -> Result<Scan> {
    let count = usize::from(segment.byte()?);
    let mut components = Vec::new();
    for _ in 0..count {
        let (id, tables) = (segment.byte()?, segment.byte()?);
        let index = frame.components.iter().position(|component| component.id == id);
        let index = index.ok_or_else(|| damaged(format!("a scan names component {id}, which is absent")))?;
        let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
        if dc > 3 || ac > 3 || components.iter().any(|known: &ScanComponent| known.index == index) {
            return Err(damaged("a scan names impossible tables or a component twice"));
        }
        components.push(ScanComponent { index, dc, ac });
    }
    let (start, end, bits) = (segment.byte()?, segment.byte()?, segment.byte()?);
    let (high, low) = (bits >> 4, bits & 15);
    let sequential = !frame.progressive && (start, end) == (0, 63) && bits == 0;
    let spectral = if start == 0 { end == 0 } else { start <= end && end < 64 && components.len() == 1 };
    let progressive = frame.progressive && spectral && low <= 13 && (high == 0 || high == low + 1);
    if components.is_empty() || !(sequential || progressive) {
        return Err(damaged("a scan has impossible parameters"));
    }
    Ok(Scan { components, start: usize::from(start), end: usize::from(end), refines: high > 0, low })
}

fn quantization_tables(segment: &mut Reader<'_>, tables: &mut Tables) -> Result<()> {
    while segment.at < segment.bytes.len() {
        let head = segment.byte()?;
        let table = tables
            .quantization
            .get_mut(usize::from(head & 15))
            .ok_or_else(|| damaged("a quantisation table has an impossible number"))?;
        let mut steps = [0; 64];
        for &at in &ZIGZAG {
            steps[usize::from(at)] =
                if head >> 4 == 0 { u16::from(segment.byte()?) } else { segment.word()? };
        }
        *table = Some(steps);
    }
    Ok(())
}

fn huffman_tables(segment: &mut Reader<'_>, tables: &mut Tables) -> Result<()> {
    while segment.at < segment.bytes.len() {
        let head = segment.byte()?;
        let kind = if head >> 4 == 0 { &mut tables.dc } else { &mut tables.ac };
        let table = kind
            .get_mut(usize::from(head & 15))
            .filter(|_| head >> 4 < 2)
            .ok_or_else(|| damaged("a Huffman table has an impossible number"))?;
        let lengths: [u8; 16] = segment.take(16)?.try_into().map_err(|_| truncated())?;
        let count = lengths.iter().map(|&length| usize::from(length)).sum();
        *table = Some(HuffmanTable::new(&lengths, segment.take(count)?)?);
    }
    Ok(())
}

/// Bytes with a position.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or_else(truncated)?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next marker; other bytes before it, which some cameras leave, are passed over.
    fn marker(&mut self) -> Result<u8> {
        loop {
            if self.byte()? == 0xff {
                let mut code = self.byte()?;
                while code == 0xff {
                    code = self.byte()?;
                }
                if code != 0 {
                    return Ok(code);
                }
            }
        }
    }

    fn segment(&mut self) -> Result<Self> {
        let length = usize::from(self.word()?);
        let body = length.checked_sub(2).ok_or_else(|| damaged("a segment has an impossible length"))?;
        Ok(Self { bytes: self.take(body)?, at: 0 })
    }
}

fn truncated() -> Error {
    Error::Truncated { format: Format::Jpeg }
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::Damaged { format: Format::Jpeg, reason: reason.into() }
}

fn unsupported(marker: u8) -> Error {
    let feature = match marker {
        0xc3 | 0xc7 | 0xcb | 0xcf => "lossless coding",
        0xc9 | 0xca | 0xcc => "arithmetic coding",
        _ => "hierarchical coding",
    };
    Error::Unsupported { format: Format::Jpeg, feature: feature.to_owned() }
}

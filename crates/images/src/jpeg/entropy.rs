//! Huffman codes and scans: from bytes to quantised coefficients (T.81, annexes F and G).

use super::{Component, Frame, Tables, ZIGZAG, damaged, truncated};
use crate::error::Result;

/// Codes of up to 16 bits.
pub(super) struct HuffmanTable {
    /// For each length: the code after the last one, shifted to 16 bits, and what leads from a code to its value.
    limits: [u32; 16],
    offsets: [i32; 16],
    values: Vec<u8>,
}

impl HuffmanTable {
    /// `lengths` says how many codes there are of each length from 1 on.
    pub(super) fn new(lengths: &[u8; 16], values: &[u8]) -> Result<Self> {
        let (mut limits, mut offsets) = ([0; 16], [0; 16]);
        let (mut code, mut at) = (0u32, 0i32);
        for (bits, &count) in (1..).zip(lengths) {
            offsets[bits - 1] = at - code as i32;
            code += u32::from(count);
            at += i32::from(count);
            if code > 1 << bits {
                return Err(damaged("a Huffman table has too many codes"));
            }
            limits[bits - 1] = code << (16 - bits);
            code <<= 1;
        }
        Ok(Self { limits, offsets, values: values.to_vec() })
    }
}

/// A component of a scan, by its place in the frame, and the numbers of its tables.
pub(super) struct ScanComponent {
    pub(super) index: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// What one scan brings: coefficients `start` to `end` in zigzag order, without the lowest `low` bits.
pub(super) struct Scan {
    pub(super) components: Vec<ScanComponent>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it brings one more bit of coefficients that are known already.
    pub(super) refines: bool,
    pub(super) low: u8,
}

/// Decodes the coded bytes behind a scan's header and says how many there were.
pub(super) fn decode_scan(bytes: &[u8], frame: &mut Frame, tables: &Tables, scan: &Scan) -> Result<usize> {
    let mut decoder =
        Decoder { bits: Bits { bytes, at: 0, buffer: 0, count: 0 }, predictions: [0; 4], end_of_band: 0 };
    let [unit_rows, unit_columns] = frame.units();
    let interleaved = scan.components.len() > 1;
    let [rows, columns] = match scan.components[..] {
        [ScanComponent { index, .. }] => {
            let component = &frame.components[index];
            [component.blocks_high, component.blocks_wide]
        }
        _ => [unit_rows, unit_columns],
    };
    let mut restarts = 0;
    for unit in 0..rows * columns {
        let interval = tables.restart_interval;
        if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
            decoder.restart(restarts % 8)?;
            restarts += 1;
        }
        let (row, column) = (unit / columns, unit % columns);
        for part in &scan.components {
            let component = &mut frame.components[part.index];
            let (high, wide) = if interleaved { (component.vertical, component.horizontal) } else { (1, 1) };
            for block in 0..high * wide {
                let at = (row * high + block / wide) * component.stride + column * wide + block % wide;
                decoder.block(component, at, part, tables, scan, frame.progressive)?;
            }
        }
    }
    Ok(decoder.bits.end())
}

struct Decoder<'a> {
    bits: Bits<'a>,
    /// The last coefficient of frequency 0 of each component.
    predictions: [i32; 4],
    /// Blocks that follow without any coefficient of this band.
    end_of_band: u32,
}

impl Decoder<'_> {
    fn restart(&mut self, number: u8) -> Result<()> {
        self.bits.restart(number)?;
        (self.predictions, self.end_of_band) = ([0; 4], 0);
        Ok(())
    }

    fn block(
        &mut self,
        component: &mut Component,
        at: usize,
        part: &ScanComponent,
        tables: &Tables,
        scan: &Scan,
        progressive: bool,
    ) -> Result<()> {
        let absent = || damaged("a scan names a Huffman table that is absent");
        let block =
            component.coefficients.get_mut(at).ok_or_else(|| damaged("a scan has too many blocks"))?;
        if scan.start == 0 {
            if scan.refines {
                block[0] |= (self.bits.take(1)? << scan.low) as i16;
                return Ok(());
            }
            let table = tables.dc[part.dc].as_ref().ok_or_else(absent)?;
            let size = self.bits.symbol(table)?;
            let difference = self.bits.signed(size)?;
            let prediction = &mut self.predictions[part.index & 3];
            *prediction = prediction.wrapping_add(difference);
            block[0] = (*prediction << scan.low) as i16;
            if progressive {
                return Ok(());
            }
        }
        let table = tables.ac[part.ac].as_ref().ok_or_else(absent)?;
        if scan.refines { self.refine_band(block, table, scan) } else { self.band(block, table, scan) }
    }

    /// Coefficients of other frequencies than 0, for the first time.
    fn band(&mut self, block: &mut [i16; 64], table: &HuffmanTable, scan: &Scan) -> Result<()> {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Ok(());
        }
        let mut at = scan.start.max(1);
        while at <= scan.end {
            let symbol = self.bits.symbol(table)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 {
                if run == 15 {
                    at += 16;
                    continue;
                }
                self.end_of_band = (1 << run) - 1 + self.bits.take(run)?;
                break;
            }
            at += usize::from(run);
            let value = self.bits.signed(size)?;
            let place = ZIGZAG.get(at).filter(|_| at <= scan.end).ok_or_else(|| damaged(OVERRUN))?;
            block[usize::from(*place)] = (value << scan.low) as i16;
            at += 1;
        }
        Ok(())
    }

    /// One more bit of coefficients of other frequencies than 0.
    fn refine_band(&mut self, block: &mut [i16; 64], table: &HuffmanTable, scan: &Scan) -> Result<()> {
        let bit = 1i16 << scan.low;
        let mut at = scan.start;
        if self.end_of_band == 0 {
            while at <= scan.end {
                let symbol = self.bits.symbol(table)?;
                let (mut run, size) = (symbol >> 4, symbol & 15);
                let value = match size {
                    0 if run < 15 => {
                        self.end_of_band = (1 << run) + self.bits.take(run)?;
                        break;
                    }
                    0 => 0,
                    1 => {
                        if self.bits.take(1)? == 1 {
                            bit
                        } else {
                            -bit
                        }
                    }
                    _ => return Err(damaged("a correction has an impossible size")),
                };
                loop {
                    let place = ZIGZAG.get(at).filter(|_| at <= scan.end).ok_or_else(|| damaged(OVERRUN))?;
                    let coefficient = &mut block[usize::from(*place)];
                    if *coefficient != 0 {
                        self.correct(coefficient, bit)?;
                    } else if run == 0 {
                        *coefficient = value;
                        at += 1;
                        break;
                    } else {
                        run -= 1;
                    }
                    at += 1;
                    if at > scan.end && value == 0 {
                        break;
                    }
                }
            }
        }
        if self.end_of_band > 0 {
            for &place in &ZIGZAG[at..=scan.end] {
                let coefficient = &mut block[usize::from(place)];
                if *coefficient != 0 {
                    self.correct(coefficient, bit)?;
                }
            }
            self.end_of_band -= 1;
        }
        Ok(())
    }

    fn correct(&mut self, coefficient: &mut i16, bit: i16) -> Result<()> {
        if self.bits.take(1)? == 1 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
        }
        Ok(())
    }
}

const OVERRUN: &str = "a block has more than 64 coefficients";

/// Coded bits, highest first; `ff 00` stands for the byte `ff`, and `ff` with another byte ends them.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u32,
    count: u32,
}

impl Bits<'_> {
    /// Fills the buffer to 17 bits and more where bytes are left.
    fn fill(&mut self) {
        while self.count <= 24 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer |= u32::from(byte) << (24 - self.count);
            self.count += 8;
        }
    }

    fn missing(&self) -> crate::Error {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // Only a marker may end the bits; where there is none, the file ends.
        if rest.len() < 2 { truncated() } else { damaged("a marker comes before the end of its scan") }
    }

    fn take(&mut self, count: u8) -> Result<u32> {
        let count = u32::from(count);
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(self.missing());
            }
        }
        let value = self.buffer >> (32 - count);
        self.buffer <<= count;
        self.count -= count;
        Ok(value)
    }

    /// A number of `size` bits, whose lower half stands for the negative ones (T.81, figure F.12).
    fn signed(&mut self, size: u8) -> Result<i32> {
        if size > 15 {
            return Err(damaged("a coefficient has too many bits"));
        }
        let value = self.take(size)? as i32;
        Ok(if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
    }

    fn symbol(&mut self, table: &HuffmanTable) -> Result<u8> {
        if self.count < 16 {
            self.fill();
        }
        let next = self.buffer >> 16;
        let Some(length) = table.limits.iter().position(|&limit| next < limit) else {
            return Err(if self.count < 16 { self.missing() } else { damaged("a Huffman code is unknown") });
        };
        let code = self.take(length as u8 + 1)? as i32;
        let value = table.values.get((code + table.offsets[length]) as usize);
        value.copied().ok_or_else(|| damaged("a Huffman code is unknown"))
    }

    fn restart(&mut self, number: u8) -> Result<()> {
        (self.buffer, self.count) = (0, 0);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
        match rest.get(fill) {
            Some(&code) if fill > 0 && code == 0xd0 + number => {
                self.at += fill + 1;
                Ok(())
            }
            None => Err(truncated()),
            Some(_) => Err(damaged(format!("restart marker {number} is not where it belongs"))),
        }
    }

    /// Bytes that were read, without those that only lie in the buffer.
    fn end(&self) -> usize {
        // Whole bytes in the buffer belong to the scan's padding: a marker follows, and the search for it passes over them.
        self.at
    }
}

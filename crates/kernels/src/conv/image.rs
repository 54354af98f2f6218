//! Images as the left operand of a product: each output pixel is a row, made of the pixels under its window.

use std::ops::Range;

use super::{ConvGeometry, ImageSize, Resample};
use crate::element::Element;
use crate::left::{Layout, Place, RowSource, Windows};
use crate::micro::{LoadAs, MicroKernel, Operand};

/// Rows of a task that reads windows: enough to make up for the lines that it shares with its neighbours.
const TASK_PIXELS: usize = 256;

/// The pixels under the window of each output pixel, window position by window position, as rows of a matrix.
pub struct ImageRows<'a, T> {
    pub(super) inputs: [&'a [T]; 2],
    pub(super) geometry: ConvGeometry,
    /// Zeros before the first line and the first column.
    pub(super) before: [usize; 2],
    pub(super) size: ImageSize,
    /// The input enlarged and cropped.
    pub(super) seen: ImageSize,
    pub(super) output: ImageSize,
    pub(super) place: Place,
}

impl<T: Element> RowSource<T> for ImageRows<'_, T> {
    fn copy<O: Operand>(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [O], stride: usize)
    where
        T: LoadAs<O>,
    {
        let [c0, c1] = self.geometry.in_channels;
        let channels = c0 + c1;
        let [_, kernel_columns] = self.geometry.kernel;
        let window_line = kernel_columns * channels;
        for (row, to) in rows.zip(to.chunks_exact_mut(stride)) {
            let (line, column) = (row / self.output.width, row % self.output.width * self.geometry.stride);
            let (sample, y) = (line / self.output.height, line % self.output.height * self.geometry.stride);
            for window_row in depths.start / window_line..depths.end.div_ceil(window_line) {
                let Some(y) = self.inside(0, y + window_row) else { continue };
                let first_pixel = (sample * self.size.height + y) * self.size.width;
                // Neighbours in the window are neighbours in a single input, so they are copied together.
                if self.geometry.factor() == 1 && c1 == 0 {
                    let before = self.before[1];
                    let start = before.saturating_sub(column).min(kernel_columns);
                    let end = (before + self.seen.width).saturating_sub(column).clamp(start, kernel_columns);
                    let pixel = first_pixel + (column + start).saturating_sub(before);
                    let first = window_row * window_line + start * channels;
                    copy_part(self.inputs[0], pixel * channels, first, (end - start) * channels, &depths, to);
                    continue;
                }
                for window_column in 0..kernel_columns {
                    let Some(x) = self.inside(1, column + window_column) else { continue };
                    let pixel = first_pixel + x;
                    let first = window_row * window_line + window_column * channels;
                    copy_part(self.inputs[0], pixel * c0, first, c0, &depths, to);
                    copy_part(self.inputs[1], pixel * c1, first + c0, c1, &depths, to);
                }
            }
        }
    }

    fn place(&self) -> Place {
        self.place
    }

    fn in_memory(&self) -> Option<(&[T], usize)> {
        // A window of one pixel without gaps or padding sees the image as it lies in memory.
        let geometry = &self.geometry;
        let plain = geometry.kernel == [1, 1]
            && geometry.stride == 1
            && geometry.padding == [0, 0]
            && geometry.resample == Resample::None
            && self.seen == self.size
            && geometry.in_channels[1] == 0;
        plain.then_some((self.inputs[0], geometry.in_channels[0]))
    }

    /// A window position is a shift over a copy with padding, the same for all pixels, so that rows need not be gathered for
    /// each position. Tiles read rows at one distance only. Where lines of pixels are made of whole tiles, they may have padding
    /// between them; otherwise there is a copy for each column of the window, with its lines side by side.
    fn windows<K: MicroKernel>(&self) -> Option<Windows> {
        let channels = self.geometry.in_channels[0] + self.geometry.in_channels[1];
        let ImageSize { height, width, .. } = self.output;
        let [kernel_rows, kernel_columns] = self.geometry.kernel;
        let image_rows = height * width;
        // Small images would leave most of their last tile unused.
        let pays = K::ROW_ALIGN > 1
            && self.geometry.stride == 1
            && kernel_rows * kernel_columns > 1
            && channels.is_multiple_of(K::DEPTH_ALIGN)
            && (image_rows.is_multiple_of(K::ROW_ALIGN) || image_rows >= 4 * K::ROW_ALIGN);
        if !pays {
            return None;
        }
        let one_copy = width.is_multiple_of(K::ROW_ALIGN);
        let lines = height.min((2 * TASK_PIXELS / width).max(1));
        let lines = height.div_ceil(height.div_ceil(lines));
        let copy_width = if one_copy { width + kernel_columns - 1 } else { width };
        let copies = if one_copy { 1 } else { kernel_columns };
        let line = copy_width * channels;
        let copy = (lines + kernel_rows - 1) * line;
        let offset = |position: usize| {
            let (row, column) = (position / kernel_columns, position % kernel_columns);
            row * line + column * if one_copy { channels } else { copy }
        };
        let unit_rows = lines * width;
        Some(Windows {
            layout: Layout {
                stride: channels,
                line_rows: if one_copy { width } else { usize::MAX },
                line_pitch: if one_copy { line } else { 0 },
                unit_rows,
                unit_pitch: copies * copy,
            },
            task_rows: if lines < height { unit_rows } else { unit_rows * (TASK_PIXELS / image_rows).max(1) },
            image_rows,
            copies,
            unit_length: copies * copy,
            offsets: (0..kernel_rows * kernel_columns).map(offset).collect(),
            run: channels,
            overhang: K::ROW_ALIGN * channels,
        })
    }

    fn stage_windows<O: Operand>(&self, windows: &Windows, rows: Range<usize>, to: &mut [O])
    where
        T: LoadAs<O>,
    {
        let channels = self.geometry.in_channels[0] + self.geometry.in_channels[1];
        let (height, width) = (self.output.height, self.output.width);
        let copy_width = if windows.copies == 1 { width + self.geometry.kernel[1] - 1 } else { width };
        let image_rows = height * width;
        let units = to.chunks_mut(windows.unit_length).take(rows.len().div_ceil(windows.layout.unit_rows));
        for (unit, to) in units.enumerate() {
            let first = rows.start + unit * windows.layout.unit_rows;
            let (sample, first_line) = (first / image_rows, first % image_rows / width);
            let lines =
                (rows.end - first).min(windows.layout.unit_rows) / width + self.geometry.kernel[0] - 1;
            for (shift, to) in to.chunks_exact_mut(windows.unit_length / windows.copies).enumerate() {
                for (line, to) in to.chunks_exact_mut(copy_width * channels).take(lines).enumerate() {
                    self.stage_line(sample, first_line + line, shift, to);
                }
            }
        }
    }
}

impl<T: Element> ImageRows<'_, T> {
    /// Which line (axis 0) or column (axis 1) of the input shows at a padded one; none in the padding.
    fn inside(&self, axis: usize, padded: usize) -> Option<usize> {
        let seen = [self.seen.height, self.seen.width][axis];
        let at = padded.checked_sub(self.before[axis])?;
        (at < seen).then_some(at / self.geometry.factor())
    }

    /// Writes one line of a padded image, from column `shift` of the padded image on.
    fn stage_line<O: Operand>(&self, sample: usize, line: usize, shift: usize, to: &mut [O])
    where
        T: LoadAs<O>,
    {
        let [c0, c1] = self.geometry.in_channels;
        let before = self.before[1];
        let factor = self.geometry.factor();
        let Some(y) = self.inside(0, line) else {
            to.fill(O::default());
            return;
        };
        let first_pixel = (sample * self.size.height + y) * self.size.width;
        let count = to.len() / (c0 + c1);
        let start = before.saturating_sub(shift).min(count);
        let end = (before + self.seen.width).saturating_sub(shift).clamp(start, count);
        let (padding, rest) = to.split_at_mut(start * (c0 + c1));
        padding.fill(O::default());
        let (pixels, padding) = rest.split_at_mut((end - start) * (c0 + c1));
        padding.fill(O::default());
        let first_column = (start + shift).saturating_sub(before);
        if factor == 1 && c1 == 0 {
            load_all(&self.inputs[0][(first_pixel + first_column) * c0..], pixels);
            return;
        }
        for (column, to) in pixels.chunks_exact_mut(c0 + c1).enumerate() {
            let pixel = first_pixel + (first_column + column) / factor;
            let (first, second) = to.split_at_mut(c0);
            load_all(&self.inputs[0][pixel * c0..], first);
            load_all(&self.inputs[1][pixel * c1..], second);
        }
    }
}

/// Copies the part of `count` numbers at `from[start..]` that lies inside `depths`, where they begin at `first`.
#[inline]
fn copy_part<T: LoadAs<O>, O: Copy>(
    from: &[T],
    start: usize,
    first: usize,
    count: usize,
    depths: &Range<usize>,
    to: &mut [O],
) {
    let (begin, end) = (first.max(depths.start), (first + count).min(depths.end));
    if begin < end {
        load_all(&from[start + begin - first..], &mut to[begin - depths.start..end - depths.start]);
    }
}

/// Fills `to` with the first numbers of `from`.
fn load_all<T: LoadAs<O>, O: Copy>(from: &[T], to: &mut [O]) {
    if let Some(from) = T::as_operands(from) {
        to.copy_from_slice(&from[..to.len()]);
        return;
    }
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.load();
    }
}

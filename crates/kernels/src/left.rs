//! The left operand of a product: rows in memory, rows that are gathered block by block, or windows over padded images.

use std::ops::Range;

use crate::element::Element;
use crate::micro::{LoadAs, MicroKernel, Operand, Rows};

/// `m` rows of `k` numbers each, which need not exist in memory as such.
pub(crate) trait RowSource<T>: Sync {
    /// Writes elements `depths` of each of `rows` as rows of `stride` operands. `to` is zero where nothing is written.
    fn copy<O: Operand>(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [O], stride: usize)
    where
        T: LoadAs<O>;

    /// Where the rows of the product go.
    fn place(&self) -> Place {
        Place::InOrder
    }

    /// The rows themselves and their stride, where they lie in memory.
    fn in_memory(&self) -> Option<(&[T], usize)>;

    /// How the rows can be read as windows over a copy, where that is cheaper than to gather them.
    fn windows<K: MicroKernel>(&self) -> Option<Windows>;

    /// Writes the copy that `windows` describes for `rows`, all of `to`.
    fn stage_windows<O: Operand>(&self, windows: &Windows, rows: Range<usize>, to: &mut [O])
    where
        T: LoadAs<O>;
}

/// Where the rows of a product go in the output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Each to its own place.
    InOrder,
    /// A row stands for a pixel of an image; it goes to the pixel of this parity in an image of twice the size.
    Doubled {
        /// Pixels in a line of the small image.
        width: usize,
        /// Odd or even line, odd or even column.
        parity: [usize; 2],
    },
}

impl Place {
    /// How many rows the output has where the product has `m`.
    pub(crate) fn rows(self, m: usize) -> usize {
        match self {
            Self::InOrder => m,
            Self::Doubled { .. } => 4 * m,
        }
    }

    /// The row of the output.
    #[inline(always)]
    pub(crate) fn of(self, row: usize) -> usize {
        match self {
            Self::InOrder => row,
            Self::Doubled { width, parity } => {
                let (line, column) = (row / width, row % width);
                (2 * line + parity[0]) * 2 * width + 2 * column + parity[1]
            }
        }
    }
}

/// A dense matrix `[m, k]`.
pub struct DenseRows<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) k: usize,
}

impl<T: Element> RowSource<T> for DenseRows<'_, T> {
    fn copy<O: Operand>(&self, rows: Range<usize>, depths: Range<usize>, to: &mut [O], stride: usize)
    where
        T: LoadAs<O>,
    {
        for (row, to) in rows.zip(to.chunks_exact_mut(stride)) {
            for (from, to) in self.x[row * self.k..][depths.clone()].iter().zip(to) {
                *to = from.load();
            }
        }
    }

    fn in_memory(&self) -> Option<(&[T], usize)> {
        Some((self.x, self.k))
    }

    fn windows<K: MicroKernel>(&self) -> Option<Windows> {
        None
    }

    fn stage_windows<O: Operand>(&self, _windows: &Windows, _rows: Range<usize>, _to: &mut [O])
    where
        T: LoadAs<O>,
    {
    }
}

/// Where rows begin: `unit * unit_pitch + line * line_pitch + rest * stride`, with `row = line * line_rows + rest`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Elements from a row to the next one in its line.
    pub(crate) stride: usize,
    /// Rows of a line.
    pub(crate) line_rows: usize,
    /// Elements from a line to the next.
    pub(crate) line_pitch: usize,
    /// Rows of a unit (an image, or all rows); a group of rows never crosses its end.
    pub(crate) unit_rows: usize,
    /// Elements from a unit to the next.
    pub(crate) unit_pitch: usize,
}

impl Layout {
    /// One unit of rows at a fixed distance.
    pub(crate) fn dense(stride: usize) -> Self {
        Self { stride, line_rows: usize::MAX, line_pitch: 0, unit_rows: usize::MAX, unit_pitch: 0 }
    }

    /// Some rows of a unit inside `a`, at most `ROWS`.
    pub(crate) fn rows<'a, K: MicroKernel>(
        &self,
        a: &'a [K::Operand],
        unit: usize,
        group: &Range<usize>,
        offsets: &'a [usize],
    ) -> Rows<'a, K::Operand> {
        let start = self.place(unit, group.start);
        let has_second = group.len() > K::ROW_ALIGN;
        let second = if has_second { self.place(unit, group.start + K::ROW_ALIGN) - start } else { 0 };
        Rows { first: &a[start..], stride: self.stride, second, count: group.len(), offsets }
    }

    fn place(&self, unit: usize, row: usize) -> usize {
        unit * self.unit_pitch + row / self.line_rows * self.line_pitch + row % self.line_rows * self.stride
    }
}

/// A part of the sums that is computed in one go: `offsets.len()` runs of `run` elements from each row's place.
#[derive(Clone, Debug)]
pub(crate) struct DepthBlock {
    /// Which elements of the sums.
    pub(crate) depths: Range<usize>,
    /// From a row's place to each run.
    pub(crate) offsets: Vec<usize>,
    /// Length of a run.
    pub(crate) run: usize,
}

impl DepthBlock {
    /// Parts of one run each, at most `longest`, as equal as `align` allows.
    pub(crate) fn even(depth: usize, longest: usize, align: usize) -> Vec<Self> {
        let size = depth.div_ceil(depth.div_ceil(longest)).next_multiple_of(align);
        let part = |start: usize| start..depth.min(start + size);
        (0..depth)
            .step_by(size)
            .map(|start| Self { depths: part(start), offsets: vec![0], run: part(start).len() })
            .collect()
    }
}

/// Rows that are windows over a padded copy of images: a window position is a shift that is the same for all rows.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    /// Where the first element of each window lies.
    pub(crate) layout: Layout,
    /// Rows of a task: several units, or a part of one.
    pub(crate) task_rows: usize,
    /// Rows of a whole image.
    pub(crate) image_rows: usize,
    /// Copies of a unit that follow each other, one for each column of the window, or one for all.
    pub(crate) copies: usize,
    /// Elements of all copies of a unit, without those that are read, but not used, behind its end.
    pub(crate) unit_length: usize,
    /// From a row's place to each window position.
    pub(crate) offsets: Vec<usize>,
    /// Elements of a window position: the channels.
    pub(crate) run: usize,
    /// Elements behind the last unit that a group of rows may read.
    pub(crate) overhang: usize,
}

impl Windows {
    /// The rows of each task.
    pub(crate) fn tasks(&self, m: usize) -> Vec<Range<usize>> {
        if self.task_rows >= self.image_rows {
            return (0..m)
                .step_by(self.task_rows)
                .map(|start| start..m.min(start + self.task_rows))
                .collect();
        }
        let images = (0..m).step_by(self.image_rows);
        let parts = |first: usize| {
            let starts = (first..first + self.image_rows).step_by(self.task_rows);
            starts.map(move |start| start..(first + self.image_rows).min(start + self.task_rows))
        };
        images.flat_map(parts).collect()
    }

    /// Elements of the copy for a task of so many rows.
    pub(crate) fn staged_length(&self, rows: usize) -> usize {
        let units = rows.div_ceil(self.layout.unit_rows);
        (units - 1) * self.layout.unit_pitch + self.unit_length + self.overhang
    }

    /// Several whole window positions at a time, or parts of one.
    pub(crate) fn depth_blocks(&self, longest: usize, align: usize) -> Vec<DepthBlock> {
        let run = self.run;
        if run > longest {
            // All window positions of some channels follow each other, so that these channels stay in the cache.
            let parts = DepthBlock::even(run, longest, align).into_iter();
            let positions = |part: DepthBlock| {
                self.offsets.iter().enumerate().map(move |(position, offset)| DepthBlock {
                    depths: position * run + part.depths.start..position * run + part.depths.end,
                    offsets: vec![offset + part.depths.start],
                    run: part.run,
                })
            };
            return parts.flat_map(positions).collect();
        }
        let count = self.offsets.len();
        let per_block = count.div_ceil(count.div_ceil(longest / run));
        let block = |(number, offsets): (usize, &[usize])| {
            let start = number * per_block * run;
            DepthBlock { depths: start..start + offsets.len() * run, offsets: offsets.to_vec(), run }
        };
        self.offsets.chunks(per_block).enumerate().map(block).collect()
    }
}

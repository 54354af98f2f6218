//! A 3x3 window as products over transformed tiles of 4x4 pixels, each of which gives 2x2 pixels of the output.
//!
//! Winograd's minimal filtering F(2x2, 3x3): `Y = A^T [(G g G^T) * (B^T d B)] A` with 16 multiplications in place of 36.
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. The sums over channels are
//! ordinary matrix products, one for each of the 16 positions in a tile.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::{ConvGeometry, ImageSize, Resample};
use crate::activation::{Activation, Map, maps, with_map};
use crate::element::{Dtype, Element, Format, WeightStorage};
use crate::epilogue::{Epilogue, finish_vector};
use crate::error::Result;
use crate::isa::Isa;
use crate::left::DepthBlock;
use crate::matrix::{Gating, PackedMatrix};
use crate::micro::{LoadAs, MicroKernel, Rows, multiply};
use crate::panel::Panels;
use crate::product::SharedOutput;
use crate::scratch::{AlignedBox, Scratch};
use crate::vector::{Loop, Vector};

/// Positions in a tile.
const POSITIONS: usize = 16;
/// Columns of the output are padded to a multiple of this, which is one of every panel's width.
const COLUMN_ALIGN: usize = 32;
/// Fewer channels than this leave the transforms more to do than the products save.
const MIN_CHANNELS: usize = 16;
/// Most weights of one window position: transformed ones take 16 / 9 of the memory, which only small layers have to spare.
const MAX_WEIGHTS: usize = 1 << 20;
/// Most tiles of a task.
const MAX_TASK_TILES: usize = 64;
/// Most bytes of transformed input of a task: half of a second-level cache.
const MAX_TASK_BYTES: usize = 512 << 10;

/// The weights of a 3x3 convolution, transformed.
#[derive(Clone, Debug)]
pub struct TiledConv {
    /// The columns of all positions, one position after the other.
    matrix: PackedMatrix,
    /// Padded with zeros.
    bias: AlignedBox<f32>,
    /// Columns of the output.
    n: usize,
}

/// How many numbers a packed 3x3 window from `channels` to `n` channels has, where it keeps the image's size and no
/// matrix tiles multiply it.
pub fn packed_window_len(n: usize, channels: usize) -> usize {
    n * channels * if pays(n, channels) { POSITIONS } else { 9 }
}

fn pays(n: usize, channels: usize) -> bool {
    channels.min(n) >= MIN_CHANNELS && channels * n <= MAX_WEIGHTS
}

impl TiledConv {
    /// Transforms `weights` `[out_channels, 3, 3, channels]`; gives nothing where that would not pay.
    pub(super) fn pack(
        isa: Isa,
        weights: &[f32],
        bias: Option<&[f32]>,
        geometry: ConvGeometry,
        format: Format,
    ) -> Result<Option<Self>> {
        let ConvGeometry {
            in_channels: [channels, more],
            out_channels: n,
            kernel,
            stride,
            padding,
            resample,
        } = geometry;
        let keeps_size = resample == Resample::None && (kernel, stride, padding) == ([3, 3], 1, [1, 1]);
        // Tiles of a matrix unit multiply faster than anything could be transformed.
        let has_tiles = isa == Isa::AmxBf16 && format.activations == Dtype::Bf16;
        // Transformed weights are sums of several, which 8 bits hold too roughly.
        let is_rough = format.weights == WeightStorage::Int8;
        if !keeps_size || more > 0 || has_tiles || is_rough || !pays(n, channels) {
            return Ok(None);
        }
        let columns = n.next_multiple_of(COLUMN_ALIGN);
        let mut transformed = vec![0.0; POSITIONS * columns * channels];
        for (column, window) in weights.chunks_exact(9 * channels).enumerate() {
            for channel in 0..channels {
                let tap = |row: usize, column: usize| window[(3 * row + column) * channels + channel];
                let lines: [[f32; 4]; 3] =
                    std::array::from_fn(|row| spread([0, 1, 2].map(|at| tap(row, at))));
                for across in 0..4 {
                    for (down, value) in
                        spread([0, 1, 2].map(|row| lines[row][across])).into_iter().enumerate()
                    {
                        transformed[((4 * down + across) * columns + column) * channels + channel] = value;
                    }
                }
            }
        }
        let shape = [POSITIONS * columns, channels];
        let matrix = PackedMatrix::pack_for(isa, &transformed, None, shape, Gating::None, format)?;
        let mut padded_bias = AlignedBox::zeros(columns);
        padded_bias.iter_mut().zip(bias.unwrap_or_default()).for_each(|(to, &bias)| *to = bias);
        Ok(Some(Self { matrix, bias: padded_bias, n }))
    }

    /// The transformed weights, `[16 * columns padded, channels]`.
    pub(crate) fn matrix(&self) -> &PackedMatrix {
        &self.matrix
    }

    /// Columns of the output.
    pub(crate) fn columns(&self) -> usize {
        self.n
    }

    /// Multiplications for each pixel of the output.
    pub(super) fn multiplications_per_pixel(&self) -> usize {
        self.matrix.k() * self.n * POSITIONS / 4
    }
}

/// A row of `G`, four times: three taps of a window become four.
fn spread([a, b, c]: [f32; 3]) -> [f32; 4] {
    [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c]
}

/// A convolution on its way into `out`, which has the size that is seen of `x`.
pub(crate) struct TiledProduct<'a, K: MicroKernel, T> {
    pub(crate) x: &'a [T],
    /// Size of `x`.
    pub(crate) size: ImageSize,
    /// What is seen of it, and the size of `out`.
    pub(crate) seen: ImageSize,
    pub(crate) conv: &'a TiledConv,
    pub(crate) panels: &'a Panels<K>,
    pub(crate) epilogue: Epilogue<'a, T>,
    pub(crate) out: SharedOutput<T>,
}

impl<K: MicroKernel, T: Element + LoadAs<K::Operand>> TiledProduct<'_, K, T> {
    /// Computes all of it on the current rayon pool.
    pub(crate) fn run(&self) {
        let tiles = self.seen.batch * self.seen.height.div_ceil(2) * self.seen.width.div_ceil(2);
        let tile_bytes = POSITIONS * self.panels.depth() * size_of::<K::Operand>();
        let fits = (MAX_TASK_BYTES / tile_bytes).min(MAX_TASK_TILES);
        let task = (fits / K::ROWS).max(1) * K::ROWS;
        (0..tiles.div_ceil(task)).into_par_iter().with_max_len(1).for_each(|at| {
            K::begin();
            self.task(at * task..tiles.min((at + 1) * task));
            K::end();
        });
    }

    /// Computes the output of some tiles.
    fn task(&self, tiles: Range<usize>) {
        let (count, depth) = (tiles.len(), self.panels.depth());
        let mut staged = Scratch::<K::Operand>::take(POSITIONS * count * depth);
        let (kernel, to) = (PhantomData, &mut *staged);
        let stage = Stage::<K, T> {
            x: self.x,
            size: self.size,
            seen: self.seen,
            tiles: tiles.clone(),
            channels: self.panels.k,
            depth,
            to,
            kernel,
        };
        // SAFETY: panels of this type exist only where its instruction set does.
        unsafe { K::vectorise(stage) };
        let blocks = DepthBlock::even(depth, K::MAX_DEPTH, K::DEPTH_ALIGN);
        let mut sums = Scratch::<f32>::take(POSITIONS * count * K::WIDTH);
        let mut widened = self.panels.room_to_widen(&blocks);
        let panels = self.panels.count() / POSITIONS;
        for panel in 0..self.conv.n.div_ceil(K::WIDTH) {
            let narrow = self.conv.n - panel * K::WIDTH <= K::WIDTH / 2;
            let positions = staged.chunks_exact(count * depth).zip(sums.chunks_exact_mut(count * K::WIDTH));
            for (position, (rows, sums)) in positions.enumerate() {
                for (number, block) in blocks.iter().enumerate() {
                    let b = self.panels.weights(position * panels + panel, &block.depths, &mut widened);
                    for (group, sums) in sums.chunks_mut(K::ROWS * K::WIDTH).enumerate() {
                        let first = &rows[group * K::ROWS * depth + block.depths.start..];
                        let rows = Rows::dense::<K>(first, depth, sums.len() / K::WIDTH);
                        multiply::<K>(rows, b, block.run, sums, narrow, number > 0);
                    }
                }
            }
            let finish = FinishTiles { product: self, tiles: tiles.clone(), panel, sums: &sums };
            // SAFETY: as above.
            unsafe { K::vectorise(finish) };
        }
    }
}

/// Where a tile of 2x2 output pixels lies: its image, its first line and its first column.
#[inline(always)]
fn place(out: ImageSize, tile: usize) -> [usize; 3] {
    let (lines, columns) = (out.height.div_ceil(2), out.width.div_ceil(2));
    [tile / (lines * columns), tile / columns % lines * 2, tile % columns * 2]
}

/// Transforms tiles of the input: `to` `[position, tile, depth]` becomes `B^T d B`.
struct Stage<'a, K: MicroKernel, T> {
    x: &'a [T],
    size: ImageSize,
    seen: ImageSize,
    tiles: Range<usize>,
    channels: usize,
    depth: usize,
    to: &'a mut [K::Operand],
    kernel: PhantomData<K>,
}

impl<K: MicroKernel, T: Element> Loop for Stage<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (lanes, count) = (K::Vector::LANES, self.tiles.len());
        let (size, seen) = (self.size, self.seen);
        for (row, tile) in self.tiles.enumerate() {
            let [sample, y, x] = place(seen, tile);
            // The pixels under the tile, which begins one before its output; none in the padding.
            let mut pixels = [[None; 4]; 4];
            for (down, pixels) in pixels.iter_mut().enumerate() {
                for (across, pixel) in pixels.iter_mut().enumerate() {
                    let (y, x) = ((y + down).wrapping_sub(1), (x + across).wrapping_sub(1));
                    if y < seen.height && x < seen.width {
                        *pixel = Some(((sample * size.height + y) * size.width + x) * self.channels);
                    }
                }
            }
            for first in (0..self.channels).step_by(lanes) {
                let mut tile = [[K::Vector::splat(0.0); 4]; 4];
                for (tile, pixels) in tile.iter_mut().zip(&pixels) {
                    for (tile, pixel) in tile.iter_mut().zip(pixels) {
                        if let Some(start) = pixel {
                            *tile = K::Vector::load(&self.x[start + first..start + self.channels]);
                        }
                    }
                }
                for at in 0..4 {
                    let column = differences([tile[0][at], tile[1][at], tile[2][at], tile[3][at]]);
                    for (line, value) in tile.iter_mut().zip(column) {
                        line[at] = value;
                    }
                }
                for (down, line) in tile.into_iter().enumerate() {
                    for (across, value) in differences(line).into_iter().enumerate() {
                        let start = ((4 * down + across) * count + row) * self.depth;
                        value.store(&mut self.to[start + first..start + self.depth]);
                    }
                }
            }
        }
    }
}

/// A row of `B^T`.
#[inline(always)]
fn differences<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
    [a.sub(c), b.add(c), c.sub(b), b.sub(d)]
}

/// A row of `A^T`.
#[inline(always)]
fn gather<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
    [a.add(b).add(c), b.sub(c).sub(d)]
}

/// Takes one panel of the sums of some tiles, `[position, tile, WIDTH]`, to memory.
struct FinishTiles<'a, K: MicroKernel, T> {
    product: &'a TiledProduct<'a, K, T>,
    tiles: Range<usize>,
    panel: usize,
    sums: &'a [f32],
}

impl<K: MicroKernel, T: Element> Loop for FinishTiles<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_map!(self.product.epilogue.activation, M => self.all_tiles::<M>());
    }
}

impl<K: MicroKernel, T: Element> FinishTiles<'_, K, T> {
    #[inline(always)]
    fn all_tiles<M: Map>(self) {
        let (lanes, count, n) = (K::Vector::LANES, self.tiles.len(), self.product.conv.n);
        let (size, epilogue, out) = (self.product.seen, &self.product.epilogue, &self.product.out);
        let samples = epilogue.sample_bias.map_or(1, |bias| bias.len() / n);
        let rows_per_sample = (size.pixels() / samples).max(1);
        for half in 0..2 {
            let first = self.panel * K::WIDTH + half * lanes;
            let columns = lanes.min(n.saturating_sub(first));
            if columns == 0 {
                continue;
            }
            let bias = K::Vector::load(&self.product.conv.bias[first..]);
            for (row, tile) in self.tiles.clone().enumerate() {
                let [sample, y, x] = place(size, tile);
                let mut lines = [[K::Vector::splat(0.0); 4]; 2];
                let [top, bottom] = &mut lines;
                for (across, (top, bottom)) in top.iter_mut().zip(bottom).enumerate() {
                    let sums = |down: usize| {
                        let start = ((4 * down + across) * count + row) * K::WIDTH + half * lanes;
                        K::Vector::load(&self.sums[start..start + lanes])
                    };
                    [*top, *bottom] = gather([sums(0), sums(1), sums(2), sums(3)]);
                }
                for (down, line) in lines.into_iter().enumerate() {
                    for (across, value) in gather(line).into_iter().enumerate() {
                        if y + down >= size.height || x + across >= size.width {
                            continue;
                        }
                        let pixel = (sample * size.height + y + down) * size.width + x + across;
                        let start = pixel * n + first;
                        let sample_bias = epilogue
                            .sample_bias
                            .map(|bias| &bias[pixel / rows_per_sample * n + first..][..columns]);
                        let residual = epilogue.residual.map(|residual| &residual[start..start + columns]);
                        // SAFETY: each element of the output belongs to one tile and one panel, and so to one task.
                        let out = unsafe { out.slice(start, columns) };
                        finish_vector::<M, _, _>(value.add(bias), sample_bias, residual, out);
                    }
                }
            }
        }
    }
}

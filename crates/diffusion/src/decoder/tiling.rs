//! Large images decoded tile by tile, so that memory follows from the tile and not from the image.
//!
//! Reference: what `enable_tiling` switches on in `AutoencoderKL` and `AutoencoderTiny` of diffusers 0.42.1. Group norms
//! and attention see a tile and not the whole, so the image is a slightly different one; overlaps hide the seams.

use super::DecoderInfo;
use noisefind_nn::error::Result;

/// Where an image is cut, and how its pieces are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Sides of a tile in latents.
    pub(super) side: usize,
    /// Latents that a tile shares with its neighbour; at least 1 and less than `side`.
    pub(super) overlap: usize,
    /// Pixels along each axis for one latent.
    pub(super) pixels: usize,
    pub(super) seams: Seams,
}

/// How overlapping tiles become one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seams {
    /// Each tile fades into its upper neighbour, then into its left one, and what hangs over is cut off: `AutoencoderKL`.
    Faded,
    /// Each tile is laid over the image so far, more opaque with each pixel of the overlap: `AutoencoderTiny`.
    Laid,
}

/// Numbers of one image or of its latents, `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plane {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) values: Vec<f32>,
}

impl Tiling {
    /// The tiles that diffusers makes for this decoder, where its sizes can be divided into such.
    pub(super) fn of(info: &DecoderInfo) -> Option<Self> {
        /// Pixels of a tile of a decoder whose config does not say for which size it was trained.
        const SAMPLE_SIZE: usize = 512;
        let pixels = info.pixels_per_latent;
        let (sample_size, parts) = (info.tile.sample_size.unwrap_or(SAMPLE_SIZE), info.tile.overlaps);
        let side = sample_size / pixels;
        let divides = side > 0 && sample_size.is_multiple_of(pixels) && side.is_multiple_of(parts);
        divides.then_some(Self { side, overlap: side / parts, pixels, seams: info.tile.seams })
    }

    /// Whether latents of this size are cut; the small decoder's always are, as in diffusers.
    pub(super) fn applies_to(&self, height: usize, width: usize) -> bool {
        self.seams == Seams::Laid || height > self.side || width > self.side
    }

    /// Decodes each tile by `decode`, which makes `pixels` times `pixels` of each latent, and joins the results.
    pub(super) fn decode(
        &self,
        latents: &Plane,
        mut decode: impl FnMut(Plane) -> Result<Plane>,
    ) -> Result<Plane> {
        let starts = |size: usize| (0..size).step_by(self.side - self.overlap);
        let shared = self.overlap * self.pixels;
        let kept = (self.side - self.overlap) * self.pixels;
        let mut image = Plane::zeros(latents.height * self.pixels, latents.width * self.pixels);
        let mut above: Vec<Plane> = Vec::new();
        for top in starts(latents.height) {
            let mut row: Vec<Plane> = Vec::new();
            for (column, left) in starts(latents.width).enumerate() {
                let mut tile = decode(latents.part(top, left, self.side))?;
                let corner = [top * self.pixels, left * self.pixels];
                if self.seams == Seams::Laid {
                    image.lay(&tile, corner, shared);
                    continue;
                }
                if let Some(above) = above.get(column) {
                    tile.fade_from_above(above, shared);
                }
                if let Some(before) = row.last() {
                    tile.fade_from_left(before, shared);
                }
                image.put(&tile, corner, kept);
                row.push(tile);
            }
            above = row;
        }
        Ok(image)
    }
}

impl Plane {
    /// A black image of three colours.
    fn zeros(height: usize, width: usize) -> Self {
        Self { height, width, channels: 3, values: vec![0.0; height * width * 3] }
    }

    /// The square of this side from a corner on, or what there is of it.
    fn part(&self, top: usize, left: usize, side: usize) -> Self {
        let (height, width) = (side.min(self.height - top), side.min(self.width - left));
        let line = |y: usize| &self.line(top + y)[left * self.channels..(left + width) * self.channels];
        let values = (0..height).flat_map(line).copied().collect();
        Self { height, width, channels: self.channels, values }
    }

    fn line(&self, y: usize) -> &[f32] {
        &self.values[y * self.width * self.channels..(y + 1) * self.width * self.channels]
    }

    fn line_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.values[y * self.width * self.channels..(y + 1) * self.width * self.channels]
    }

    /// The first `shared` rows come in while the last ones of `above` go out.
    fn fade_from_above(&mut self, above: &Self, shared: usize) {
        let shared = shared.min(self.height).min(above.height);
        for y in 0..shared {
            let share = y as f32 / shared as f32;
            for (new, old) in self.line_mut(y).iter_mut().zip(above.line(above.height - shared + y)) {
                *new = old * (1.0 - share) + *new * share;
            }
        }
    }

    /// The first `shared` columns come in while the last ones of `before` go out.
    fn fade_from_left(&mut self, before: &Self, shared: usize) {
        let shared = shared.min(self.width).min(before.width);
        let channels = self.channels;
        for y in 0..self.height {
            let old = &before.line(y)[(before.width - shared) * channels..];
            for (at, (new, old)) in self.line_mut(y).iter_mut().zip(old).enumerate() {
                let share = (at / channels) as f32 / shared as f32;
                *new = old * (1.0 - share) + *new * share;
            }
        }
    }

    /// Writes no more than the first `kept` rows and columns of `tile`.
    fn put(&mut self, tile: &Self, [top, left]: [usize; 2], kept: usize) {
        let count = tile.width.min(kept) * tile.channels;
        let start = left * self.channels;
        for y in 0..tile.height.min(kept) {
            self.line_mut(top + y)[start..start + count].copy_from_slice(&tile.line(y)[..count]);
        }
    }

    /// Lays `tile` over what is there, fading in from the edges at which it has neighbours.
    fn lay(&mut self, tile: &Self, [top, left]: [usize; 2], shared: usize) {
        let opacity = |start: usize, at: usize| {
            if start == 0 { 1.0 } else { (at as f32 / (shared - 1) as f32).min(1.0) }
        };
        let (channels, start) = (self.channels, left * self.channels);
        for y in 0..tile.height {
            let over = tile.line(y);
            let under = &mut self.line_mut(top + y)[start..start + over.len()];
            for (at, (under, over)) in under.iter_mut().zip(over).enumerate() {
                let share = opacity(top, y) * opacity(left, at / channels);
                *under = share * over + (1.0 - share) * *under;
            }
        }
    }
}

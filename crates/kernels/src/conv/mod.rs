//! Two-dimensional convolution over images `[batch, height, width, channels]` as an implicit matrix product.

mod doubled;
mod image;
mod tiles;

use crate::element::{Element, Format};
use crate::epilogue::Epilogue;
use crate::error::{Result, check_length, check_shape};
use crate::isa::Isa;
use crate::left::Place;
use crate::matrix::{Gating, PackedMatrix};

pub(crate) use image::ImageRows;
pub use tiles::packed_window_len;
pub(crate) use tiles::{TiledConv, TiledProduct};

/// What happens to the image before the convolution sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    #[default]
    None,
    /// Every pixel becomes two by two.
    NearestDouble,
}

/// The fixed sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Channels of the input and of the optional second input, which is its continuation (a concatenated skip).
    pub in_channels: [usize; 2],
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Step between windows, on both axes.
    pub stride: usize,
    /// Zeros before and after each axis that the window spans by more than one.
    pub padding: [usize; 2],
    /// Enlargement of the input.
    pub resample: Resample,
}

impl ConvGeometry {
    /// A square window with the same padding on all sides, one input, no enlargement.
    pub const fn square(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        Self {
            in_channels: [in_channels, 0],
            out_channels,
            kernel: [kernel, kernel],
            stride,
            padding: [padding, padding],
            resample: Resample::None,
        }
    }

    /// Size of the output for an input of this size.
    ///
    /// # Errors
    /// The padded input is smaller than the window, or the stride is 0.
    pub fn output_size(&self, input: ImageSize) -> Result<ImageSize> {
        self.cropped_output_size(input, [0, 0])
    }

    /// Size of the output where the last `crop` rows and columns of the enlarged input are left out.
    ///
    /// # Errors
    /// As [`Self::output_size`], or more is left out than is there.
    pub fn cropped_output_size(&self, input: ImageSize, crop: [usize; 2]) -> Result<ImageSize> {
        check_shape("stride", "at least 1", self.stride, self.stride > 0)?;
        let seen = self.seen(input, crop)?;
        let along = |size: usize, kernel: usize| {
            let [before, after] = self.padding_along(kernel);
            let padded = size + before + after;
            check_shape("padded input", "at least the window", padded, padded >= kernel && kernel > 0)?;
            Ok((padded - kernel) / self.stride + 1)
        };
        Ok(ImageSize {
            batch: input.batch,
            height: along(seen.height, self.kernel[0])?,
            width: along(seen.width, self.kernel[1])?,
        })
    }

    /// The image that windows slide over: enlarged, then cropped.
    fn seen(&self, input: ImageSize, crop: [usize; 2]) -> Result<ImageSize> {
        let factor = self.factor();
        let along = |size: usize, crop: usize| {
            check_shape("crop", "less than the enlarged input", crop, crop < size * factor || crop == 0)?;
            Ok(size * factor - crop)
        };
        Ok(ImageSize {
            batch: input.batch,
            height: along(input.height, crop[0])?,
            width: along(input.width, crop[1])?,
        })
    }

    /// Zeros before and after an axis along which the window has `kernel` pixels; a window of one pixel needs none.
    const fn padding_along(&self, kernel: usize) -> [usize; 2] {
        if kernel > 1 { self.padding } else { [0, 0] }
    }

    const fn factor(&self) -> usize {
        match self.resample {
            Resample::None => 1,
            Resample::NearestDouble => 2,
        }
    }
}

/// How many images, and their size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Images.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// Pixels of all images together.
    pub const fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }
}

/// The weights of a convolution in the order in which the kernels read them, and its bias.
#[derive(Clone, Debug)]
pub struct PackedConv {
    geometry: ConvGeometry,
    body: Body,
}

/// How the sums are formed.
#[derive(Clone, Debug)]
enum Body {
    /// As they are defined.
    Windows(PackedMatrix),
    /// Over doubled pixels: whole windows where pixels are left out, else parts that each see only single pixels.
    Doubled { whole: PackedMatrix, parts: Box<[doubled::Part; 4]> },
    /// Over transformed tiles.
    Tiles(TiledConv),
}

impl PackedConv {
    /// Packs `weights` `[out_channels, in_channels (both inputs), rows, columns]` and `bias` `[out_channels]` in a format.
    ///
    /// # Errors
    /// A length that does not fit, or a size of 0.
    pub fn pack(
        weights: &[f32],
        bias: Option<&[f32]>,
        geometry: ConvGeometry,
        format: impl Into<Format>,
    ) -> Result<Self> {
        Self::pack_for(Isa::current(), weights, bias, geometry, format.into())
    }

    /// Packs for an instruction set that this machine has.
    pub(crate) fn pack_for(
        isa: Isa,
        weights: &[f32],
        bias: Option<&[f32]>,
        geometry: ConvGeometry,
        format: Format,
    ) -> Result<Self> {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let channels = geometry.in_channels[0] + geometry.in_channels[1];
        let k = taps * channels;
        check_length("weights", geometry.out_channels * k, weights.len())?;
        check_shape("stride", "at least 1", geometry.stride, geometry.stride > 0)?;
        let mut tap_major = vec![0.0; weights.len()];
        for (from, to) in weights.chunks_exact(k.max(1)).zip(tap_major.chunks_exact_mut(k.max(1))) {
            for tap in 0..taps {
                for channel in 0..channels {
                    to[tap * channels + channel] = from[channel * taps + tap];
                }
            }
        }
        if let Some(tiles) = TiledConv::pack(isa, &tap_major, bias, geometry, format)? {
            return Ok(Self { geometry, body: Body::Tiles(tiles) });
        }
        let shape = [geometry.out_channels, k];
        let whole = PackedMatrix::pack_for(isa, &tap_major, bias, shape, Gating::None, format)?;
        let body = match doubled::split(isa, &tap_major, bias, geometry, format)? {
            Some(parts) => Body::Doubled { whole, parts: Box::new(parts) },
            None => Body::Windows(whole),
        };
        Ok(Self { geometry, body })
    }

    /// The sizes given at packing.
    pub fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    /// Multiplications for each pixel of the output, where `crop` is left out of the enlarged input.
    pub fn multiplications_per_pixel(&self, crop: [usize; 2]) -> usize {
        match &self.body {
            Body::Windows(matrix) => matrix.weights(),
            Body::Doubled { parts, .. } if crop == [0, 0] => parts[0].matrix.weights(),
            Body::Doubled { whole, .. } => whole.weights(),
            Body::Tiles(tiles) => tiles.multiplications_per_pixel(),
        }
    }
}

/// `out[batch, oh, ow, out_channels] = epilogue(conv(x ++ second) + bias)`, sizes by [`ConvGeometry::output_size`].
///
/// `x` is `[batch, height, width, in_channels[0]]`; `second` is there exactly if `in_channels[1] > 0`.
///
/// # Errors
/// A length or storage type that does not fit the packed weights.
pub fn conv2d<T: Element>(
    x: &[T],
    second: Option<&[T]>,
    size: ImageSize,
    weights: &PackedConv,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    conv2d_cropped(x, second, size, [0, 0], weights, epilogue, out)
}

/// As [`conv2d`], over the enlarged input without its last `crop` rows and columns; sizes by
/// [`ConvGeometry::cropped_output_size`].
///
/// An image of odd size that was halved (and rounded up) comes back to its size in this way.
///
/// # Errors
/// As [`conv2d`], or more is left out than is there.
pub fn conv2d_cropped<T: Element>(
    x: &[T],
    second: Option<&[T]>,
    size: ImageSize,
    crop: [usize; 2],
    weights: &PackedConv,
    epilogue: &Epilogue<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let geometry = &weights.geometry;
    let [c0, c1] = geometry.in_channels;
    check_length("input", size.pixels() * c0, x.len())?;
    check_length("second input", size.pixels() * c1, second.map_or(0, <[T]>::len))?;
    let output = geometry.cropped_output_size(size, crop)?;
    check_length("output", output.pixels() * geometry.out_channels, out.len())?;
    let inputs = [x, second.unwrap_or(&[])];
    let seen = geometry.seen(size, crop)?;
    let before = geometry.kernel.map(|kernel| geometry.padding_along(kernel)[0]);
    let matrix = match &weights.body {
        Body::Tiles(tiles) => return T::multiply_tiles(x, [size, seen], tiles, epilogue, out),
        Body::Doubled { parts, .. } if crop == [0, 0] => {
            return parts.iter().try_for_each(|part| {
                T::multiply_image(&part.rows(inputs, size), size.pixels(), &part.matrix, epilogue, out)
            });
        }
        Body::Windows(matrix) | Body::Doubled { whole: matrix, .. } => matrix,
    };
    let place = Place::InOrder;
    let source = ImageRows { inputs, geometry: *geometry, before, size, seen, output, place };
    T::multiply_image(&source, output.pixels(), matrix, epilogue, out)
}

//! Two-dimensional convolution with what follows it in a residual block.

use burn_tensor::ops::{ConvOptions as BurnConvOptions, InterpolateMode, InterpolateOptions};
use burn_tensor::{Tensor, module};
use noisefind_kernels::{ConvGeometry, Dtype, Epilogue, ImageSize, PackedConv, Resample, conv2d_cropped};

use super::buffers;
use super::host::{self, Host, agreed, with_storage};
use super::record::{Operation, recorded};
use super::{Activation, activate};
use crate::weights::Scope;

/// Convolution over `[batch, height, width, input]`, weights stored `[output, input, rows, columns]` as PyTorch does.
#[derive(Clone, Debug)]
pub struct Conv2d {
    body: Body,
    geometry: ConvGeometry,
}

#[derive(Clone, Debug)]
enum Body {
    Packed(Box<PackedConv>, Dtype),
    Portable(Box<Portable>),
}

/// The convolution as Burn takes it.
#[derive(Clone, Debug)]
struct Portable {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
}

/// What follows the convolution.
#[derive(Default)]
struct After {
    sample_bias: Option<Tensor<2>>,
    residual: Option<Tensor<4>>,
    activation: Activation,
}

/// The window of a convolution and what it does to the image's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvOptions {
    /// A 1x1 window.
    Pointwise,
    /// A 3x3 window that keeps the size.
    Same,
    /// A 3x3 window with this padding that halves the size.
    Halving {
        /// 1 for zeros around the image, 0 for zeros on the right and below only, as diffusers understands it.
        padding: usize,
    },
    /// A 3x3 window over the image with every pixel doubled on both axes.
    Doubling,
    /// A 3x1 window that keeps the size: over time, where rows are frames.
    Temporal,
    /// A window without overlap, `patch` pixels wide.
    Patches {
        /// Rows and columns of a patch.
        patch: usize,
    },
}

impl ConvOptions {
    fn geometry(self, input: usize, output: usize) -> ConvGeometry {
        match self {
            Self::Pointwise => ConvGeometry::square(input, output, 1, 1, 0),
            Self::Same => ConvGeometry::square(input, output, 3, 1, 1),
            Self::Halving { padding } => {
                ConvGeometry { padding: [padding, 1], ..ConvGeometry::square(input, output, 3, 2, padding) }
            }
            Self::Doubling => ConvGeometry {
                resample: Resample::NearestDouble,
                ..ConvGeometry::square(input, output, 3, 1, 1)
            },
            Self::Temporal => ConvGeometry { kernel: [3, 1], ..ConvGeometry::square(input, output, 3, 1, 1) },
            Self::Patches { patch } => ConvGeometry::square(input, output, patch, patch, 0),
        }
    }
}

impl Conv2d {
    /// A convolution with bias, from `weight` and `bias`.
    pub fn load(scope: &Scope<'_>, input: usize, output: usize, options: ConvOptions) -> Self {
        let bias = scope.tensor("bias", &[output]);
        Self::load_weight(scope, input, output, options, bias)
    }

    /// A convolution without bias, from `weight` alone.
    pub fn load_without_bias(scope: &Scope<'_>, input: usize, output: usize, options: ConvOptions) -> Self {
        Self::load_weight(scope, input, output, options, None)
    }

    fn load_weight(
        scope: &Scope<'_>,
        input: usize,
        output: usize,
        options: ConvOptions,
        bias: Option<Vec<f32>>,
    ) -> Self {
        let geometry = options.geometry(input, output);
        let [rows, columns] = geometry.kernel;
        // Windows over time are stored as those of three axes, of which the last has one pixel.
        let shapes: &[&[usize]] = match options {
            ConvOptions::Temporal => &[&[output, input, rows, columns, 1]],
            // Models of clips store patches of one frame as windows of three axes.
            ConvOptions::Patches { .. } => {
                &[&[output, input, rows, columns], &[output, input, 1, rows, columns]]
            }
            _ => &[&[output, input, rows, columns]],
        };
        let weight = scope.tensor_of_any("weight", shapes).unwrap_or_default();
        let placement = scope.placement();
        if let Some(format) = placement.kernel_format()
            && let Ok(packed) = PackedConv::pack(&weight, bias.as_deref(), geometry, format)
        {
            return Self { body: Body::Packed(Box::new(packed), format.activations), geometry };
        }
        // A weight that is absent makes a layer without numbers; the loading ends with an error that names it.
        let output = if weight.is_empty() { 0 } else { output };
        let weight = placement.tensor(weight, [output, input, rows, columns]);
        let bias = bias.filter(|_| output > 0).map(|bias| placement.tensor(bias, [output]));
        Self { body: Body::Portable(Box::new(Portable { weight, bias })), geometry }
    }

    /// `[batch, height, width, input]` to `[batch, height', width', output]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_with(x, None, None, Activation::None)
    }

    /// A convolution that doubles the image, over the first `[height, width]` of the doubled pixels only: the way back
    /// from a halving that rounded up. Gives `[batch, height, width, output]`.
    pub fn forward_doubling_to(&self, x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
        let [_, rows, columns, _] = x.dims();
        self.forward_cropped(x, [2 * rows - height, 2 * columns - width], After::default())
    }

    /// `activation(conv(x) + bias + sample_bias + residual)`.
    ///
    /// `sample_bias` is `[groups, output]`: the batch falls into that many equal groups in order, each with its row.
    pub fn forward_with(
        &self,
        x: Tensor<4>,
        sample_bias: Option<Tensor<2>>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        self.forward_cropped(x, [0, 0], After { sample_bias, residual, activation })
    }

    /// Without the last `crop` rows and columns of the enlarged image.
    fn forward_cropped(&self, x: Tensor<4>, crop: [usize; 2], after: After) -> Tensor<4> {
        match &self.body {
            Body::Packed(packed, dtype) => self.forward_packed(packed, *dtype, x, crop, after),
            Body::Portable(portable) => self.forward_portable(portable, x, crop, after),
        }
    }

    fn forward_portable(
        &self,
        portable: &Portable,
        x: Tensor<4>,
        [bottom, right]: [usize; 2],
        after: After,
    ) -> Tensor<4> {
        let mut x = x.permute([0, 3, 1, 2]);
        if self.geometry.resample == Resample::NearestDouble {
            let [_, _, height, width] = x.dims().map(|size| 2 * size);
            let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]);
            x = module::interpolate(x, options).narrow(2, 0, height - bottom).narrow(3, 0, width - right);
        }
        let [before, after_padding] = self.geometry.padding;
        if before != after_padding {
            x = x.pad([(0, 0), (0, 0), (0, after_padding - before), (0, after_padding - before)], 0.0);
        }
        let stride = [self.geometry.stride; 2];
        let padding = self.geometry.kernel.map(|size| if size > 1 { self.geometry.padding[0] } else { 0 });
        let options = BurnConvOptions::new(stride, padding, [1, 1], 1);
        let mut y =
            module::conv2d(x, portable.weight.clone(), portable.bias.clone(), options).permute([0, 2, 3, 1]);
        if let Some(sample_bias) = after.sample_bias {
            let [groups, channels] = sample_bias.dims();
            let [batch, height, width, _] = y.dims();
            let grouped = y.reshape([groups, batch / groups * height * width, channels]);
            y = (grouped + sample_bias.unsqueeze_dim(1)).reshape([batch, height, width, channels]);
        }
        activate(if let Some(residual) = after.residual { y + residual } else { y }, after.activation)
    }

    fn forward_packed(
        &self,
        packed: &PackedConv,
        dtype: Dtype,
        x: Tensor<4>,
        crop: [usize; 2],
        after: After,
    ) -> Tensor<4> {
        let [batch, height, width, _] = x.dims();
        let size = ImageSize { batch, height, width };
        let output = match self.geometry.cropped_output_size(size, crop) {
            Ok(output) => output,
            Err(error) => panic!("images are at least as large as the window: {error}"),
        };
        let channels = self.geometry.out_channels;
        let has_residual = after.residual.is_some();
        recorded(
            || self.describe(dtype, packed.multiplications_per_pixel(crop), [size, output], has_residual),
            || {
                let x = Host::new(x);
                let (sample_bias, residual) =
                    (after.sample_bias.map(Host::new), after.residual.map(Host::new));
                with_storage!(dtype, T => {
                    let mut out = buffers::take::<T>(output.pixels() * channels);
                    let epilogue = Epilogue {
                        sample_bias: sample_bias.as_ref().map(|bias| bias.slice::<T>()),
                        residual: residual.as_ref().map(|residual| residual.slice::<T>()),
                        activation: after.activation,
                    };
                    agreed(conv2d_cropped(x.slice::<T>(), None, size, crop, packed, &epilogue, &mut out));
                    host::tensor(out, [batch, output.height, output.width, channels])
                })
            },
        )
    }

    /// What one call computes, with `multiplications` for each pixel of the output.
    fn describe(
        &self,
        dtype: Dtype,
        multiplications: usize,
        [size, output]: [ImageSize; 2],
        has_residual: bool,
    ) -> Operation {
        let ConvGeometry { in_channels: [input, _], out_channels, .. } = self.geometry;
        let written = output.pixels() * out_channels;
        let read = size.pixels() * input + multiplications + if has_residual { written } else { 0 };
        Operation {
            kind: match self.geometry.kernel {
                [3, 3] => "conv 3x3",
                [3, 1] => "conv 3x1",
                _ => "conv",
            },
            shape: format!(
                "{}x{} {input} -> {}x{} {out_channels}",
                size.height, size.width, output.height, output.width
            ),
            flops: 2 * output.pixels() * multiplications,
            bytes: (read + written) * dtype.size(),
        }
    }
}

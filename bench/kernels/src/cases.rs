//! The operations and shapes; `peer.py` parses the same names, so the two lists cannot differ.

use noisefind_kernels::{
    Activation, AttentionShape, ConvGeometry, Element, Epilogue, GroupNormShape, HeadRows, ImageSize,
    PackedConv, PackedMatrix, Result, activate, attention, conv2d, gemm, group_norm, layer_norm,
};

/// One operation on one shape.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// `[m, k]` by `[k, n]` with bias.
    Linear { m: usize, n: usize, k: usize },
    /// `[m, k]` to `[m, inner]`.
    Geglu { m: usize, inner: usize, k: usize },
    /// `[batch, size, size, inputs]` to `outputs` channels, with bias.
    Conv { batch: usize, size: usize, inputs: usize, outputs: usize, kernel: usize, stride: usize },
    /// Heads of `dim` channels.
    Attention { batch: usize, heads: usize, dim: usize, queries: usize, keys: usize },
    /// With SiLU, 32 groups.
    GroupNorm { batch: usize, pixels: usize, channels: usize },
    /// Over the last axis.
    LayerNorm { rows: usize, channels: usize },
    /// Element by element.
    Silu { elements: usize },
}

/// What is measured.
pub fn all() -> Vec<Case> {
    let conv = |batch, size, inputs, outputs, kernel, stride| Case::Conv {
        batch,
        size,
        inputs,
        outputs,
        kernel,
        stride,
    };
    let linear = |m, n, k| Case::Linear { m, n, k };
    let attention = |batch, heads, dim, queries, keys| Case::Attention { batch, heads, dim, queries, keys };
    vec![
        // The default model, batch 32.
        conv(32, 16, 64, 64, 3, 1),
        conv(32, 8, 192, 192, 3, 1),
        conv(32, 8, 384, 192, 3, 1),
        conv(32, 16, 64, 64, 3, 2),
        conv(32, 16, 64, 64, 1, 1),
        conv(32, 16, 4, 64, 3, 1),
        conv(32, 16, 64, 4, 3, 1),
        linear(2048, 192, 192),
        linear(2048, 576, 192),
        linear(2048, 192, 768),
        linear(768, 384, 256),
        Case::Geglu { m: 2048, inner: 768, k: 192 },
        attention(32, 3, 64, 64, 64),
        attention(32, 3, 64, 64, 24),
        Case::GroupNorm { batch: 32, pixels: 256, channels: 64 },
        Case::GroupNorm { batch: 32, pixels: 64, channels: 192 },
        Case::LayerNorm { rows: 2048, channels: 192 },
        // Its image decoder, batch 8.
        conv(8, 64, 32, 32, 3, 1),
        conv(8, 32, 128, 128, 3, 1),
        conv(8, 64, 32, 3, 3, 1),
        Case::GroupNorm { batch: 8, pixels: 4096, channels: 32 },
        // SD 1.5, batch 2.
        conv(2, 64, 320, 320, 3, 1),
        conv(2, 32, 640, 640, 3, 1),
        conv(2, 16, 1280, 1280, 3, 1),
        conv(2, 8, 2560, 1280, 3, 1),
        conv(2, 64, 960, 320, 1, 1),
        linear(8192, 320, 320),
        linear(512, 1280, 1280),
        linear(2, 1280, 1280),
        Case::Geglu { m: 8192, inner: 1280, k: 320 },
        attention(2, 8, 40, 4096, 4096),
        attention(2, 8, 80, 1024, 1024),
        attention(2, 8, 160, 256, 256),
        attention(2, 8, 40, 4096, 77),
        Case::GroupNorm { batch: 2, pixels: 4096, channels: 320 },
        Case::LayerNorm { rows: 8192, channels: 320 },
        // Its image decoder at 512 x 512.
        conv(1, 256, 256, 256, 3, 1),
        attention(1, 1, 512, 4096, 4096),
        Case::Silu { elements: 1 << 22 },
    ]
}

impl Case {
    /// A name from which the shape can be read back.
    pub fn name(&self) -> String {
        match self {
            Self::Linear { m, n, k } => format!("linear m={m} n={n} k={k}"),
            Self::Geglu { m, inner, k } => format!("geglu m={m} inner={inner} k={k}"),
            Self::Conv { batch, size, inputs, outputs, kernel, stride } => {
                format!(
                    "conv batch={batch} size={size} in={inputs} out={outputs} kernel={kernel} stride={stride}"
                )
            }
            Self::Attention { batch, heads, dim, queries, keys } => {
                format!("attention batch={batch} heads={heads} dim={dim} queries={queries} keys={keys}")
            }
            Self::GroupNorm { batch, pixels, channels } => {
                format!("group-norm-silu batch={batch} pixels={pixels} channels={channels}")
            }
            Self::LayerNorm { rows, channels } => format!("layer-norm rows={rows} channels={channels}"),
            Self::Silu { elements } => format!("silu elements={elements}"),
        }
    }

    /// Multiplications and additions that one call is defined by; 0 where memory is the limit. Transformed convolutions do
    /// fewer, so they may seem faster than the machine's peak.
    pub fn flops(&self) -> f64 {
        let count = match *self {
            Self::Linear { m, n, k } => m * n * k,
            Self::Geglu { m, inner, k } => m * 2 * inner * k,
            Self::Conv { batch, size, inputs, outputs, kernel, stride } => {
                let size = size / stride;
                batch * size * size * inputs * outputs * kernel * kernel
            }
            Self::Attention { batch, heads, dim, queries, keys } => 2 * batch * heads * dim * queries * keys,
            Self::GroupNorm { .. } | Self::LayerNorm { .. } | Self::Silu { .. } => 0,
        };
        2.0 * count as f64
    }

    /// Elements of the activations that one call reads and writes.
    pub fn elements(&self) -> f64 {
        let count = match *self {
            Self::Linear { m, n, k } => m * (n + k),
            Self::Geglu { m, inner, k } => m * (inner + k),
            Self::Conv { batch, size, inputs, outputs, stride, .. } => {
                batch * size * size * (inputs + outputs / (stride * stride))
            }
            Self::Attention { batch, heads, dim, queries, keys } => {
                2 * batch * heads * dim * (queries + keys)
            }
            Self::GroupNorm { batch, pixels, channels } => 2 * batch * pixels * channels,
            Self::LayerNorm { rows, channels } => 2 * rows * channels,
            Self::Silu { elements } => 2 * elements,
        };
        count as f64
    }

    /// Allocates the operands and gives the call. Shapes are fixed above, so the call itself cannot fail.
    pub fn prepare<T: Element>(self) -> Result<Box<dyn FnMut()>> {
        Ok(match self {
            Self::Linear { m, n, k } => {
                let weights =
                    PackedMatrix::pack(&numbers::<f32>(n * k), Some(&numbers::<f32>(n)), n, k, T::DTYPE)?;
                let (x, mut out) = (numbers::<T>(m * k), numbers::<T>(m * n));
                Box::new(move || must(gemm(&x, &weights, &Epilogue::default(), &mut out)))
            }
            Self::Geglu { m, inner, k } => {
                let bias = numbers::<f32>(2 * inner);
                let weights = PackedMatrix::pack_geglu(
                    &numbers::<f32>(2 * inner * k),
                    Some(&bias),
                    inner,
                    k,
                    T::DTYPE,
                )?;
                let (x, mut out) = (numbers::<T>(m * k), numbers::<T>(m * inner));
                Box::new(move || must(gemm(&x, &weights, &Epilogue::default(), &mut out)))
            }
            Self::Conv { batch, size, inputs, outputs, kernel, stride } => {
                let geometry = ConvGeometry::square(inputs, outputs, kernel, stride, kernel / 2);
                let weights = numbers::<f32>(outputs * inputs * kernel * kernel);
                let weights = PackedConv::pack(&weights, Some(&numbers::<f32>(outputs)), geometry, T::DTYPE)?;
                let size = ImageSize { batch, height: size, width: size };
                let output = geometry.output_size(size)?;
                let (x, mut out) =
                    (numbers::<T>(size.pixels() * inputs), numbers::<T>(output.pixels() * outputs));
                Box::new(move || must(conv2d(&x, None, size, &weights, &Epilogue::default(), &mut out)))
            }
            Self::Attention { batch, heads, dim, queries, keys } => {
                let width = heads * dim;
                let (q, k) = (numbers::<T>(batch * queries * width), numbers::<T>(batch * keys * width));
                let v = numbers::<T>(batch * keys * width);
                let mut out = numbers::<T>(batch * queries * width);
                let scale = 1.0 / (dim as f32).sqrt();
                Box::new(move || {
                    let (causal, key_lengths, head_dim) = (false, None, dim);
                    let shape =
                        AttentionShape { batch, heads, head_dim, queries, keys, scale, causal, key_lengths };
                    let rows = |data| HeadRows { data, row_stride: width };
                    must(attention(rows(&q), rows(&k), rows(&v), &shape, &mut out));
                })
            }
            Self::GroupNorm { batch, pixels, channels } => {
                let shape = GroupNormShape { batch, pixels, channels, groups: 32 };
                let (gamma, beta) = (numbers::<f32>(channels), numbers::<f32>(channels));
                let (x, mut out) =
                    (numbers::<T>(batch * pixels * channels), numbers::<T>(batch * pixels * channels));
                Box::new(move || must(group_norm(&x, shape, 1e-5, &gamma, &beta, Activation::Silu, &mut out)))
            }
            Self::LayerNorm { rows, channels } => {
                let (gamma, beta) = (numbers::<f32>(channels), numbers::<f32>(channels));
                let (x, mut out) = (numbers::<T>(rows * channels), numbers::<T>(rows * channels));
                Box::new(move || must(layer_norm(&x, 1e-5, &gamma, &beta, &mut out)))
            }
            Self::Silu { elements } => {
                let (x, mut out) = (numbers::<T>(elements), numbers::<T>(elements));
                Box::new(move || must(activate(&x, Activation::Silu, &mut out)))
            }
        })
    }
}

/// Irregular numbers in -1..1; their values do not change the time.
fn numbers<T: Element>(count: usize) -> Vec<T> {
    (0..count).map(|at| T::narrow((at.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0)).collect()
}

/// Ends the measurement on an error that only a wrong list of shapes can cause.
fn must(result: Result<()>) {
    if let Err(error) = result {
        panic!("{error}");
    }
}

//! Layers in which the frames of a clip see each other: the temporal convolution of ModelScope's U-Net, and the temporal
//! transformer of ModelScope and AnimateDiff.
//!
//! Wang et al., "ModelScope Text-to-Video Technical Report", 2023; Guo et al., "AnimateDiff", ICLR 2024. References:
//! `TemporalConvLayer`, `TransformerTemporalModel` and `AnimateDiffTransformer3D` of diffusers 0.42.1.
//! Everything else in these models treats a frame as a sample, so activations stay `[clips * frames, height, width, channels]`
//! and only these layers take the frames apart.

use burn_tensor::Tensor;

use noisefind_nn::device::Placement;
use noisefind_nn::ops::{
    Activation, Attention, Conv2d, ConvOptions, Geglu, GroupNorm, LayerNorm, Linear, attention_fused,
    swap_middle,
};
use noisefind_nn::weights::Scope;

/// Four convolutions over three neighbouring frames each, added to the input.
#[derive(Clone, Debug)]
pub(crate) struct TemporalConv {
    layers: Vec<(GroupNorm, Conv2d)>,
}

impl TemporalConv {
    /// Module names `conv1.{0,2}` and `conv2..4.{0,3}`: dropout takes a number in all but the first.
    pub(crate) fn load(scope: &Scope<'_>, channels: usize, groups: usize) -> Self {
        /// Fixed in diffusers, whatever `norm_eps` says.
        const EPSILON: f32 = 1e-5;
        let layer = |(name, conv): (&str, usize)| {
            let scope = scope.at(name);
            (
                GroupNorm::load(&scope.at(0), channels, groups, EPSILON),
                Conv2d::load(&scope.at(conv), channels, channels, ConvOptions::Temporal),
            )
        };
        Self { layers: [("conv1", 2), ("conv2", 3), ("conv3", 3), ("conv4", 3)].map(layer).into() }
    }

    /// `[clips * frames, height, width, channels]`, the same shape out.
    pub(crate) fn forward(&self, x: Tensor<4>, frames: usize) -> Tensor<4> {
        let dims @ [_, height, width, channels] = x.dims();
        // Rows are frames and columns are pixels: statistics span both, and the window is 3x1.
        let clips = x.reshape([dims[0] / frames, frames, height * width, channels]);
        let mut h = clips.clone();
        for (at, (norm, conv)) in self.layers.iter().enumerate() {
            let residual = (at + 1 == self.layers.len()).then(|| clips.clone());
            h = conv.forward_with(norm.forward(h, Activation::Silu), None, residual, Activation::None);
        }
        h.reshape(dims)
    }
}

/// Sizes of a temporal transformer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TemporalTransformerOptions {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) layers: usize,
    pub(crate) groups: usize,
    /// The most frames of a model with positional encodings; `None` for a model without.
    pub(crate) max_frames: Option<usize>,
}

/// Each pixel attends to itself in all frames.
#[derive(Clone, Debug)]
pub(crate) struct TemporalTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TemporalBlock>,
    proj_out: Linear,
    placement: Placement,
}

impl TemporalTransformer {
    pub(crate) fn load(scope: &Scope<'_>, options: &TemporalTransformerOptions) -> Self {
        /// Fixed in diffusers, whatever `norm_eps` says.
        const EPSILON: f32 = 1e-6;
        let inner = options.heads * options.head_dim;
        let blocks = scope.at("transformer_blocks");
        Self {
            norm: GroupNorm::load(&scope.at("norm"), options.channels, options.groups, EPSILON),
            proj_in: Linear::load(&scope.at("proj_in"), options.channels, inner),
            transformer_blocks: (0..options.layers)
                .map(|layer| TemporalBlock::load(&blocks.at(layer), options))
                .collect(),
            proj_out: Linear::load(&scope.at("proj_out"), inner, options.channels),
            placement: scope.placement().clone(),
        }
    }

    /// `[clips * frames, height, width, channels]`, the same shape out.
    pub(crate) fn forward(&self, x: Tensor<4>, frames: usize) -> Tensor<4> {
        let dims @ [samples, height, width, channels] = x.dims();
        let (clips, pixels) = (samples / frames, height * width);
        let x = x.reshape([clips, frames, pixels, channels]);
        let h = self.proj_in.forward(self.norm.forward(x.clone(), Activation::None));
        let inner = h.dims()[3];
        // Frames become the rows of a sequence, and each pixel a sequence.
        let mut h = swap_middle(h, &self.placement).reshape([clips * pixels, frames, inner]);
        for block in &self.transformer_blocks {
            h = block.forward(h, &self.placement);
        }
        let h = swap_middle(h.reshape([clips, pixels, frames, inner]), &self.placement);
        self.proj_out.forward_with(h, Some(x), Activation::None).reshape(dims)
    }
}

/// Self-attention twice and a gated feed-forward network, each before a residual sum.
#[derive(Clone, Debug)]
struct TemporalBlock {
    norms: [LayerNorm; 3],
    attentions: [SelfAttention; 2],
    ff_in: Geglu,
    ff_out: Linear,
    /// What each attention adds to its normalised input, `[1, frames, inner]`.
    positions: Option<Tensor<3>>,
    attention: Attention,
}

#[derive(Clone, Debug)]
struct SelfAttention {
    qkv: Linear,
    out: Linear,
}

impl TemporalBlock {
    fn load(scope: &Scope<'_>, options: &TemporalTransformerOptions) -> Self {
        const EPSILON: f32 = 1e-5;
        /// Channels of the feed-forward network for each channel of the stream.
        const EXPANSION: usize = 4;
        let inner = options.heads * options.head_dim;
        let attention = |name: &str| {
            let scope = scope.at(name);
            SelfAttention {
                qkv: Linear::load_joined_without_bias(&scope, &["to_q", "to_k", "to_v"], inner, inner),
                out: Linear::load(&scope.at("to_out.0"), inner, inner),
            }
        };
        let positions = options.max_frames.map(|frames| {
            let scope = scope.at("pos_embed");
            // Some published files leave out what can be computed.
            let stored = if scope.contains("pe") { scope.tensor("pe", &[1, frames, inner]) } else { None };
            let values = stored.unwrap_or_else(|| positional_encoding(frames, inner));
            scope.placement().tensor(values, [1, frames, inner])
        });
        Self {
            norms: ["norm1", "norm2", "norm3"].map(|name| LayerNorm::load(&scope.at(name), inner, EPSILON)),
            attentions: ["attn1", "attn2"].map(attention),
            ff_in: Geglu::load(&scope.at("ff.net.0.proj"), inner, EXPANSION * inner),
            ff_out: Linear::load(&scope.at("ff.net.2"), EXPANSION * inner, inner),
            positions,
            attention: Attention { heads: options.heads, causal: false, upcast: false },
        }
    }

    /// `[sequences, frames, inner]`, the same shape out.
    fn forward(&self, mut x: Tensor<3>, placement: &Placement) -> Tensor<3> {
        let [_, frames, _] = x.dims();
        for (norm, attention) in self.norms.iter().zip(&self.attentions) {
            let mut h = norm.forward(x.clone());
            if let Some(positions) = &self.positions {
                h = h + positions.clone().narrow(1, 0, frames);
            }
            let attended = attention_fused(attention.qkv.forward(h), self.attention, placement);
            x = attention.out.forward_with(attended, Some(x), Activation::None);
        }
        let inner = self.ff_in.forward(self.norms[2].forward(x.clone()));
        self.ff_out.forward_with(inner, Some(x), Activation::None)
    }
}

/// `sin(p f_i)` and `cos(p f_i)` in turn with `f_i = 10000^(-2 i / width)`, `[frames, width]`.
///
/// Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
fn positional_encoding(frames: usize, width: usize) -> Vec<f32> {
    let rate = -(10_000f32.ln()) / width as f32;
    let frequency = |channel: usize| ((channel - channel % 2) as f32 * rate).exp();
    let value = |(frame, channel): (usize, usize)| {
        let angle = frame as f32 * frequency(channel);
        if channel.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    (0..frames).flat_map(|frame| (0..width).map(move |channel| (frame, channel))).map(value).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use noisefind_nn::ops::read_back;
    use noisefind_nn::weights::Weights;
    use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles};
    use safetensors::SafeTensors;

    use super::*;

    const FRAMES: usize = 3;

    /// Numbers of diffusers 0.42.1, `SinusoidalPositionalEmbedding(6, max_seq_length=3)`.
    #[test]
    fn positional_encoding_agrees_with_diffusers() {
        let expected = [
            0.0, 1.0, 0.0, 1.0, 0.0, 1.0, //
            0.841_471, 0.540_302, 0.046_399, 0.998_923, 0.002_154, 0.999_998, //
            0.909_297, -0.416_147, 0.092_699, 0.995_694, 0.004_309, 0.999_991,
        ];
        for (found, expected) in positional_encoding(3, 6).iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{found} against {expected}");
        }
    }

    /// Runs the layer at `path` on the input that `golden/diffusion/video.py` recorded, with kernels and without.
    fn compare(golden: &str, model: &str, path: &str, run: impl Fn(&Scope<'_>, Tensor<4>) -> Tensor<4>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion");
        let bytes = std::fs::read(folder.join(format!("{golden}.safetensors"))).expect("it is there");
        let file = SafeTensors::deserialize(&bytes).expect("it is valid");
        let read = |name: &str| {
            let view = file.tensor(&format!("{path}.{name}")).expect("it was recorded");
            let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let [samples, channels, height, width] = *view.shape() else { panic!("four axes") };
            (values, [samples, channels, height, width])
        };
        let ((input, shape), (expected, _)) = (read("input"), read("output"));
        let files = ModelFiles::directory(folder.join(model)).expect("it is a folder");
        let kernels = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("the CPU is always there");
        for placement in [kernels.clone(), kernels.portable()] {
            let stem = "diffusion_pytorch_model";
            let weights = Weights::open(&files, "", stem, &placement).expect("they are complete");
            let x: Tensor<4> = placement.tensor(input.clone(), shape);
            let scope = path.split('.').fold(weights.root(), |scope, name| scope.at(name));
            let found = run(&scope, x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2]);
            let found = read_back(found, "the layer's output").expect("the CPU gives it back");
            assert_eq!(found.len(), expected.len());
            // In units of the largest value: it is about 10, where neighbouring f32 are 1e-6 apart.
            let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1.5e-6 * largest, "{path}: {found} against {expected}");
            }
        }
    }

    #[test]
    fn layers_of_modelscope_agree_with_diffusers() {
        let options = |channels, heads, head_dim| TemporalTransformerOptions {
            channels,
            heads,
            head_dim,
            layers: 1,
            groups: 4,
            max_frames: None,
        };
        for (path, options) in
            [("transformer_in", options(8, 8, 4)), ("down_blocks.0.temp_attentions.0", options(8, 2, 4))]
        {
            compare("modelscope", "modelscope/unet", path, |scope, x| {
                TemporalTransformer::load(scope, &options).forward(x, FRAMES)
            });
        }
        compare("modelscope", "modelscope/unet", "down_blocks.0.temp_convs.0", |scope, x| {
            TemporalConv::load(scope, 8, 4).forward(x, FRAMES)
        });
    }

    #[test]
    fn motion_modules_agree_with_diffusers_with_and_without_stored_positions() {
        // The groups are those of the model's own norms, whatever the adapter says.
        let max_frames = Some(6);
        let options = TemporalTransformerOptions {
            channels: 32,
            heads: 4,
            head_dim: 8,
            layers: 1,
            groups: 32,
            max_frames,
        };
        for name in ["motion_adapter", "motion_adapter_no_mid"] {
            compare(name, name, "down_blocks.0.motion_modules.0", |scope, x| {
                TemporalTransformer::load(scope, &options).forward(x, FRAMES)
            });
        }
    }
}

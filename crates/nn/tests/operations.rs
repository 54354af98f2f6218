//! Each operation's CPU kernels against its plain Burn body, in f32 and bf16, at odd sizes.

use burn_tensor::{DType, Tensor, TensorData};
use noisefind_core::noise::SampleKey;
use noisefind_core::rng::{Domain, Stream};
use noisefind_nn::ops::{
    Activation, Attention, Conv2d, ConvOptions, Geglu, GroupNorm, LayerNorm, Linear, attention,
    attention_fused, concat_channels, swap_middle,
};
use noisefind_nn::weights::Weights;
use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use safetensors::tensor::{Dtype, TensorView};

/// A tensor of the placement's device and dtype.
fn tensor<const D: usize>(placement: &Placement, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&placement.device, placement.dtype))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec().expect("it was cast to f32")
}

/// Random numbers that are exact in bf16, so that both bodies start from the same.
fn random(count: usize, seed: u64) -> Vec<f32> {
    let key = SampleKey { seed, iteration: 0, index: 0 };
    let normals = Stream::new(key, Domain::Test).normals(count);
    normals.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect()
}

/// A folder with one file of random tensors, scaled by the square root of their inner size.
fn weights_folder(shapes: &[(&str, &[usize])]) -> tempfile::TempDir {
    let numbers: Vec<Vec<u8>> = shapes
        .iter()
        .enumerate()
        .map(|(at, (_, shape))| {
            let inner: usize = shape[1..].iter().product();
            let scale = (inner as f32).sqrt();
            let values = random(shape.iter().product(), 100 + at as u64);
            values.iter().flat_map(|x| half::bf16::from_f32(x / scale).to_f32().to_le_bytes()).collect()
        })
        .collect();
    let views = shapes.iter().zip(&numbers).map(|((name, shape), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("the sizes agree"))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = safetensors::serialize(views, None).expect("it serialises");
    std::fs::write(folder.path().join("model.safetensors"), bytes).expect("it is writable");
    folder
}

/// Runs `operation` with kernels and with plain operations in both formats, and compares.
fn compare(name: &str, shapes: &[(&str, &[usize])], operation: impl Fn(&Weights, &Placement) -> Vec<f32>) {
    let folder = weights_folder(shapes);
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    for (dtype, tolerance) in [(DtypeChoice::F32, 2e-5), (DtypeChoice::Bf16, 0.03)] {
        let kernels = Placement::open(DeviceChoice::Cpu, dtype).expect("the CPU is always there");
        let run = |placement: &Placement| {
            let weights = Weights::open(&files, "", "model", placement).expect("it was written above");
            let out = operation(&weights, placement);
            weights.finish(&[]).expect("the operation uses every tensor");
            out
        };
        let (found, expected) = (run(&kernels), run(&kernels.clone().portable()));
        assert_eq!(found.len(), expected.len(), "{name}");
        let scale = expected.iter().map(|x| x.abs()).fold(1.0, f32::max);
        for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= tolerance * scale, "{name}, {dtype:?}, element {at}: {a} against {b}");
        }
    }
}

#[test]
fn linear_layers() {
    let shapes: &[(&str, &[usize])] = &[("weight", &[37, 19]), ("bias", &[37])];
    for activation in
        [Activation::None, Activation::Silu, Activation::QuickGelu, Activation::GeluErf, Activation::Relu]
    {
        compare("linear", shapes, |weights, placement| {
            let layer = Linear::load(&weights.root(), 19, 37);
            let x = tensor(placement, random(2 * 5 * 19, 1), [2, 5, 19]);
            let residual = tensor(placement, random(2 * 5 * 37, 2), [2, 5, 37]);
            values(layer.forward_with(x, Some(residual), activation))
        });
    }
    let shapes: &[(&str, &[usize])] = &[("a.weight", &[8, 19]), ("b.weight", &[8, 19, 1, 1])];
    compare("joined linear", shapes, |weights, placement| {
        let layer = Linear::load_joined_without_bias(&weights.root(), &["a", "b"], 19, 8);
        values(layer.forward(tensor(placement, random(3 * 19, 1), [3, 19])))
    });
    let shapes: &[(&str, &[usize])] = &[("weight", &[2 * 23, 19]), ("bias", &[2 * 23])];
    compare("geglu", shapes, |weights, placement| {
        values(Geglu::load(&weights.root(), 19, 23).forward(tensor(placement, random(7 * 19, 1), [1, 7, 19])))
    });
}

#[test]
fn convolutions() {
    for (options, window) in [
        (ConvOptions::Pointwise, &[1usize, 1] as &[usize]),
        (ConvOptions::Same, &[3, 3]),
        (ConvOptions::Halving { padding: 1 }, &[3, 3]),
        (ConvOptions::Doubling, &[3, 3]),
        (ConvOptions::Temporal, &[3, 1, 1]),
        (ConvOptions::Patches { patch: 3 }, &[3, 3]),
    ] {
        let weight = [&[21, 5], window].concat();
        let shapes: &[(&str, &[usize])] = &[("weight", &weight), ("bias", &[21])];
        compare(&format!("{options:?}"), shapes, |weights, placement| {
            let conv = Conv2d::load(&weights.root(), 5, 21, options);
            let x = tensor(placement, random(4 * 6 * 9 * 5, 1), [4, 6, 9, 5]);
            let plain = conv.forward(x.clone());
            let [_, height, width, _] = plain.dims();
            let residual = tensor(placement, random(4 * height * width * 21, 2), [4, height, width, 21]);
            let sample_bias = tensor(placement, random(2 * 21, 3), [2, 21]);
            let whole = conv.forward_with(x, Some(sample_bias), Some(residual), Activation::Silu);
            [values(plain), values(whole)].concat()
        });
    }
}

#[test]
fn normalisations() {
    let shapes: &[(&str, &[usize])] = &[("weight", &[12]), ("bias", &[12])];
    for activation in [Activation::None, Activation::Silu] {
        compare("group norm", shapes, |weights, placement| {
            let norm = GroupNorm::load(&weights.root(), 12, 4, 1e-5);
            values(norm.forward(tensor(placement, random(2 * 3 * 5 * 12, 1), [2, 3, 5, 12]), activation))
        });
    }
    compare("layer norm", shapes, |weights, placement| {
        let norm = LayerNorm::load(&weights.root(), 12, 1e-5);
        values(norm.forward(tensor(placement, random(2 * 7 * 12, 1), [2, 7, 12])))
    });
}

#[test]
fn attentions() {
    for causal in [false, true] {
        compare("self-attention", &[], |_, placement| {
            let options = Attention { heads: 3, causal, upcast: true };
            let qkv = tensor(placement, random(2 * 11 * 3 * 24, 1), [2, 11, 3 * 24]);
            values(attention_fused(qkv, options, placement))
        });
    }
    compare("cross-attention", &[], |_, placement| {
        let options = Attention { heads: 2, causal: false, upcast: false };
        let q = tensor(placement, random(6 * 9 * 16, 1), [6, 9, 16]);
        let kv = tensor(placement, random(2 * 7 * 32, 2), [2, 7, 32]);
        values(attention(q, kv, options, placement))
    });
}

#[test]
fn grouped_keys_belong_to_equal_parts_of_the_batch() {
    let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("the CPU is always there");
    let options = Attention { heads: 2, causal: false, upcast: false };
    let q = tensor(&placement, random(4 * 3 * 8, 1), [4, 3, 8]);
    let kv = tensor(&placement, random(2 * 5 * 16, 2), [2, 5, 16]);
    let together = values(attention(q.clone(), kv.clone(), options, &placement));
    let apart: Vec<f32> = (0..4)
        .flat_map(|sample| {
            let kv = kv.clone().narrow(0, sample / 2, 1);
            values(attention(q.clone().narrow(0, sample, 1), kv, options, &placement))
        })
        .collect();
    assert_eq!(together, apart);
}

#[test]
fn joined_channels() {
    compare("concatenation", &[], |_, placement| {
        let a = tensor(placement, random(2 * 3 * 4 * 5, 1), [2, 3, 4, 5]);
        let b = tensor(placement, random(2 * 3 * 4 * 2, 2), [2, 3, 4, 2]);
        values(concat_channels(a, b, placement))
    });
}

#[test]
fn transposed_inputs_are_read_in_their_own_order() {
    let shapes: &[(&str, &[usize])] = &[("weight", &[4, 6]), ("bias", &[4])];
    compare("linear over a transposed view", shapes, |weights, placement| {
        let layer = Linear::load(&weights.root(), 6, 4);
        let x: Tensor<2> = tensor(placement, random(6 * 5, 1), [6, 5]).transpose();
        assert_eq!(x.dtype(), placement.dtype);
        assert!(matches!(x.dtype(), DType::F32 | DType::BF16));
        values(layer.forward(x))
    });
}

#[test]
fn middle_axes_are_exchanged() {
    compare("swap", &[], |_, placement| {
        values(swap_middle(tensor(placement, random(2 * 3 * 5 * 7, 1), [2, 3, 5, 7]), placement))
    });
}

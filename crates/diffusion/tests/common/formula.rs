//! Weights by formula, the same numbers as in `golden/diffusion/formula.py`.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

/// CRC-32 of zip and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The numbers of one tensor in memory order.
pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let inputs: usize = shape.iter().skip(1).product();
    let scale = if shape.len() <= 1 {
        0.17
    } else if name.contains("embedding") && !name.contains("time_emb") {
        0.8
    } else {
        (3.0 / inputs as f64).sqrt()
    };
    let norms = ["norm", "ln_", "in_layers.0.", "out_layers.0.", "out.0."];
    let is_norm = norms.iter().any(|word| name.contains(word));
    let offset = if shape.len() == 1 && is_norm && name.ends_with("weight") { 1.0 } else { 0.0 };
    let seed = crc32(name.as_bytes());
    let value = |at: usize| {
        let mut hash = seed.wrapping_add((at as u32).wrapping_mul(0x9E37_79B9));
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x7FEB_352D);
        hash ^= hash >> 15;
        hash = hash.wrapping_mul(0x846C_A68B);
        hash ^= hash >> 16;
        ((f64::from(hash) / f64::from(1u32 << 31) - 1.0) * scale + offset) as f32
    };
    (0..count).map(value).collect()
}

/// Writes a safetensors file with these tensors.
pub fn write<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a str, Vec<usize>)>) {
    let numbers: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape)| {
            let bytes = tensor(name, &shape).iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = numbers.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the sizes agree"))
    });
    serialize_to_file(views, None, path).expect("the temporary folder is writable");
}

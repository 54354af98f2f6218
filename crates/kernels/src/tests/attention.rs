//! Attention.

use half::bf16;

use super::{Guarded, assert_close, numbers, rounded, stored};
use crate::attention::{AttentionShape, HeadRows, attention_for};
use crate::element::Element;
use crate::isa::Isa;

fn check<T: Element>(isa: Isa, shape: &AttentionShape<'_>, spread: f32) {
    let AttentionShape { batch, heads, head_dim, queries, keys, .. } = *shape;
    let width = heads * head_dim;
    // Queries have rows of their own; keys and values lie side by side in one matrix, as a fused projection leaves them.
    let (q_stride, kv_stride) = (width + 3, 2 * width + 5);
    let q: Vec<f32> = numbers(batch * queries * q_stride, 31).iter().map(|x| x * spread).collect();
    let kv = numbers(batch * keys * kv_stride, 32);
    let mut expected = Vec::new();
    for sample in 0..batch {
        for query in 0..queries {
            for head in 0..heads {
                let visible = shape.key_lengths.map_or(keys, |lengths| lengths[sample]);
                let visible = if shape.causal { visible.min(query + 1) } else { visible };
                let q = &q[(sample * queries + query) * q_stride + head * head_dim..][..head_dim];
                let row = |key: usize, first: usize| {
                    &kv[(sample * keys + key) * kv_stride + first + head * head_dim..][..head_dim]
                };
                let score = |key: usize| {
                    let terms = q.iter().zip(row(key, 0)).map(|(&q, &k)| rounded::<T>(q) * rounded::<T>(k));
                    f64::from(shape.scale) * terms.sum::<f64>()
                };
                let scores: Vec<f64> = (0..visible).map(score).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for channel in 0..head_dim {
                    let sum: f64 = weights
                        .iter()
                        .enumerate()
                        .map(|(key, w)| w * rounded::<T>(row(key, width)[channel]))
                        .sum();
                    expected.push(if visible == 0 { 0.0 } else { sum / total });
                }
            }
        }
    }
    let (q, kv) = (Guarded::new(&stored::<T>(&q)), Guarded::new(&stored::<T>(&kv)));
    let mut out = Guarded::<T>::output(expected.len());
    let q = HeadRows { data: q.get(), row_stride: q_stride };
    let k = HeadRows { data: kv.get(), row_stride: kv_stride };
    let v = HeadRows { data: &kv.get()[width..], row_stride: kv_stride };
    attention_for(isa, [q, k, v], shape, out.get_mut()).expect("sizes agree");
    // Weights are rounded to bf16 before they multiply the values, which are at most 1; an error of a large score is an error
    // of its exponential.
    let tolerance = if T::DTYPE == bf16::DTYPE { 4e-3 } else { 3e-6 * f64::from(spread) };
    assert_close(&out, &expected, tolerance, &format!("{isa:?} {:?} {shape:?}", T::DTYPE));
}

fn check_everywhere(shape: &AttentionShape<'_>, spread: f32) {
    for isa in Isa::available() {
        check::<f32>(isa, shape, spread);
        check::<bf16>(isa, shape, spread);
    }
}

fn plain(
    batch: usize,
    heads: usize,
    head_dim: usize,
    queries: usize,
    keys: usize,
) -> AttentionShape<'static> {
    let scale = 1.0 / (head_dim as f32).sqrt();
    AttentionShape { batch, heads, head_dim, queries, keys, scale, causal: false, key_lengths: None }
}

#[test]
fn odd_sizes() {
    let shapes = [
        plain(1, 1, 8, 1, 1),
        plain(2, 3, 64, 64, 24),
        plain(1, 2, 40, 33, 77),
        plain(1, 2, 33, 5, 300),
        plain(2, 1, 80, 64, 64),
        plain(1, 2, 160, 17, 40),
        plain(1, 1, 512, 20, 20),
        plain(1, 1, 24, 3, 700),
    ];
    for shape in &shapes {
        check_everywhere(shape, 1.0);
    }
}

/// Scores in the hundreds must neither overflow nor lose the largest one.
#[test]
fn large_scores() {
    check_everywhere(&plain(1, 1, 32, 20, 600), 60.0);
}

#[test]
fn causal() {
    for length in [1, 24, 77, 300] {
        check_everywhere(&AttentionShape { causal: true, ..plain(2, 2, 24, length, length) }, 3.0);
    }
}

#[test]
fn padded_keys() {
    let key_lengths: Option<&[usize]> = Some(&[35, 1, 0, 7]);
    check_everywhere(&AttentionShape { key_lengths, ..plain(4, 2, 16, 5, 35) }, 3.0);
    check_everywhere(&AttentionShape { key_lengths, causal: true, ..plain(4, 2, 16, 35, 35) }, 3.0);
}

#[test]
fn wrong_operands_are_named() {
    let rows = HeadRows { data: &[0.0_f32; 7][..], row_stride: 4 };
    let error = attention_for(Isa::current(), [rows; 3], &plain(1, 1, 4, 2, 2), &mut [0.0; 8]);
    let message = error.expect_err("must be refused").to_string();
    assert_eq!(message, "queries: expected enough elements for all rows, found 7");
}

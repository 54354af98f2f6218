//! The stream of `torch.Generator` against PyTorch itself, bit for bit; the numbers come from `golden/torch_rng.py`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the message it should have")]

use noisefind_core::rng::{TorchStream, torch_normal};
use serde_json::Value;

fn check(case: &Value, values: &[f32]) {
    let number = |name: &str| case[name].as_u64().unwrap();
    let (seed, count) = (number("seed"), number("count") as usize);
    let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    let tail: Vec<u32> =
        case["tail"].as_array().unwrap().iter().map(|word| word.as_u64().unwrap() as u32).collect();
    assert_eq!(words[count.saturating_sub(20)..], tail, "last values, seed {seed}, count {count}");
    let fold = words.iter().fold(0u32, |fold, &word| fold.wrapping_mul(31).wrapping_add(word));
    assert_eq!(u64::from(fold), number("fold"), "all values, seed {seed}, count {count}");
}

#[test]
fn streams_have_the_bits_of_torch_randn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/torch_rng.json")).unwrap();
    let mut sequences = 0;
    for case in cases {
        let seed = case["seed"].as_u64().unwrap();
        let Some(draws) = case["draws"].as_array() else {
            check(&case, &torch_normal(seed, case["count"].as_u64().unwrap() as usize));
            continue;
        };
        let mut stream = TorchStream::new(seed);
        for draw in draws {
            check(draw, &stream.normals(draw["count"].as_u64().unwrap() as usize));
        }
        sequences += 1;
    }
    assert_eq!(sequences, 3);
}

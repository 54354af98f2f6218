//! `torch_normal` against PyTorch itself, bit for bit; the numbers come from `golden/torch_rng.py`.

use noisefind_core::rng::torch_normal;
use serde_json::Value;

#[test]
fn torch_normal_has_the_bits_of_torch_randn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/torch_rng.json")).unwrap();
    for case in cases {
        let number = |name: &str| case[name].as_u64().unwrap();
        let (seed, count) = (number("seed"), number("count") as usize);
        let words: Vec<u32> = torch_normal(seed, count).iter().map(|value| value.to_bits()).collect();
        let tail: Vec<u32> =
            case["tail"].as_array().unwrap().iter().map(|word| word.as_u64().unwrap() as u32).collect();
        assert_eq!(words[count.saturating_sub(20)..], tail, "last values, seed {seed}, count {count}");
        let fold = words.iter().fold(0u32, |fold, &word| fold.wrapping_mul(31).wrapping_add(word));
        assert_eq!(u64::from(fold), number("fold"), "all values, seed {seed}, count {count}");
    }
}

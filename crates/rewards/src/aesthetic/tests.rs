//! The head and the whole predictor against PyTorch (`golden/rewards/aesthetic.py`), and the published head where the
//! environment variable NOISEFIND_AESTHETIC_HEAD names its file.
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::testing::{Golden, assert_close, assert_scores, placements};

fn open(path: &Path) -> Result<AestheticHead, Error> {
    let folder = ModelFiles::directory(path.parent().expect("a file lies in a folder"))?;
    AestheticHead::open(&folder, &path.file_name().expect("a file has a name").to_string_lossy())
}

/// Scrambled whole numbers as numbers in -1..1, as the golden script makes them.
fn scrambled(count: usize, seed: u64) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |at| {
        let at = (at + seed * 1_000_003).wrapping_mul(2_654_435_761) % (1 << 32);
        let at = (at ^ (at >> 15)).wrapping_mul(2_246_822_519) % (1 << 32);
        (at ^ (at >> 13)) as f64 / (1u64 << 31) as f64 - 1.0
    })
}

fn bytes(numbers: impl Iterator<Item = f64>) -> Vec<u8> {
    numbers.flat_map(|number| (number as f32).to_le_bytes()).collect()
}

/// The head of the golden script.
fn golden_head() -> AestheticHead {
    let mut tensors = Vec::new();
    for (at, widths) in WIDTHS.windows(2).enumerate() {
        let (input, output) = (widths[0], widths[1]);
        let gain = (3.0 / input as f64).sqrt();
        let weight = scrambled(input * output, 2 * at as u64).map(|number| number * gain);
        let bias = scrambled(output, 2 * at as u64 + 1).map(|number| number / 10.0);
        let name = format!("layers.{}", LAYERS[at]);
        tensors.push((format!("{name}.weight"), vec![output, input], bytes(weight)));
        tensors.push((format!("{name}.bias"), vec![output], bytes(bias)));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the bytes fit the shape"))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("head.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("a written file");
    open(&path).expect("the head that was written")
}

#[test]
fn head_and_predictor_give_the_numbers_of_the_reference() {
    let golden = Golden::open("aesthetic");
    let expected = golden.floats("scores");
    let features = golden.floats("image_features");
    let head = golden_head();
    let found: Vec<f32> = features.chunks(WIDTHS[0]).map(|row| head.score(row) as f32).collect();
    assert_close("head", &found, &expected, 1e-5);
    let images = Golden::open("clip").images(3);
    for placement in placements() {
        let mut scorer = Aesthetic::open(&golden.files(), "", golden_head(), &placement).unwrap();
        let found = image_features(&scorer.clip, &scorer.preprocessor, &images).unwrap().concat();
        assert_close("image features", &found, &features, 1e-4);
        assert_scores(&mut scorer, "whatever", &images, &expected, 1e-4);
    }
}

#[test]
fn the_published_head_gives_its_known_number() {
    let Some(path) = std::env::var_os("NOISEFIND_AESTHETIC_HEAD") else {
        eprintln!("skipped: NOISEFIND_AESTHETIC_HEAD names no file");
        return;
    };
    let score = open(Path::new(&path)).unwrap().score(&[1.0; 768]);
    assert!((score - 4.883_285).abs() < 1e-5, "{score}");
}

#[test]
fn another_file_is_refused_by_name() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion/torch_file");
    let message = open(&golden.join("plain.pth")).err().unwrap().to_string();
    assert!(message.contains("layers.0.weight"), "{message}");
    let message = open(&golden.join("command.pt")).err().unwrap().to_string();
    assert!(message.contains("it calls `posix.system`"), "{message}");
}

//! Every stage gives the numbers of the reference, made by `golden/rewards/hps.py`.

use super::*;
use crate::testing::{Golden, assert_close, assert_scores, numbers as values, placements};

/// f32 sums in another order, over towers of one and two layers.
const TOLERANCE: f32 = 1e-4;

#[test]
fn square_wide_and_tall_images_are_fitted_as_in_the_reference() {
    let golden = Golden::open("hps");
    let pixels: Vec<f32> =
        golden.images(3).iter().flat_map(frames).flat_map(|frame| fit(&frame, 32)).collect();
    assert_close("pixels", &pixels, &golden.floats("pixel_values"), 1e-5);
}

#[test]
fn both_towers_and_the_tokenizer_are_those_of_the_reference() {
    let golden = Golden::open("hps");
    for placement in placements() {
        let hps = Hps::open(&golden.files(), HpsVersion::V2, &placement).unwrap();
        let image = values(hps.vision.forward(golden.floats("pixel_values"), 3));
        assert_close("image features", &image, &golden.floats("image_features"), TOLERANCE);
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let tokens = hps.tokenizer.encode(prompt).unwrap();
            let ids = golden.ids(&format!("ids.{at}"));
            assert_eq!(tokens.ids[..tokens.length], ids, "{prompt}");
            let expected = golden.floats(&format!("text_features.{at}"));
            assert_close(prompt, &values(hps.text.forward(&ids)), &expected, TOLERANCE);
        }
    }
}

/// What open_clip's own tokenizer makes of the texts, made by `golden/rewards/open_clip_tokens.py`.
#[test]
fn ids_of_hundreds_of_odd_texts_are_those_of_open_clip() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewards/open_clip_tokens.json");
    let golden = std::fs::read(path).expect("the golden ids are there");
    let golden: Vec<(String, Vec<u32>)> = serde_json::from_slice(&golden).expect("texts with ids");
    assert!(golden.len() >= 500);
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = clip_tokenizer(&ModelFiles::directory(folder.path()).unwrap(), "", 77, 49408).unwrap();
    let different = golden.iter().filter_map(|(text, expected)| {
        let tokens = tokenizer.encode(&clean(text)).unwrap();
        let found = &tokens.ids[..tokens.length];
        (found != expected).then(|| format!("{text:?}\n  {expected:?}\n  {found:?}\n  {:?}", clean(text)))
    });
    let different: Vec<String> = different.collect();
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn scores_of_both_versions_are_those_of_the_reference() {
    let golden = Golden::open("hps");
    // The two published files differ in their numbers only.
    let copy = tempfile::tempdir().unwrap();
    for (from, to) in [
        (HpsVersion::V2.file(), HpsVersion::V2_1.file()),
        ("vocab.json", "vocab.json"),
        ("merges.txt", "merges.txt"),
    ] {
        std::fs::copy(golden.folder().join(from), copy.path().join(to)).unwrap();
    }
    let copy = ModelFiles::directory(copy.path()).unwrap();
    for placement in placements() {
        for (files, version) in [(golden.files(), HpsVersion::V2), (copy.clone(), HpsVersion::V2_1)] {
            let mut scorer = Hps::open(&files, version, &placement).unwrap();
            for (at, prompt) in golden.prompts().iter().enumerate() {
                let expected = golden.floats(&format!("scores.{at}"));
                assert_scores(&mut scorer, prompt, &golden.images(3), &expected, TOLERANCE);
            }
        }
    }
}

#[test]
fn the_other_version_is_missed_by_its_name() {
    let files = Golden::open("hps").files();
    let message = Hps::open(&files, HpsVersion::V2_1, &placements()[0]).err().unwrap().to_string();
    assert!(message.contains("HPS_v2.1_compressed.pt"), "{message}");
}

//! Every stage gives the numbers of the reference, made by `golden/rewards/image_reward.py`.

use super::*;
use crate::testing::{Golden, assert_close, assert_scores, numbers, placements};

/// f32 sums in another order, over three layers in a row.
const TOLERANCE: f32 = 1e-4;

#[test]
fn images_are_prepared_as_in_the_reference() {
    let golden = Golden::open("image_reward");
    let scorer = ImageReward::open(&golden.files(), &placements()[0]).unwrap();
    let pixels = scorer.preprocessor.pixels(&golden.images(2), scorer.vision.side).unwrap();
    assert_close("pixels", &pixels, &golden.floats("pixel_values"), 1e-6);
}

#[test]
fn both_towers_the_tokenizer_and_the_head_are_those_of_the_reference() {
    let golden = Golden::open("image_reward");
    for placement in placements() {
        let scorer = ImageReward::open(&golden.files(), &placement).unwrap();
        let tokens = scorer.vision.forward(golden.floats("pixel_values"), 2);
        let expected = golden.floats("picture_tokens");
        assert_close("image tokens", &numbers(tokens.clone()), &expected, TOLERANCE);
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let ids = scorer.tokenizer.encode(prompt).unwrap();
            assert_eq!(ids, golden.ids(&format!("ids.{at}")), "{prompt}");
            let first = numbers(scorer.text.forward(scorer.text.embed(&ids), tokens.clone()));
            let expected = golden.floats(&format!("first_token.{at}"));
            assert_close(prompt, &first, &expected, TOLERANCE);
            let head = expected.chunks(expected.len() / 2).map(|row| {
                let raw = scorer.head.forward(row.iter().copied().map(f64::from).collect());
                ((raw - MEAN) / STD) as f32
            });
            let expected = golden.floats(&format!("rewards.{at}"));
            assert_close("head", &head.collect::<Vec<f32>>(), &expected, TOLERANCE);
        }
    }
}

#[test]
fn rewards_are_those_of_the_reference_for_plain_and_odd_prompts() {
    let golden = Golden::open("image_reward");
    for placement in placements() {
        let mut scorer = ImageReward::open(&golden.files(), &placement).unwrap();
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let expected = golden.floats(&format!("rewards.{at}"));
            assert_scores(&mut scorer, prompt, &golden.images(2), &expected, TOLERANCE);
        }
    }
}

#[test]
fn a_reward_does_not_depend_on_the_batch() {
    let golden = Golden::open("image_reward");
    let mut scorer = ImageReward::open(&golden.files(), &placements()[0]).unwrap();
    let expected = golden.floats("rewards.0");
    let many = FRAMES_AT_ONCE + 3;
    let media: Vec<Media> = golden.images(2).into_iter().cycle().take(many).collect();
    let expected: Vec<f32> = expected.into_iter().cycle().take(many).collect();
    assert_scores(&mut scorer, &golden.prompts()[0], &media, &expected, TOLERANCE);
}

#[test]
fn a_folder_without_a_usable_vocabulary_is_refused_by_name() {
    let golden = Golden::open("image_reward");
    let copy = tempfile::tempdir().unwrap();
    for name in ["ImageReward.pt", "med_config.json"] {
        std::fs::copy(golden.folder().join(name), copy.path().join(name)).unwrap();
    }
    let message = || {
        let files = ModelFiles::directory(copy.path()).unwrap();
        ImageReward::open(&files, &placements()[0]).err().unwrap().to_string()
    };
    assert!(message().contains("vocab.txt"), "{}", message());
    std::fs::write(copy.path().join("vocab.txt"), "[CLS]\n[SEP]\n").unwrap();
    assert!(message().contains("expected the token [UNK]"), "{}", message());
}

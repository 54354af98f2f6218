//! Every stage gives the numbers of transformers, made by `golden/rewards/clip.py`.

use super::*;
use crate::testing::{Golden, assert_close, assert_scores, placements};

/// f32 sums in another order, over towers of two layers.
const TOLERANCE: f32 = 1e-4;

fn open(variant: ClipVariant, placement: &Placement) -> ClipScore {
    ClipScore::open(&Golden::open("clip").files(), "", variant, placement).expect("a whole folder")
}

#[test]
fn preprocessing_is_that_of_transformers() {
    let golden = Golden::open("clip");
    let pixels = Preprocessor::read(&golden.files(), "", 32).unwrap().pixels(&golden.images(3), 32);
    assert_close("pixels", &pixels.unwrap(), &golden.floats("pixel_values"), 1e-6);
}

#[test]
fn both_towers_and_the_tokenizer_are_those_of_transformers() {
    let golden = Golden::open("clip");
    for placement in placements() {
        let scorer = open(ClipVariant::Cosine, &placement);
        let image = scorer.model.image_features(golden.floats("pixel_values"), 3).unwrap().concat();
        assert_close("image features", &image, &golden.floats("image_features"), TOLERANCE);
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let tokens = scorer.tokenizer.encode(prompt).unwrap();
            let ids = golden.ids(&format!("ids.{at}"));
            assert_eq!(tokens.ids[..tokens.length], ids, "{prompt}");
            let text = scorer.model.text_features(&[ids]).unwrap().concat();
            assert_close(prompt, &text, &golden.floats(&format!("text_features.{at}")), TOLERANCE);
        }
    }
}

#[test]
fn scores_are_those_of_transformers_in_every_variant() {
    let golden = Golden::open("clip");
    // `logit_scale` of the golden model.
    let scale = 4.6f32.exp();
    let variants: [(ClipVariant, &dyn Fn(f32) -> f32); 4] = [
        (ClipVariant::Cosine, &|logit| logit / scale),
        (ClipVariant::Cosine100, &|logit| 100.0 * logit / scale),
        (ClipVariant::Hessel, &|logit| 2.5 * (logit / scale).max(0.0)),
        (ClipVariant::PickScore, &|logit| logit),
    ];
    let (mut below_zero, mut above_zero) = (false, false);
    for placement in placements() {
        for (variant, of_logit) in variants {
            let mut scorer = open(variant, &placement);
            assert_eq!(scorer.name(), variant.name());
            for (at, prompt) in golden.prompts().iter().enumerate() {
                let logits = golden.floats(&format!("logits.{at}"));
                below_zero |= logits.iter().any(|&logit| logit < 0.0);
                above_zero |= logits.iter().any(|&logit| logit > 0.0);
                let expected: Vec<f32> = logits.into_iter().map(of_logit).collect();
                assert_scores(&mut scorer, prompt, &golden.images(3), &expected, TOLERANCE);
            }
        }
    }
    assert!(below_zero && above_zero, "the golden numbers do not tell Hessel's variant from the others");
}

#[test]
fn the_prompt_is_encoded_once_and_the_images_in_batches() {
    let golden = Golden::open("clip");
    let mut scorer = open(ClipVariant::PickScore, &placements()[0]);
    let prompt = &golden.prompts()[0];
    let many = 2 * FRAMES_AT_ONCE + 3;
    let media: Vec<Media> = golden.images(3).into_iter().cycle().take(many).collect();
    let expected: Vec<f32> = golden.floats("logits.0").into_iter().cycle().take(many).collect();
    assert_scores(&mut scorer, prompt, &media, &expected, TOLERANCE);
    // A prompt that is already encoded needs no tokenizer: what is kept decides, even if it is another prompt's.
    let other = scorer.model.text_features(&[golden.ids("ids.1")]).unwrap().concat();
    scorer.prompt = PromptCache::default();
    scorer.prompt.get(prompt, || Ok(other)).unwrap();
    assert_scores(&mut scorer, prompt, &golden.images(3), &golden.floats("logits.1"), TOLERANCE);
}

#[test]
fn a_clip_scores_the_mean_of_its_frames() {
    let mut scorer = open(ClipVariant::Cosine, &placements()[0]);
    let square = Golden::open("clip").images(2).remove(1);
    let dark: Vec<u8> = square.pixels().iter().map(|byte| byte / 2).collect();
    let clip = Media::new(2, 32, 32, [square.pixels(), &dark].concat()).unwrap();
    let dark = Media::new(1, 32, 32, dark).unwrap();
    let rewards = scorer.score("a green dog", &[square, dark, clip]).unwrap();
    let given: Vec<f64> = rewards.iter().filter_map(|reward| reward.given()).collect();
    assert!((given[0] - given[1]).abs() > 1e-3);
    assert!((given[2] - (given[0] + given[1]) / 2.0).abs() < 1e-6);
}

#[test]
fn half_a_scorer_is_refused_by_name() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "merges.txt"] {
        std::fs::copy(Golden::open("clip").folder().join(name), copy.path().join(name)).unwrap();
    }
    let files = ModelFiles::directory(copy.path()).unwrap();
    let opened = ClipScore::open(&files, "", ClipVariant::Cosine, &placements()[0]);
    let message = opened.err().unwrap().to_string();
    assert!(message.contains("vocab.json"), "{message}");
}

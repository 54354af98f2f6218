//! Every stage gives the numbers of the reference, made by `golden/rewards/viclip.py`.

use super::*;
use crate::testing::{Golden, assert_close, assert_scores, numbers as values, placements};

/// f32 sums in another order, over towers of two layers.
const TOLERANCE: f32 = 1e-4;

/// The clips of the golden folder, of which each frame is a file: square, wide and tall, with and without a rest.
fn clips(golden: &Golden) -> Vec<Media> {
    let clip = |at: usize| {
        let path = golden.folder().join(format!("clip-{at}.png"));
        let strip = image::open(path).expect("the strip is there").to_rgb8();
        let frames = golden.ids(&format!("frames.{at}"))[0] as usize;
        let (width, height) = (strip.width() as usize, strip.height() as usize / frames);
        Media::new(frames, height, width, strip.into_raw()).expect("frames one below the other")
    };
    (0..3).map(clip).collect()
}

#[test]
fn frames_are_sampled_and_resized_as_in_the_reference() {
    let golden = Golden::open("viclip");
    for (at, clip) in clips(&golden).iter().enumerate() {
        let expected = golden.floats(&format!("pixel_values.{at}"));
        // The reference normalises in f64 and rounds once.
        assert_close("pixels", &pixels(clip, 4, 16), &expected, 1e-6);
    }
    let of = |count, wanted| sampled(count, wanted).collect::<Vec<_>>();
    assert_eq!(of(16, 8), [0, 2, 4, 6, 8, 10, 12, 14]);
    assert_eq!(of(15, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(of(8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn both_towers_and_the_tokenizer_are_those_of_the_reference() {
    let golden = Golden::open("viclip");
    for placement in placements() {
        let viclip = ViClip::open(&golden.files(), "", &placement).unwrap();
        assert_eq!((viclip.vision.side, viclip.vision.frames, viclip.text.context_length), (16, 4, 12));
        for at in 0..3 {
            let pixels = golden.floats(&format!("pixel_values.{at}"));
            // The reference orders patches by position and then by frame.
            let width = viclip.vision.embed(pixels.clone()).dims()[2];
            let embedded = viclip.vision.embed(pixels.clone());
            let patches = embedded.clone().narrow(1, 1, 64).reshape([4, 16, width]).swap_dims(0, 1);
            let class = embedded.narrow(1, 0, 1);
            let tokens = Tensor::cat(vec![class, patches.reshape([1, 64, width])], 1);
            assert_close("tokens", &values(tokens), &golden.floats(&format!("tokens.{at}")), 1e-5);
            let expected = golden.floats(&format!("clip_features.{at}"));
            assert_close("clip features", &values(viclip.vision.forward(pixels)), &expected, TOLERANCE);
        }
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let tokens = viclip.tokenizer.encode(&clean(prompt)).unwrap();
            let ids = golden.ids(&format!("ids.{at}"));
            assert_eq!(tokens.ids[..tokens.length], ids, "{prompt}");
            let expected = golden.floats(&format!("text_features.{at}"));
            assert_close(prompt, &values(viclip.text.forward(&ids)), &expected, TOLERANCE);
        }
    }
}

#[test]
fn scores_of_a_folder_and_of_a_file_are_those_of_the_reference() {
    let golden = Golden::open("viclip");
    let files = golden.files();
    let [kernels, portable] = placements();
    for (path, placement) in [("", &kernels), ("ViClip-InternVid-10M-FLT.pth", &portable)] {
        let mut scorer = ViClip::open(&files, path, placement).unwrap();
        for (at, prompt) in golden.prompts().iter().enumerate() {
            let expected = golden.floats(&format!("scores.{at}"));
            assert_scores(&mut scorer, prompt, &clips(&golden), &expected, TOLERANCE);
        }
    }
}

#[test]
fn an_image_and_a_short_clip_are_refused() {
    let golden = Golden::open("viclip");
    let mut scorer = ViClip::open(&golden.files(), "", &placements()[0]).unwrap();
    for frames in [1, 3] {
        let short = Media::new(frames, 8, 8, vec![0; frames * 192]).unwrap();
        let message = scorer.score("a dog", &[short]).unwrap_err().to_string();
        let found = format!("reward `viclip` takes clips of at least 4 frames, found {frames}");
        assert!(message.starts_with(&found), "{message}");
    }
}

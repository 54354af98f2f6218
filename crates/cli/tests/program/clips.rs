//! Clips that are there already are scored as clips, and what is no clip gets one clear line.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::{json, outcome, succeed};

const VICLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewards/viclip");

/// A folder of frames of 64 pixels with a textured square that moves `speed` pixels a frame to the right.
fn frames(folder: &Path, count: u32, speed: u32) {
    std::fs::create_dir(folder).expect("a new folder");
    for frame in 0..count {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let inside = (8 + speed * frame..32 + speed * frame).contains(&x) && (20..44).contains(&y);
            let from_left = x.wrapping_sub(speed * frame);
            let texture = (from_left.wrapping_mul(37) ^ y.wrapping_mul(91)) % 200;
            if inside { Rgb([texture as u8, 30, 200 - texture as u8]) } else { Rgb([230; 3]) }
        });
        image.save(folder.join(format!("{frame:03}.png"))).expect("a written frame");
    }
}

#[test]
fn a_folder_of_frames_is_one_clip() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("moving"), 5, 4);
    frames(&folder.path().join("still"), 5, 0);
    let score = |clip: &str, more: &[&str]| {
        let arguments = [&["score", clip, "--prompt", "a car", "--model", "fake"], more].concat();
        json(&succeed(folder.path(), &arguments))["reward"].as_f64().expect("a reward")
    };
    let found = score("moving", &["--reward", "dynamic-degree"]);
    assert!((found - 4.0 / 64.0).abs() < 0.5 / 64.0, "{found}");
    assert_eq!(score("still", &["--reward", "dynamic-degree"]), 0.0);
    // The file of every frame of a still clip is as large as that of one.
    let all = score("still", &["--reward", "jpeg-size"]);
    assert_eq!(score("still", &["--reward", "jpeg-size", "--reward-frames", "1"]), all);
    let folder_reward = score("moving", &["--reward", &format!("viclip:{VICLIP}")]);
    let file = format!("viclip:{VICLIP}/ViClip-InternVid-10M-FLT.pth");
    assert_eq!(score("moving", &["--reward", &file]), folder_reward);
    assert!((-1.0..=1.0).contains(&folder_reward));
}

#[test]
fn a_model_names_the_scorer_that_it_brings() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("clip"), 4, 2);
    let scorer = folder.path().join("model/scorer");
    std::fs::create_dir_all(&scorer).unwrap();
    for file in ["ViClip-InternVid-10M-FLT.pth", "vocab.json", "merges.txt"] {
        std::fs::copy(Path::new(VICLIP).join(file), scorer.join(file)).unwrap();
    }
    std::fs::write(scorer.join("config.json"), "{}").unwrap();
    let names = r#"{"default_scorer": "scorer", "default_reward": "viclip"}"#;
    std::fs::write(folder.path().join("model/noisefind.json"), names).unwrap();
    let scored = json(&succeed(folder.path(), &["score", "clip", "--prompt", "a car", "--model", "model"]));
    assert_eq!(scored["scorer"], "viclip");
    assert!(scored["reward"].is_number(), "{scored}");
}

/// The last line of a command that failed.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, _, stderr) = outcome(folder, arguments);
    assert_eq!(stderr.lines().count(), 1, "more than one line:\n{stderr}");
    format!("{} {stderr}", code.expect("an exit code"))
}

#[test]
fn what_is_no_clip_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("mixed"), 3, 1);
    RgbImage::new(32, 64).save(folder.path().join("mixed/003.png")).unwrap();
    RgbImage::from_pixel(64, 64, Rgb([99; 3])).save(folder.path().join("image.png")).unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let score = |file: &str, reward: &str| {
        refused(folder.path(), &["score", file, "--prompt", "a car", "--model", "fake", "--reward", reward])
    };
    insta::assert_snapshot!("frames_of_different_sizes", score("mixed", "dynamic-degree"));
    insta::assert_snapshot!("folder_without_frames", score("empty", "dynamic-degree"));
    insta::assert_snapshot!("image_where_a_clip_is_asked", score("image.png", "dynamic-degree"));
    let arguments = ["tune", "a dog", "--model", "fake", "--reward-frames", "0"];
    insta::assert_snapshot!("reward_frames_of_zero", refused(folder.path(), &arguments));
}

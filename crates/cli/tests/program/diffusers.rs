//! The policy file in the hands of diffusers: the same noises give the same images.

use std::path::{Path, PathBuf};
use std::process::Command;

use image::AnimationDecoder;
use image::codecs::webp::WebPDecoder;

use crate::{names, succeed};

const IMPORTS: &str = "import diffusers, PIL, safetensors, torch, transformers";

/// The Python that `NOISEFIND_PYTHON` names, or `python3`; it has to have diffusers.
fn python() -> PathBuf {
    let python = PathBuf::from(std::env::var_os("NOISEFIND_PYTHON").unwrap_or_else(|| "python3".into()));
    let imported = Command::new(&python).args(["-c", IMPORTS]).output();
    let imported = imported.unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
    let stderr = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "{} has no diffusers: {stderr}", python.display());
    python
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion").join(name);
    folder.display().to_string()
}

/// Samples the policy of `run` into `samples` with the program, and from the same noises into `theirs` with diffusers.
fn sample_with_both(python: &Path, folder: &Path, model: &str, count: &str) {
    let noises = ["--save-noise", "noise.safetensors", "--out", "samples"];
    succeed(folder, &[&["sample", "run", "-n", count, "--dtype", "f32"][..], &noises].concat());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sample_with_diffusers.py");
    let sampled = Command::new(python)
        .current_dir(folder)
        .arg(example)
        .args([model, "run/policy.safetensors", "theirs", "noise.safetensors"])
        .output()
        .expect("Python starts");
    assert!(sampled.status.success(), "{}", String::from_utf8_lossy(&sampled.stderr));
}

/// Clips of both families, from a policy that has all settings in it.
#[test]
#[ignore = "needs Python with diffusers"]
fn diffusers_draws_the_same_clips_from_the_policy() {
    let python = python();
    let (modelscope, sd1, adapter) = (golden("modelscope"), golden("sd1"), golden("motion_adapter"));
    // The example takes the model's own scheduler.
    let models: [(&str, &[&str]); 2] =
        [(&modelscope, &["--num-frames", "3"]), (&sd1, &["--motion-adapter", &adapter, "--num-frames", "3"])];
    for (at, (model, more)) in models.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let start = ["tune", "a green dog", "--out", "run", "--model", model, "--reward", "jpeg-size"];
        let settings = ["--evaluations", "8", "--batch-size", "4", "--samples", "2", "--dtype", "f32"];
        let steps = ["--num-inference-steps", "4", "--guidance-scale", "5"];
        succeed(folder.path(), &[&start[..], &settings, &steps, more].concat());
        sample_with_both(&python, folder.path(), model, "2");
        for seed in 0..2 {
            let ours = frames(&folder.path().join(format!("samples/seed-{seed}.webp")));
            let theirs = frames(&folder.path().join(format!("theirs/{seed}.webp")));
            assert_eq!((ours.len(), theirs.len()), (3, 3));
            let pairs = ours.concat().into_iter().zip(theirs.concat());
            let furthest = pairs.map(|(ours, theirs)| ours.abs_diff(theirs)).max();
            // Sums in another order end in another last bit, which rounding to 8 bits makes one level.
            assert!(furthest <= Some(1), "model {at}, clip {seed} differs by {furthest:?} levels");
        }
    }
}

/// The pixels of each frame of an animated WebP file.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("a clip"));
    let frames =
        WebPDecoder::new(file).expect("a WebP file").into_frames().collect_frames().expect("its frames");
    frames
        .into_iter()
        .map(|frame| image::DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8().into_raw())
        .collect()
}

#[test]
#[ignore = "needs Python with diffusers"]
fn diffusers_draws_the_same_images_from_the_policy() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--evaluations", "16", "--samples", "2", "--num-inference-steps", "4", "--dtype", "f32"];
    succeed(
        folder.path(),
        &[&["tune", "a green dog", "--out", "run", "--model", "emoji-64"][..], &settings].concat(),
    );
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/emoji-64").display().to_string();
    sample_with_both(&python, folder.path(), &model, "3");
    let pixels = |path: PathBuf| image::open(path).unwrap().into_rgb8().into_raw();
    for (at, ours) in names(&folder.path().join("samples")).iter().enumerate() {
        let ours = pixels(folder.path().join("samples").join(ours));
        let theirs = pixels(folder.path().join("theirs").join(format!("{at}.png")));
        assert_eq!(ours.len(), theirs.len());
        // Sums in another order end in another last bit, which rounding to 8 bits makes one level.
        let furthest = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
        assert!(furthest <= Some(1), "image {at} differs by {furthest:?} levels");
    }
}

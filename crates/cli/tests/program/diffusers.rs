//! The policy file in the hands of diffusers: the same noises give the same pictures.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{names, succeed};

const IMPORTS: &str = "import diffusers, PIL, safetensors, torch, transformers";

/// A Python that has diffusers, or why there is none.
fn python() -> Result<PathBuf, String> {
    let named = std::env::var_os("NOISEFIND_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from("python3"));
    match Command::new(&python).args(["-c", IMPORTS]).output() {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(format!("{} says: {}", python.display(), stderr.lines().last().unwrap_or("nothing")))
        }
        Err(error) => Err(format!("{}: {error}", python.display())),
    }
}

#[test]
fn diffusers_draws_the_same_pictures_from_the_policy() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            // Under cargo test --nocapture, so that nobody takes a skipped test for a passed one.
            eprintln!("skipped: no Python with diffusers ({reason}); name one in NOISEFIND_PYTHON");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--evaluations", "16", "--samples", "2", "--num-inference-steps", "4", "--dtype", "f32"];
    succeed(folder.path(), &[&["tune", "a green dog", "--out", "run"][..], &settings].concat());
    let drawing = ["sample", "run", "-n", "3", "--dtype", "f32", "--save-noise", "noise.safetensors"];
    succeed(folder.path(), &drawing);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let drawn = Command::new(python)
        .current_dir(folder.path())
        .arg(root.join("examples/sample_with_diffusers.py"))
        .arg(root.join("models/emoji-64"))
        .args(["run/policy.safetensors", "theirs", "noise.safetensors"])
        .output()
        .unwrap();
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let pixels = |path: PathBuf| image::open(path).unwrap().into_rgb8().into_raw();
    for (at, ours) in names(&folder.path().join("samples")).iter().enumerate() {
        let ours = pixels(folder.path().join("samples").join(ours));
        let theirs = pixels(folder.path().join("theirs").join(format!("{at}.png")));
        assert_eq!(ours.len(), theirs.len());
        // Sums in another order end in another last bit, which rounding to 8 bits makes one level.
        let furthest = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
        assert!(furthest <= Some(1), "picture {at} differs by {furthest:?} levels");
    }
}

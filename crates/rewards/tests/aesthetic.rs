//! The published LAION head, where the environment variable NOISEFIND_AESTHETIC_HEAD names its file.
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;

use noisefind_diffusion::ModelFiles;
use noisefind_rewards::AestheticHead;

fn open(path: &Path) -> Result<AestheticHead, noisefind_rewards::Error> {
    let folder = ModelFiles::directory(path.parent().expect("a file lies in a folder"))?;
    AestheticHead::open(&folder, &path.file_name().expect("a file has a name").to_string_lossy())
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

//! Puts the files of the default model and of its fast version into the library, so that an installed program works
//! from any folder, the hashes of the video model, whose files are in a crate of their own, and the commit, so that a run
//! says what made it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[path = "src/models/hash.rs"]
mod hash;

/// The models that travel inside the library: their folders, from the one that wins to the one that completes it.
const MODELS: [&[&str]; 2] = [&["emoji-64"], &["emoji-64-turbo", "emoji-64"]];

/// The model whose own files are in `noisefind-video-model`.
const VIDEO: &[&str] = &["emoji-64-video", "emoji-64"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../models");
    // A file that two models have in common is in the library once.
    let mut contents = BTreeMap::new();
    let mut models = String::new();
    let has_video = std::env::var_os("CARGO_FEATURE_VIDEO_MODEL").is_some();
    for folders in MODELS.into_iter().chain(has_video.then_some(VIDEO)) {
        let is_elsewhere = folders == VIDEO;
        let folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
        for folder in &folders {
            println!("cargo::rerun-if-changed={}", folder.display());
        }
        // Half a model is worse than none: without its index a folder is not one.
        if folders.iter().all(|folder| folder.join("model_index.json").is_file()) {
            writeln!(models, "{}", model(&folders, is_elsewhere, &mut contents)?)?;
        }
    }
    let mut code = String::new();
    for (path, index) in &contents {
        writeln!(code, "static BYTES_{index}: &[u8] = include_bytes!({path:?});")?;
    }
    writeln!(code, "\n/// The models inside the library.\nstatic MODELS: &[EmbeddedModel] = &[\n{models}];")?;
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("embedded_model.rs"), code)?;
    tell_commit();
    Ok(())
}

/// The code of one `EmbeddedModel`, without its files where they are elsewhere; `contents` numbers the files that it needs.
fn model(
    folders: &[PathBuf],
    is_elsewhere: bool,
    contents: &mut BTreeMap<PathBuf, usize>,
) -> Result<String, Box<dyn Error>> {
    let mut files = BTreeMap::new();
    for folder in folders {
        let mut found = Vec::new();
        hash::list(folder, "", &mut found)?;
        for (relative, path) in found {
            files.entry(relative).or_insert(path);
        }
    }
    let mut sha256 = hash::FolderHash::new();
    let (mut listed, mut weights) = (String::new(), String::new());
    for (relative, path) in files {
        let content = fs::read(&path)?;
        let own = sha256.add(&relative, content.len() as u64, content.as_slice())?;
        if hash::is_weights(&relative) {
            write!(weights, "({relative:?}, {own:?}), ")?;
        }
        if is_elsewhere {
            continue;
        }
        let next = contents.len();
        let index = contents.entry(path).or_insert(next);
        writeln!(listed, "        EmbeddedFile {{ path: {relative:?}, bytes: BYTES_{index} }},")?;
    }
    let name = folders[0].file_name().unwrap_or_default();
    Ok(format!(
        "    EmbeddedModel {{ name: {name:?}, sha256: {:?}, weights: &[{weights}], files: &[\n{listed}    ] }},",
        sha256.finish()
    ))
}

/// Sets `NOISEFIND_GIT_COMMIT` where this is a work tree of the program's own repository, which a package or a
/// vendored copy inside somebody else's repository is not.
fn tell_commit() {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if git(&["ls-files", "--error-unmatch", "build.rs"]).is_none() {
        return;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=NOISEFIND_GIT_COMMIT={commit}");
    }
}

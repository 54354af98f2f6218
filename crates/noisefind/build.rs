//! Puts the files of the default model into the library, so that an installed program works from any folder, and the
//! commit, so that a run says what made it.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/models/hash.rs"]
mod hash;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../models/emoji-64");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    // Half a model is worse than none: without its index the folder is not one.
    if folder.join("model_index.json").is_file() {
        list(&folder, "", &mut files)?;
    }
    files.sort();

    let mut code =
        String::from("/// Relative path and content, by path.\nstatic FILES: &[EmbeddedFile] = &[\n");
    let mut sha256 = hash::FolderHash::new();
    let mut weights = String::new();
    for relative in &files {
        let path = folder.join(relative).canonicalize()?;
        let content = fs::read(&path)?;
        let own = sha256.add(relative, content.len() as u64, content.as_slice())?;
        if hash::is_weights(relative) {
            writeln!(weights, "    ({relative:?}, {own:?}),")?;
        }
        writeln!(code, "    EmbeddedFile {{ path: {relative:?}, bytes: include_bytes!({path:?}) }},")?;
    }
    writeln!(
        code,
        "];\n\n/// [`crate::models::hash`] of [`FILES`].\npub const SHA256: &str = {:?};\n\n\
         /// SHA-256 of each of [`FILES`] that holds weights.\n\
         pub const WEIGHTS: &[(&str, &str)] = &[\n{weights}];",
        sha256.finish()
    )?;
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("embedded_model.rs"), code)?;
    tell_commit();
    Ok(())
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

/// The files below `folder` that count, as paths relative to the model with `/` between the parts.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{relative}/"), files)?;
        } else if hash::counts(&relative) {
            files.push(relative);
        }
    }
    Ok(())
}

//! Puts the files of the default model into the library, so that an installed program works from any folder.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "src/hash.rs"]
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
    for relative in &files {
        let path = folder.join(relative).canonicalize()?;
        let content = fs::read(&path)?;
        sha256.add(relative, content.len() as u64, content.as_slice())?;
        writeln!(code, "    EmbeddedFile {{ path: {relative:?}, bytes: include_bytes!({path:?}) }},")?;
    }
    writeln!(
        code,
        "];\n\n/// [`crate::hash`] of [`FILES`].\npub const SHA256: &str = {:?};",
        sha256.finish()
    )?;
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("embedded_model.rs"), code)?;
    Ok(())
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

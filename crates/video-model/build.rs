//! Lists the files of the video model that count for a program: what `noisefind` embeds of its other models.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[allow(dead_code, reason = "of this module only the choice of files is needed here")]
#[path = "../noisefind/src/models/hash.rs"]
mod hash;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../models/emoji-64-video");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    // Half a model is worse than none: without its index a folder is not one.
    if folder.join("model_index.json").is_file() {
        list(&folder, "", &mut files)?;
    }
    files.sort();
    let mut code = "[\n".to_owned();
    for (relative, path) in files {
        writeln!(code, "    ({relative:?}, include_bytes!({path:?})),")?;
    }
    code.push(']');
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("files.rs"), code)?;
    Ok(())
}

/// The files below `folder` that count, as paths relative to the model with `/` between the parts.
fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{relative}/"), files)?;
        } else if hash::counts(&relative) {
            files.push((relative, entry.path().canonicalize()?));
        }
    }
    Ok(())
}

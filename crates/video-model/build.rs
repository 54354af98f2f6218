//! Lists the files of the video model that count for a program: what `noisefind` embeds of its other models.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

#[allow(dead_code, reason = "of this module only the list of files is needed here")]
#[path = "../noisefind/src/models/hash.rs"]
mod hash;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../models/emoji-64-video");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    // Half a model is worse than none: without its index a folder is not one.
    if folder.join("model_index.json").is_file() {
        hash::list(&folder, "", &mut files)?;
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

//! Every kind of file against Pillow and `convert_to_rgb` of transformers, by `golden/images/make.py`.

use std::path::PathBuf;

use noisefind_images::{Error, Format, decode};
use safetensors::SafeTensors;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/images")
}

#[test]
fn every_kind_of_file_agrees_with_pillow() {
    let file = std::fs::read(golden().join("golden.safetensors")).expect("the golden numbers are there");
    let expected = SafeTensors::deserialize(&file).expect("the golden numbers are valid");
    let mut problems = Vec::new();
    for (name, view) in expected.tensors() {
        let bytes = std::fs::read(golden().join("files").join(&name)).expect("the file is there");
        let found = match decode(&bytes) {
            Ok(found) => found,
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                continue;
            }
        };
        if [found.height, found.width, 3] != *view.shape() {
            problems.push(format!("{name}: {} x {}, expected {:?}", found.height, found.width, view.shape()));
            continue;
        }
        let pairs = || found.bytes.iter().zip(view.data());
        let worst = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        // Five and six bits are spread over eight with another rounding.
        let tolerance = u8::from(name.starts_with("bmp-5"));
        if worst > tolerance {
            problems.push(format!("{name}: differs by up to {worst} levels"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn files() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(golden().join("files")).expect("the files are there");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().into_string().expect("a plain name");
            (name, std::fs::read(entry.path()).expect("the file can be read"))
        })
        .collect();
    files.sort();
    assert!(files.len() > 100);
    files
}

#[test]
fn half_a_file_is_no_image() {
    for (name, bytes) in files() {
        // The first frame may be complete in half of an animation.
        if !name.contains("animated") {
            let error = decode(&bytes[..bytes.len() / 2]).expect_err(&name).to_string();
            assert!(error.contains("cut off") || error.contains("damaged"), "{name}: {error}");
        }
    }
}

#[test]
fn the_last_bytes_of_a_jpeg_file_count() {
    for (name, bytes) in files().into_iter().filter(|(name, _)| name.ends_with(".jpg")) {
        let error = decode(&bytes[..bytes.len() - 2]).expect_err(&name);
        assert_eq!(error, Error::Truncated { format: Format::Jpeg }, "{name}");
    }
}

#[test]
fn no_damage_ends_the_program() {
    for (name, bytes) in files() {
        let step = (bytes.len() / 40).max(1);
        for (at, flip) in (0..bytes.len()).step_by(step).zip([0x01, 0x80, 0xff, 0x10].into_iter().cycle()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            // Only that it comes back counts: not every damage shows.
            let _ = decode(&damaged);
            let _ = decode(&bytes[..at]);
        }
        assert!(decode(&bytes).is_ok(), "{name}");
    }
}

#[test]
fn other_files_are_named_as_what_they_are_not() {
    assert_eq!(decode(b"").expect_err("nothing"), Error::Empty);
    let error = decode(b"%PDF-1.7 and more").expect_err("no image").to_string();
    let expected = "the file is no PNG, JPEG, WebP, GIF, BMP or TIFF image: it begins with the bytes 25 50 44 46 2d 31 2e 37";
    assert_eq!(error, expected);
}

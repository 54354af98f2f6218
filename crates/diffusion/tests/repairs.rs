//! What diffusers' pipelines change about a model while they load it.
//!
//! | repair | pipeline | test |
//! | --- | --- | --- |
//! | `steps_offset` other than 1 is 1 | Stable Diffusion | `outdated_scheduler_values_are_repaired` |
//! | `clip_sample` true is false | Stable Diffusion | `outdated_scheduler_values_are_repaired` |
//! | `sample_size` below 64 of versions before 0.9 is 64 | Stable Diffusion | `small_sizes_of_old_versions_are_raised` |
//! | none | Stable Diffusion XL, latent consistency, text-to-video, AnimateDiff | `other_pipelines_repair_nothing` |

mod common;

use std::fs;
use std::path::Path;

use common::{copy, golden_folder};
use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, ModelFiles};
use serde_json::{Value, json};

fn edit(folder: &Path, file: &str, values: &[(&str, Value)]) {
    let path = folder.join(file);
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("it exists")).expect("it is JSON");
    for (key, value) in values {
        config[*key] = value.clone();
    }
    fs::write(path, config.to_string()).expect("it is writable");
}

/// A copy of a tiny pipeline with values of its scheduler and denoiser changed.
fn open(name: &str, scheduler: &[(&str, Value)], denoiser: &[(&str, Value)]) -> DiffusionModel {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&golden_folder().join(name), folder.path());
    if scheduler.iter().any(|(key, _)| *key == "clip_sample") {
        // A class that has both keys.
        edit(folder.path(), "model_index.json", &[("scheduler", json!(["diffusers", "DDIMScheduler"]))]);
    }
    edit(folder.path(), "scheduler/scheduler_config.json", scheduler);
    edit(folder.path(), "unet/config.json", denoiser);
    let files = ModelFiles::directory(folder.path()).expect("it is a folder");
    DiffusionModel::open(files, &LoadOptions::default()).expect("it opens")
}

fn scheduler(model: &DiffusionModel) -> String {
    let config = model.scheduler(&GenerationOptions::default()).expect("it is implemented");
    // The folder's path differs.
    format!("{config:?}").replace(&model.files().display("scheduler"), "")
}

#[test]
fn outdated_scheduler_values_are_repaired() {
    let values = |offset: usize, clip: bool| [("steps_offset", json!(offset)), ("clip_sample", json!(clip))];
    let whole = open("sd1", &values(1, false), &[]);
    assert!(whole.notes().is_empty(), "{:?}", whole.notes());
    for (offset, clip, notes) in [(0, false, 1), (1, true, 1), (0, true, 2), (3, true, 2)] {
        let repaired = open("sd1", &values(offset, clip), &[]);
        assert_eq!(scheduler(&repaired), scheduler(&whole), "{offset} {clip}");
        assert_eq!(repaired.notes().len(), notes, "{:?}", repaired.notes());
    }
}

#[test]
fn small_sizes_of_old_versions_are_raised() {
    let size = |version: &str, size: Value| {
        let model = open("sd1", &[], &[("_diffusers_version", json!(version)), ("sample_size", size)]);
        let shape = model.noise_shape();
        [shape.height, shape.width]
    };
    assert_eq!(size("0.6.0", json!(32)), [64, 64]);
    assert_eq!(size("0.8.1.dev0", json!(32)), [64, 64]);
    assert_eq!(size("0.6.0", json!(96)), [96, 96]);
    assert_eq!(size("0.6.0", json!([32, 32])), [32, 32]);
    assert_eq!(size("0.9.0", json!(32)), [32, 32]);
    assert_eq!(size("0.10.0", json!(32)), [32, 32]);
}

#[test]
fn other_pipelines_repair_nothing() {
    let changed = [("steps_offset", json!(0)), ("clip_sample", json!(true))];
    let old = [("_diffusers_version", json!("0.6.0")), ("sample_size", json!(8))];
    for name in ["sdxl", "lcm"] {
        let model = open(name, &changed, &old);
        assert!(model.notes().is_empty(), "{name}: {:?}", model.notes());
        assert_eq!(model.noise_shape().height, 8, "{name}");
    }
}

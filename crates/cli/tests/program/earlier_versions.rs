//! A run folder of the first version, whose files have keys that were renamed since.

use std::path::Path;

use crate::{copy_folder, json, outcome, succeed};

/// `noisefind tune "a green dog" --seed 3 --evaluations 16 --batch-size 8 --num-inference-steps 4 --samples 2` of the first
/// version, without its images and pages.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/earlier-run");

#[test]
fn a_run_of_the_first_version_is_inspected_sampled_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(Path::new(RECORDED), &folder.path().join("run"));

    let inspected = json(&succeed(folder.path(), &["inspect", "run/policy.safetensors", "--json"]));
    assert_eq!(inspected["components"], 4, "{inspected}");
    assert_eq!(inspected["provenance"]["prompt"], "a green dog");
    assert_eq!(inspected["problems"].as_array().map(Vec::len), Some(0));

    let compared = json(&succeed(folder.path(), &["compare", "run", "--samples", "2", "--json"]));
    let recorded = json(&std::fs::read_to_string(Path::new(RECORDED).join("comparison.json")).unwrap());
    for arm in ["base", "tuned"] {
        // The scorer was trained on since, so what is held is a figure of the images alone.
        let [now, then] = [&compared, &recorded].map(|one| one[arm]["diversity"].as_f64().unwrap());
        assert!((now - then).abs() < 1e-3, "the same noises give the same images: {arm} {now} {then}");
    }

    succeed(folder.path(), &["sample", "run", "-n", "1", "--out", "samples"]);
    assert!(folder.path().join("samples/seed-0.png").exists());
}

#[test]
fn its_settings_start_a_new_run_and_its_state_says_so() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(Path::new(RECORDED), &folder.path().join("run"));

    let (code, _, stderr) = outcome(folder.path(), &["tune", "--resume", "run"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("step-000002.safetensors") && stderr.contains("--config run/config.toml"),
        "{stderr}"
    );

    succeed(folder.path(), &["tune", "--config", "run/config.toml", "--evaluations", "8", "--out", "new"]);
    let settings = std::fs::read_to_string(folder.path().join("new/config.toml")).unwrap();
    for setting in ["components = 4", "radius = 0.92", "surrogate = true"] {
        assert!(settings.contains(setting), "{settings}");
    }
}

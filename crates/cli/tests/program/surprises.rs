//! Work is never stopped, refused or overwritten by surprise.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{json, names, noisefind, outcome, small_run, succeed};

/// Waits until the program has recorded a sample in the run folder `run`.
fn wait_for_sample(child: &mut Child, run: &Path) {
    while fs::metadata(run.join("rewards.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(
            child.try_wait().expect("it can be asked").is_none(),
            "the run was over before its first sample"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts the program through a shell that handles SIGHUP as `trap` says, waits until samples are recorded, hangs up,
/// and gives the program's exit code.
#[cfg(unix)]
fn hang_up(folder: &Path, trap: &str) -> Option<i32> {
    let long = ["--evaluations", "4000", "--samples", "4", "--out", "run"];
    let script = format!("{trap} exec \"$0\" \"$@\"");
    let mut child = crate::with_default_signals(&mut Command::new("sh"))
        .args(["-c", &script, env!("CARGO_BIN_EXE_noisefind")])
        .args(["tune", "a dog", "--model", "fake"])
        .args(long)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts");
    wait_for_sample(&mut child, &folder.join("run"));
    let sent = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    child.wait().expect("the program ends").code()
}

#[cfg(unix)]
#[test]
fn a_hang_up_saves_the_run_and_one_that_is_ignored_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(hang_up(folder.path(), ""), Some(130));
    assert!(!folder.path().join("run/policy.safetensors").exists());
    succeed(folder.path(), &["tune", "--resume", "run"]);
    let resumed = fs::read(folder.path().join("run/policy.safetensors")).unwrap();

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(hang_up(folder.path(), "trap '' HUP;"), Some(0));
    assert!(fs::read(folder.path().join("run/policy.safetensors")).unwrap() == resumed);
}

#[test]
fn starts_at_the_same_moment_each_get_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["tune", "a dog", "--model", "fake", "--evaluations", "16", "--samples", "2"];
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| succeed(folder.path(), &arguments));
        }
    });
    let runs = names(&folder.path().join("runs"));
    assert_eq!(runs.len(), 6, "{runs:?}");
    assert!(runs.iter().all(|run| folder.path().join("runs").join(run).join("policy.safetensors").is_file()));
}

#[test]
fn a_list_finds_its_runs_wherever_a_line_moves() {
    let long = "a very very long prompt that has the same first fifty characters but then";
    let prompts = [
        format!("{long} cat"),
        format!("{long} dog"),
        "三匹马".into(),
        "一只绿色的狗".into(),
        "两只猫".into(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let write = |prompts: &[String]| fs::write(folder.path().join("list.txt"), prompts.join("\n")).unwrap();
    let tune = |evaluations: &str| {
        let arguments = ["tune", "--prompts", "list.txt", "--model", "fake", "--samples", "4", "--json"];
        json(&succeed(folder.path(), &[&arguments[..], &["--evaluations", evaluations]].concat()))
    };
    write(&prompts);
    let first = tune("16");
    let found = |tuned: &serde_json::Value| {
        let runs = tuned["runs"].as_array().unwrap();
        let mut runs =
            runs.iter().map(|run| (run["prompt"].to_string(), run["run"].to_string())).collect::<Vec<_>>();
        runs.sort();
        runs
    };
    let written = |run: &str| {
        fs::metadata(folder.path().join("runs/list").join(run).join("policy.safetensors"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let runs = names(&folder.path().join("runs/list"));
    let times = runs.iter().map(|run| written(run)).collect::<Vec<_>>();
    let mut moved = prompts;
    moved.reverse();
    moved.swap(0, 2);
    write(&moved);
    assert_eq!(found(&tune("16")), found(&first));
    assert_eq!(runs.iter().map(|run| written(run)).collect::<Vec<_>>(), times, "nothing is done again");

    // Other settings are other runs, and those that are there stay.
    let more = tune("32");
    assert_eq!(names(&folder.path().join("runs/list")).len(), 10);
    assert!(
        found(&more).iter().zip(found(&first)).all(|(now, before)| now.0 == before.0 && now.1 != before.1)
    );
    assert_eq!(runs.iter().map(|run| written(run)).collect::<Vec<_>>(), times);
}

#[test]
fn sampling_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let sample = |more: &[&str]| succeed(folder.path(), &[&["sample", "run", "-n", "2"], more].concat());
    assert_eq!(sample(&[]), "samples/a-green-dog-0/seed-0.png\nsamples/a-green-dog-0/seed-1.png\n");
    assert_eq!(sample(&[]), "samples/a-green-dog-0-2/seed-0.png\nsamples/a-green-dog-0-2/seed-1.png\n");
    sample(&["--out", "mine", "--grid", "sheet.png", "--save-noise", "noise.safetensors"]);
    // More samples of the same policy may join them.
    sample(&["--out", "mine", "--seed", "2"]);
    assert_eq!(names(&folder.path().join("mine")).len(), 4);
    for (more, culprit) in [
        (["--out", "mine", "--prompt", "a cat"], "mine/seed-0.png"),
        (["--grid", "sheet.png", "--out", "other"], "sheet.png"),
        (["--save-noise", "noise.safetensors", "--out", "other"], "noise.safetensors"),
    ] {
        let arguments = [&["sample", "run", "-n", "1"], &more[..]].concat();
        let (code, _, stderr) = outcome(folder.path(), &arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(&format!("{culprit} exists already and is not overwritten")), "{stderr}");
    }
}

/// With the default model's files in a folder, because the fake one has none.
#[test]
fn a_run_goes_on_after_its_model_moved_with_another_batch_and_other_threads() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/emoji-64");
    crate::copy_folder(&model, &folder.path().join("here"));
    let small = ["--evaluations", "24", "--batch-size", "8", "--samples", "2", "--num-inference-steps", "2"];
    let start = ["tune", "a dog on the moon", "--model", "here"];
    succeed(folder.path(), &[&start[..], &small, &["--out", "whole"]].concat());
    let mut child = Command::new(env!("CARGO_BIN_EXE_noisefind"))
        .args([&start[..], &small, &["--out", "stopped"]].concat())
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_sample(&mut child, &folder.path().join("stopped"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("stopped/policy.safetensors").exists());
    fs::rename(folder.path().join("here"), folder.path().join("there")).unwrap();
    let resume =
        ["tune", "--resume", "stopped", "--model", "there", "--generation-batch", "3", "--threads", "1"];
    noisefind(folder.path(), &resume).assert().success();
    // The header of a safetensors file holds the folder that the model was in; the numbers follow it.
    let numbers = |run: &str, file: &str| {
        let bytes = fs::read(folder.path().join(run).join(file)).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + length..].to_vec()
    };
    for file in ["policy.safetensors", "best-noises.safetensors"] {
        assert!(numbers("whole", file) == numbers("stopped", file), "{file} differs");
    }
}

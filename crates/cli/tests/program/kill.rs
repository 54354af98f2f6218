//! Stopped at any moment, a run goes on as if nothing had happened.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{metrics, names, noisefind, outcome, succeed};

/// Two rewards, because their standards are measured once, and a held-out scorer, because it has a memory.
const SETTINGS: [&str; 14] = [
    "tune",
    "a green dog",
    "--reward",
    "fake",
    "--reward",
    "jpeg-size=0.1",
    "--holdout",
    "fake-judge",
    "--evaluations",
    "800",
    "--samples",
    "8",
    "--seed",
    "3",
];

fn spawn(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noisefind"));
    #[cfg(unix)]
    crate::with_default_signals(&mut command);
    command
        .current_dir(folder)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn settings_of<'a>(model: &'a str, out: &'a str) -> Vec<&'a str> {
    SETTINGS.iter().copied().chain(["--model", model, "--batch-size", "8", "--out", out]).collect()
}

fn settings(out: &str) -> Vec<&str> {
    settings_of("fake", out)
}

/// The samples in the journal of `run`, in order, without what depends on the clock.
fn samples(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("rewards.jsonl")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut samples: Vec<serde_json::Value> =
        whole.map(|line| serde_json::from_str(line).expect("a record")).collect();
    for sample in &mut samples {
        sample.as_object_mut().expect("an object").remove("elapsed_seconds");
    }
    samples
}

/// Records without what depends on the clock.
fn records(run: &Path) -> Vec<serde_json::Value> {
    let mut records = metrics(run);
    for record in &mut records {
        record.as_object_mut().expect("an object").remove("elapsed_seconds");
    }
    records
}

fn assert_same_result(folder: &Path, whole: &str, stopped: &str) {
    let read = |run: &str, file: &str| fs::read(folder.join(run).join(file)).expect("the file is there");
    for file in ["policy.safetensors", "config.toml", "grid.png", "best-noises.safetensors"] {
        assert!(read(whole, file) == read(stopped, file), "{file} differs");
    }
    assert_eq!(records(&folder.join(whole)), records(&folder.join(stopped)));
    assert_eq!(names(&folder.join(whole).join("images")), names(&folder.join(stopped).join("images")));
}

/// With the default model, because the fake one has no sums that threads could share.
#[test]
fn threads_change_nothing_in_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let tune = |threads: &str| {
        let small =
            ["--evaluations", "16", "--batch-size", "8", "--samples", "2", "--num-inference-steps", "4"];
        noisefind(folder.path(), &[&["tune", "a dog on the moon", "--out", threads][..], &small].concat())
            .env("RAYON_NUM_THREADS", threads)
            .assert()
            .success();
    };
    tune("1");
    tune("3");
    assert_same_result(folder.path(), "1", "3");
}

#[test]
fn killed_at_random_moments_the_result_is_that_of_an_uninterrupted_run() {
    kill_at_random_moments("fake");
}

#[test]
fn killed_at_random_moments_a_run_over_clips_is_that_of_an_uninterrupted_one() {
    kill_at_random_moments("fake-video");
}

fn kill_at_random_moments(model: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let begun = Instant::now();
    succeed(folder, &settings_of(model, "whole"));
    let whole_run = begun.elapsed();

    // A fixed sequence that looks random: what matters is that the moments fall everywhere.
    let mut moment = 12_345_u64;
    let mut kills = 0;
    for _ in 0..12 {
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (moment >> 40) as f64 / (1 << 24) as f64;
        let began = folder.join("killed/config.toml").exists();
        let mut child = if began {
            spawn(folder, &["tune", "--resume", "killed"])
        } else {
            spawn(folder, &settings_of(model, "killed"))
        };
        std::thread::sleep(whole_run.mul_f64(0.05 + 0.25 * share).max(Duration::from_millis(5)));
        let finished = child.try_wait().expect("the child can be asked").is_some();
        child.kill().expect("the child can be killed");
        child.wait().expect("the child ended");
        kills += usize::from(!finished);
    }
    assert!(kills >= 3, "the run was over before it could be killed");
    let began = folder.join("killed/config.toml").exists();
    succeed(folder, &if began { vec!["tune", "--resume", "killed"] } else { settings_of(model, "killed") });
    assert_same_result(folder, "whole", "killed");
    // Every sample of the steps and of both arms was recorded once, so none was evaluated again.
    let (whole, killed) = (samples(&folder.join("whole")), samples(&folder.join("killed")));
    let evaluations = metrics(&folder.join("whole")).last().expect("a step")["evaluations"].as_u64();
    assert_eq!(whole.len() as u64, evaluations.expect("a number") + 2 * 8);
    assert_eq!(killed, whole);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_says_how_to_go_on_and_exits_130() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(folder, &settings("whole"));
    let mut child = spawn(folder, &settings("stopped"));
    let metrics = folder.join("stopped/metrics.jsonl");
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.join("stopped/policy.safetensors").exists());
    succeed(folder, &["tune", "--resume", "stopped"]);
    assert_same_result(folder, "whole", "stopped");
}

#[test]
fn a_finished_run_resumes_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &settings("run"));
    let policy = fs::read(folder.path().join("run/policy.safetensors")).unwrap();
    succeed(folder.path(), &["tune", "--resume", "run"]);
    assert!(policy == fs::read(folder.path().join("run/policy.safetensors")).unwrap());
}

#[test]
fn two_programs_do_not_write_one_run() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &settings("run"));
    let lock = fs::File::create(folder.path().join("run/.lock")).unwrap();
    lock.lock().unwrap();
    let (code, _, stderr) = outcome(folder.path(), &["tune", "--resume", "run"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(stderr, @"error: run is being written by another process; wait for it, or choose another --out");
}

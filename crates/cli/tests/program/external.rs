//! Scorers that are programs and misbehave in every way: the run ends as described, loses nothing and goes on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{outcome, succeed};

/// Rewards each image by a checksum of its file; every sample is a request. From the third step on, for as long as
/// there is a file `broken`, TROUBLE happens before the answer; `$rewards` and `$id` are what would be answered.
const SCORER: &str = r#"
read -r hello
echo '{"ready":true}'
while read -r line; do
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
    paths=$(echo "$line" | tr '",[]' '\n\n\n\n' | grep '\.png$')
    rewards=$(cksum $paths | while read -r sum rest; do printf ',%s' $((sum % 1000)); done)
    rewards=${rewards#,}
    echo >> requests
    if [ -e broken ] && [ "$(wc -l < requests)" -gt 16 ]; then
        TROUBLE
    fi
    echo "{\"id\":$id,\"rewards\":[$rewards]}"
done
"#;

/// A folder with a program `scorer.sh` that is in trouble.
fn folder(trouble: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("scorer.sh"), SCORER.replace("TROUBLE", trouble)).expect("a written file");
    fs::write(folder.path().join("broken"), "").expect("a written file");
    folder
}

fn settings(out: &str) -> Vec<&str> {
    let text = "tune|a green dog|--model|fake|--reward|exec:sh scorer.sh|--evaluations|48|--batch-size|8|--samples|2|\
                --json|--out";
    text.split('|').chain([out]).collect()
}

fn repair(folder: &TempDir) {
    fs::remove_file(folder.path().join("broken")).expect("the file was there");
}

fn policy(folder: &TempDir, run: &str) -> Vec<u8> {
    fs::read(folder.path().join(run).join("policy.safetensors")).expect("a finished run")
}

fn records(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics are there");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Runs into trouble, which must end the run with `expected` in the message; after the repair it must go on and end
/// with the bits of a run without trouble.
fn assert_ends_and_goes_on(trouble: &str, expected: &str) {
    let folder = folder(trouble);
    let (code, stdout, stderr) = outcome(folder.path(), &settings("run"));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    let done = records(&folder.path().join("run"));
    assert_eq!(done.len(), 2, "steps before the trouble are saved");

    repair(&folder);
    succeed(folder.path(), &["tune", "--resume", "run", "--json"]);
    succeed(folder.path(), &settings("whole"));
    assert_eq!(records(&folder.path().join("run"))[..2], done);
    assert!(policy(&folder, "run") == policy(&folder, "whole"), "the repaired run ends differently");
}

#[test]
fn a_scorer_that_dies() {
    let trouble = "echo 'no memory' >&2; exit 3";
    assert_ends_and_goes_on(trouble, "ended with exit status: 3 before it answered\n  stderr: no memory");
}

#[test]
fn a_scorer_that_answers_garbage() {
    assert_ends_and_goes_on("echo Traceback", "wrote a line that is not a JSON object: `Traceback`");
}

#[test]
fn a_scorer_that_answers_for_too_few_images() {
    assert_ends_and_goes_on("rewards=1,2", "gave 2 rewards for 1 images");
}

#[test]
fn a_scorer_that_answers_twice() {
    let trouble = r#"echo "{\"id\":$((id - 1)),\"rewards\":[$rewards]}""#;
    assert_ends_and_goes_on(trouble, "answered with id 16 where id 17 was asked");
}

#[test]
fn a_scorer_that_reports_a_failure() {
    let trouble = r#"echo "{\"id\":$id,\"error\":\"no credit left\"}"; continue"#;
    assert_ends_and_goes_on(trouble, "reported: no credit left");
}

#[test]
fn a_scorer_that_hangs() {
    let folder = folder("sleep 60");
    let begun = Instant::now();
    let arguments = [settings("run"), vec!["--request-timeout-seconds", "1"]].concat();
    let (code, _, stderr) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("gave no answer within 1 s, 2 time(s) in a row"), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(30), "the time limit was not kept");
    let done = records(&folder.path().join("run"));
    assert_eq!(done.len(), 2, "steps before the trouble are saved");

    repair(&folder);
    succeed(folder.path(), &["tune", "--resume", "run", "--json"]);
    let all = records(&folder.path().join("run"));
    assert_eq!(all[..2], done);
    let missing: Vec<&Value> = all.iter().map(|record| &record["missing"]).collect();
    assert_eq!(missing, [0, 0, 2, 0, 0, 0], "two samples may be late, the third may not");
}

#[test]
fn a_scorer_that_answers_late_once_is_asked_again() {
    let folder = folder("rm broken; sleep 3");
    succeed(folder.path(), &[settings("run"), vec!["--request-timeout-seconds", "1"]].concat());
    succeed(folder.path(), &settings("whole"));
    assert!(policy(&folder, "run") == policy(&folder, "whole"), "a late answer changed the run");
}

#[test]
fn a_scorer_that_answers_nan_at_random() {
    let folder = folder(r#"rewards=$(echo "$rewards" | sed 's/^[0-9]*[05]$/NaN/')"#);
    succeed(folder.path(), &settings("run"));
    let all = records(&folder.path().join("run"));
    let missing = |record: &Value| record["missing"].as_u64().expect("a number");
    let later: Vec<u64> = all[2..].iter().map(missing).collect();
    assert!(later.iter().any(|&count| count > 0) && later.iter().all(|&count| count < 8), "{later:?}");
    for record in &all {
        let rewards = record["rewards"].as_array().expect("a list");
        let null = rewards.iter().filter(|reward| reward.is_null()).count();
        assert_eq!(null as u64, missing(record));
        assert_eq!(record["missing_reasons"].as_array().map(Vec::is_empty), Some(null == 0));
    }
}

#[test]
fn a_scorer_that_gives_nothing_any_more() {
    let folder = folder(r#"rewards=$(echo "$rewards" | sed 's/[0-9][0-9]*/null/g')"#);
    let mut arguments = settings("run");
    fs::write(folder.path().join("config.toml"), "max_missing_in_a_row = 16\n").unwrap();
    arguments.extend(["--config", "config.toml"]);
    let (code, _, stderr) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("the external scorer gave none") && stderr.contains("tune --resume run"),
        "{stderr}"
    );
    let done = records(&folder.path().join("run"));
    assert_eq!(
        done.iter().map(|record| record["updated"] == true).collect::<Vec<_>>(),
        [false, true, false, false],
        "the base is sampled until enough noises succeed"
    );
    assert_eq!(done[2]["mean_norm"], done[3]["mean_norm"], "nothing moves without rewards");

    repair(&folder);
    succeed(folder.path(), &["tune", "--resume", "run", "--json"]);
    assert_eq!(records(&folder.path().join("run"))[..4], done);
}

#[test]
fn answers_are_kept_and_not_asked_for_again() {
    let folder = folder("true");
    succeed(folder.path(), &settings("run"));
    let requests = || fs::read_to_string(folder.path().join("requests")).expect("requests").lines().count();
    let asked = requests();
    let answers = fs::read_to_string(folder.path().join("run/answers.jsonl")).expect("answers are kept");
    // 48 while tuning, and 2 fresh seeds for base and tuned each.
    assert_eq!(answers.lines().count(), 52);
    // As if the last step and the comparison had not been reached.
    let metrics = folder.path().join("run/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let kept: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    fs::write(&metrics, kept).unwrap();
    fs::remove_file(folder.path().join("run/policy/step-000006.safetensors")).unwrap();
    succeed(folder.path(), &["tune", "--resume", "run", "--json"]);
    assert_eq!(requests(), asked, "an image was paid for twice");
}

/// A run whose scorer has a child that ticks for as long as it lives and reads nothing.
fn ticking(folder: &TempDir) -> Child {
    let script = format!("(trap '' HUP TERM INT; while :; do echo >> ticks; sleep 0.02; done) &\n{SCORER}");
    fs::write(folder.path().join("scorer.sh"), script.replace("TROUBLE", "sleep 60"))
        .expect("a written file");
    crate::with_default_signals(&mut Command::new(env!("CARGO_BIN_EXE_noisefind")))
        .current_dir(folder.path())
        .args(settings("run"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn ticks(folder: &TempDir) -> u64 {
    fs::metadata(folder.path().join("ticks")).map_or(0, |file| file.len())
}

fn assert_ticks_stopped(folder: &TempDir) {
    sleep(Duration::from_millis(300));
    let before = ticks(folder);
    sleep(Duration::from_millis(400));
    assert_eq!(ticks(folder), before, "a process outlived the program");
}

#[test]
fn nothing_outlives_the_program_however_it_ends() {
    for signals in [&["-KILL"][..], &["-INT", "-INT"], &["-TERM", "-TERM"]] {
        let folder = folder("");
        let mut child = ticking(&folder);
        let deadline = Instant::now() + Duration::from_secs(30);
        // The first request of the third step is the one that hangs.
        while fs::read_to_string(folder.path().join("requests")).map_or(0, |text| text.lines().count()) < 17 {
            assert!(Instant::now() < deadline, "the scorer was never asked");
            sleep(Duration::from_millis(10));
        }
        for signal in signals {
            Command::new("kill").args([signal, child.id().to_string().as_str()]).status().expect("kill runs");
            sleep(Duration::from_millis(200));
        }
        child.wait().expect("the program ends");
        assert_ticks_stopped(&folder);
        repair(&folder);
        succeed(folder.path(), &["tune", "--resume", "run"]);
        assert_ticks_stopped(&folder);
    }
}

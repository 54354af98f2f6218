//! `tune --prompts`: a list of prompts, stopped and started again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{json, names, outcome, succeed};

const LIST: &str = "# animals\na green dog\n\na green cat\na blocked bird\n";

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let fixed =
        ["tune", "--prompts", "list.txt", "--model", "fake", "--evaluations", "320", "--batch-size", "8"];
    [&fixed[..], &["--samples", "8", "--seed", "3"], more].concat()
}

fn in_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("list.txt"), LIST).expect("the folder can be written");
    folder
}

fn policies(runs: &Path) -> Vec<Vec<u8>> {
    let read = |name: &String| fs::read(runs.join(name).join("policy.safetensors")).expect("a policy");
    names(runs).iter().map(read).collect()
}

/// What the runs are, without what depends on the clock.
fn results(tuned: &Value) -> Vec<(Value, Value)> {
    let runs = tuned["runs"].as_array().expect("runs");
    runs.iter().map(|run| (run["prompt"].clone(), run["comparison"]["tuned"].clone())).collect()
}

#[test]
fn each_prompt_gets_a_run_and_the_table_shows_them_all() {
    let folder = in_folder();
    let (code, stdout, stderr) = outcome(folder.path(), &arguments(&[]));
    assert_eq!(code, Some(0), "{stderr}");
    let runs = folder.path().join("runs/list");
    assert_eq!(names(&runs), ["a-blocked-bird-3", "a-green-cat-3", "a-green-dog-3"]);
    let lines = stdout.lines().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>();
    assert_eq!(lines, ["prompt", "a green dog", "a green cat", "a blocked bird", "mean"]);
    assert!(stderr.contains("prompt 2 of 3 starts: a green cat"), "{stderr}");

    // Done again nothing is done again, and what is printed is the same.
    let before = fs::metadata(runs.join("a-green-dog-3/report.html")).unwrap().modified().unwrap();
    let (code, again, stderr) = outcome(folder.path(), &arguments(&[]));
    assert_eq!((code, &again), (Some(0), &stdout));
    assert!(stderr.contains("prompt 3 of 3 was finished before: a blocked bird"), "{stderr}");
    assert_eq!(fs::metadata(runs.join("a-green-dog-3/report.html")).unwrap().modified().unwrap(), before);

    // A prompt more is one run more.
    fs::write(folder.path().join("list.txt"), format!("a green fox\n{LIST}")).unwrap();
    let tuned = json(&succeed(folder.path(), &arguments(&["--json"])));
    assert_eq!(tuned["runs"].as_array().unwrap().len(), 4);
    assert!(tuned["mean"]["standardised_gain"].as_f64().unwrap() > 0.0);
    let inspected = json(&succeed(folder.path(), &["inspect", "runs/list/a-green-dog-3", "--json"]));
    assert_eq!(tuned["runs"][1]["stop_reason"], inspected["policy"]["stop_reason"]);
}

#[test]
fn killed_at_any_moment_the_list_ends_as_if_it_had_not_been() {
    let folder = in_folder();
    let whole = json(&succeed(folder.path(), &arguments(&["--json", "--out", "whole"])));
    let mut kills = 0;
    for moment in [150, 60, 220, 110, 320, 40] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_noisefind"))
            .current_dir(folder.path())
            .args(arguments(&["--out", "killed"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 1, "the list was over before it could be killed");
    let killed = json(&succeed(folder.path(), &arguments(&["--json", "--out", "killed"])));
    assert_eq!(results(&killed), results(&whole));
    assert!(policies(&folder.path().join("killed")) == policies(&folder.path().join("whole")));
}

#[cfg(unix)]
#[test]
fn a_prompt_without_rewards_does_not_hold_up_the_others() {
    let folder = in_folder();
    let reward = format!("exec:{}", crate::missing::judge(folder.path(), "null"));
    let arguments = arguments(&["--reward", &reward, "--json"]);
    let (code, stdout, stderr) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(1));
    assert_eq!(json(&stdout)["failed"].as_array().unwrap().len(), 3);
    insta::assert_snapshot!(stderr.lines().last().unwrap());
    fs::write(folder.path().join("mode"), "counting").unwrap();
    let tuned = json(&succeed(folder.path(), &arguments));
    assert_eq!((tuned["runs"].as_array().unwrap().len(), &tuned["failed"]), (3, &Value::Array(vec![])));
}

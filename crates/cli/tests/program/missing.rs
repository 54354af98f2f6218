//! Rewards that are missing: recorded with their reason, left out of the update, never a zero.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{json, metrics, outcome, small_run, succeed};

/// A scorer in shell that answers as the file `mode` in `folder` says at that moment, by the number of the sample; gives
/// its command.
pub fn judge(folder: &Path, mode: &str) -> String {
    fs::write(folder.join("mode"), mode).expect("the folder can be written");
    let script = r#"echo "$KEY $1" > called
read -r hello
echo '{"ready":true,"name":"shell"}'
sample=0
while read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  images=$(printf '%s' "$line" | grep -o '\.png"' | wc -l)
  rewards=''
  at=0
  while [ "$at" -lt "$images" ]; do
    case $(cat mode) in
      counting) reward=$((sample % 5)) ;;
      null) reward=null ;;
      some-nan) if [ $((sample % 2)) -eq 0 ]; then reward=NaN; else reward=$((sample % 16)); fi ;;
      one) if [ $((sample % 16)) -eq 0 ]; then reward=1; else reward=null; fi ;;
    esac
    sample=$((sample + 1))
    rewards="$rewards$reward"
    at=$((at + 1))
    if [ "$at" -lt "$images" ]; then rewards="$rewards,"; fi
  done
  printf '{"id":%s,"rewards":[%s]}\n' "$id" "$rewards"
done
"#;
    fs::write(folder.join("judge.sh"), script).expect("the folder can be written");
    "sh judge.sh".to_owned()
}

fn missing(record: &Value) -> (u64, &Value) {
    (record["missing"].as_u64().expect("a count"), &record["missing_reasons"])
}

#[test]
fn a_nan_is_left_out_and_recorded_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let reward = format!("exec:{}", judge(folder.path(), "some-nan"));
    let (code, _, stderr) = outcome(folder.path(), &small_run(&["--reward", &reward]));
    assert_eq!(code, Some(0), "{stderr}");
    for record in metrics(&folder.path().join("run")) {
        assert_eq!(missing(&record), (8, &json("[\"the external scorer gave none\"]")));
        assert_eq!((&record["rewards"][0], &record["rewards"][1]), (&Value::Null, &Value::from(1.0)));
        assert_eq!((&record["updated"], &record["reward_min"]), (&Value::from(true), &Value::from(1.0)));
    }
    assert!(stderr.contains("warning: 8 of 16 rewards are missing"), "{stderr}");
}

#[test]
fn what_a_held_out_scorer_does_not_say_is_recorded_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let watch = format!("exec:{}", judge(folder.path(), "some-nan"));
    let (code, _, stderr) = outcome(folder.path(), &small_run(&["--holdout", &watch]));
    assert_eq!(code, Some(0), "{stderr}");
    for record in metrics(&folder.path().join("run")) {
        let held_out = &record["held_out"][0];
        assert_eq!((&held_out["rewards"][0], &held_out["rewards"][1]), (&Value::Null, &Value::from(1.0)));
        assert_eq!(held_out["missing_reasons"], json("[\"the external scorer gave none\"]"));
        assert_eq!(record["missing_reasons"], json("[]"));
    }
    let warning = "8 of 16 rewards of the held-out scorer shell are missing: the external scorer gave none";
    assert!(stderr.contains(warning), "{stderr}");
}

#[test]
fn a_blocked_image_is_left_out_and_recorded_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["tune", "a blocked green dog", "--model", "fake", "--evaluations", "64", "--out", "run"];
    succeed(folder.path(), &arguments);
    let records = metrics(&folder.path().join("run"));
    // Later batches lie near images that had a reward, so that they may have nothing to block.
    let (blocked, _) = missing(&records[0]);
    assert!(blocked > 0 && blocked < 16, "{blocked} of 16 are missing");
    for record in &records {
        let (count, reasons) = missing(record);
        let expected = if count > 0 { json("[\"blocked: all pixels are black\"]") } else { json("[]") };
        assert_eq!(reasons, &expected);
        assert!(count < 16);
    }
    assert!(records.last().unwrap()["standardised_gain"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_batch_with_one_reward_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let reward = format!("exec:{}", judge(folder.path(), "one"));
    let (code, _, stderr) = outcome(folder.path(), &small_run(&["--reward", &reward]));
    for record in metrics(&folder.path().join("run")) {
        assert_eq!((&record["updated"], &record["kl_nats"]), (&Value::from(false), &Value::from(0.0)));
    }
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(stderr.lines().last().unwrap());
    assert!(!folder.path().join("run/policy.safetensors").exists());
}

#[test]
fn too_many_missing_in_a_row_end_the_run_which_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let reward = format!("exec:{}", judge(folder.path(), "null"));
    let arguments =
        ["tune", "a dog", "--model", "fake", "--samples", "4", "--reward", &reward, "--out", "run"];
    let (code, stdout, stderr) = outcome(folder.path(), &arguments);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(stderr.lines().last().unwrap());
    let run = folder.path().join("run");
    assert_eq!(metrics(&run).len(), 4);

    // The same again, while the scorer is not seen to.
    assert_eq!(outcome(folder.path(), &["tune", "--resume", "run"]).0, Some(1));
    fs::write(folder.path().join("mode"), "counting").unwrap();
    let tuned = json(&succeed(folder.path(), &["tune", "--resume", "run", "--json"]));
    assert_eq!(tuned["evaluations"], 160);
    let records = metrics(&run);
    assert_eq!((&records[7]["missing"], &records[9]["missing"]), (&Value::from(16), &Value::from(0)));
}

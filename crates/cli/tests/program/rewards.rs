//! Several rewards at once, and held-out scorers, which are never optimised.

use serde_json::Value;

use crate::{json, metrics, outcome, small_run, succeed};

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn spread(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

#[test]
fn several_rewards_count_by_their_weights_in_spreads_of_the_first_batch() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = small_run(&["--reward", "fake=2", "--reward", "fake-red=-0.5", "--json"]);
    let tuned = json(&succeed(folder.path(), &arguments));
    let records = metrics(&folder.path().join("run"));
    let parts = |record: &Value| [0, 1].map(|at| numbers(&record["parts"][at]["rewards"]));
    let base = parts(&records[0]);
    assert_eq!(records[0]["parts"][1]["scorer"], "fake-red");
    // Every step is measured with the mean and spread of the first.
    for record in &records {
        let [green, red] = parts(record);
        let expected = green.iter().zip(&red).map(|(green, red)| {
            2.0 * (green - mean(&base[0])) / spread(&base[0])
                - 0.5 * (red - mean(&base[1])) / spread(&base[1])
        });
        for (found, expected) in numbers(&record["rewards"]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    let compared = &tuned["comparison"];
    assert_eq!(compared["reward"], "fake=2 + fake-red=-0.5");
    assert!(compared["parts"][0]["standardised_gain_ci95"][0].as_f64().unwrap() > 0.0, "{compared}");
    assert!(compared["parts"][1]["standardised_gain"].as_f64().unwrap() < 0.0, "{compared}");
    // The standards are those of the run, not those of the comparison.
    assert_eq!(&json(&succeed(folder.path(), &["compare", "run", "--json"])), compared);
}

#[test]
fn raw_rewards_are_summed_in_their_own_units() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--reward", "fake", "--reward", "fake-red=-0.5", "--reward-scale", "raw"];
    succeed(folder.path(), &small_run(&more));
    for record in metrics(&folder.path().join("run")) {
        let [green, red] = [0, 1].map(|at| numbers(&record["parts"][at]["rewards"]));
        for (at, found) in numbers(&record["rewards"]).into_iter().enumerate() {
            assert_eq!(found, green[at] + -0.5 * red[at]);
        }
    }
}

#[test]
fn a_held_out_scorer_is_recorded_and_changes_nothing_while_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let policy = || std::fs::read(folder.path().join("run/policy.safetensors")).unwrap();
    succeed(folder.path(), &small_run(&[]));
    let alone = policy();
    let (code, stdout, stderr) = outcome(folder.path(), &small_run(&["--force", "--holdout", "fake-judge"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(policy() == alone);
    for part in ["held-out fake-judge", "fake-judge 0."] {
        assert!(stderr.contains(part), "{part} is missing:\n{stderr}");
    }
    assert!(stdout.contains("held out, gain +"), "{stdout}");
    let records = metrics(&folder.path().join("run"));
    assert_eq!(numbers(&records[1]["held_out"][0]["rewards"]).len(), 16);

    let other = ["compare", "run", "--json", "--holdout", "fake-red", "--holdout", "jpeg-size"];
    let compared = json(&succeed(folder.path(), &other));
    assert_eq!(compared["held_out"][0]["scorer"], "fake-red");
    for key in ["reward_mean", "reward_ci95", "rewards_missing"] {
        assert!(
            !compared["held_out"][1]["base"][key].is_null()
                && !compared["held_out"][1]["tuned"][key].is_null()
        );
    }
}

#[test]
fn a_held_out_scorer_that_falls_ends_the_run_with_the_policy_from_before_the_fall() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = |out| {
        [
            "tune",
            "a green dog",
            "--model",
            "fake",
            "--evaluations",
            "640",
            "--samples",
            "16",
            "--json",
            "--out",
            out,
        ]
    };
    let free = json(&succeed(folder.path(), &arguments("free")));
    let arguments = [&arguments("held_out")[..], &["--holdout", "fake-red"]].concat();
    let (code, stdout, stderr) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    let held_out = json(&stdout);
    assert_eq!(held_out["stop_reason"], "held-out-fell");
    assert!(held_out["evaluations"].as_u64() < free["evaluations"].as_u64());
    assert!(stderr.contains("warning: the held-out scorer fake-red fell"), "{stderr}");
    // Green rose less than without a held-out scorer, and red is what it was, as far as can be told.
    let gain = |tuned: &Value| tuned["comparison"]["standardised_gain"].as_f64().unwrap();
    assert!(gain(&held_out) < gain(&free));
    assert!(
        held_out["comparison"]["held_out"][0]["standardised_gain"].as_f64().unwrap() > -1.0,
        "{held_out}"
    );
    let resumed = json(&succeed(folder.path(), &["tune", "--resume", "held_out", "--json"]));
    assert_eq!(resumed, held_out);
}

#[cfg(unix)]
#[test]
fn a_command_may_hold_an_equals_sign_and_its_weight_stands_before_the_colon() {
    let folder = tempfile::tempdir().unwrap();
    let script = crate::missing::judge(folder.path(), "counting");
    let reward = format!("exec=2:KEY=value {script} --threshold=3");
    succeed(folder.path(), &small_run(&["--reward", &reward]));
    assert_eq!(std::fs::read_to_string(folder.path().join("called")).unwrap(), "value --threshold=3\n");
    let config = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains(&format!("reward = [{reward:?}]")), "{config}");
}

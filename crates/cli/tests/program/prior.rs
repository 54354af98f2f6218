//! `tune --prior`: a run that begins with what helped similar prompts.

use std::fs;
use std::path::Path;

use crate::{outcome, succeed};

fn tune(folder: &Path, prompt: &str, out: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let fixed = ["tune", prompt, "--model", "fake", "--samples", "4", "--evaluations", "96", "--out", out];
    outcome(folder, &[&fixed[..], more].concat())
}

fn header(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("prior ")).collect()
}

#[test]
fn runs_of_similar_prompts_of_the_same_model_are_the_prior() {
    let folder = tempfile::tempdir().unwrap();
    for (prompt, out) in [
        ("a green dog", "lists/animals/dog"),
        ("a green cat", "lists/cat"),
        ("two red houses", "lists/houses"),
    ] {
        assert_eq!(tune(folder.path(), prompt, out, &["--seed", "2"]).0, Some(0));
    }
    fs::write(folder.path().join("lists/notes.txt"), "no run").unwrap();
    let (code, _, stderr) = tune(folder.path(), "the green dog", "with", &["--prior", "lists"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(header(&stderr), ["prior    a green dog (0.50)"], "{stderr}");
    let config = fs::read_to_string(folder.path().join("with/config.toml")).unwrap();
    assert!(config.contains("prior = \"lists\""), "{config}");

    // The run that it begins with is one as well.
    let (code, _, stderr) = tune(folder.path(), "a green dog", "again", &["--prior", "lists/cat"]);
    assert_eq!((code, header(&stderr)), (Some(0), vec!["prior    a green cat (0.50)"]), "{stderr}");

    let (code, _, stderr) = tune(folder.path(), "seven owls", "without", &["--prior", "lists"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("no tuned run in lists has a similar prompt: the run begins without a prior"),
        "{stderr}"
    );
    let same = tune(folder.path(), "seven owls", "plain", &[]);
    assert_eq!(same.0, Some(0));
    let policy = |run: &str| fs::read(folder.path().join(run).join("policy.safetensors")).unwrap();
    assert_eq!(policy("without"), policy("plain"));
}

#[test]
fn a_run_with_a_prior_ends_the_same_when_it_was_stopped_and_the_earlier_runs_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tune(folder.path(), "a green dog", "earlier", &["--seed", "2"]).0, Some(0));
    assert_eq!(tune(folder.path(), "one green dog", "whole", &["--prior", "earlier"]).0, Some(0));
    assert_eq!(tune(folder.path(), "one green dog", "stopped", &["--prior", "earlier"]).0, Some(0));
    // As if it had been killed after its last step, before the result: everything comes from the saved state.
    let stopped = folder.path().join("stopped");
    let steps: Vec<_> =
        fs::read_dir(stopped.join("policy")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!steps.is_empty());
    for file in ["policy.safetensors", "comparison.json"] {
        fs::remove_file(stopped.join(file)).unwrap();
    }
    fs::remove_dir_all(folder.path().join("earlier")).unwrap();
    succeed(folder.path(), &["tune", "--resume", "stopped"]);
    let policy = |run: &str| fs::read(folder.path().join(run).join("policy.safetensors")).unwrap();
    assert_eq!(policy("stopped"), policy("whole"));
}

#[test]
fn a_prior_that_cannot_help_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(tune(folder.path(), "a green dog", "earlier", &[]).0, Some(0));
    let last = |more: &[&str]| {
        let (code, _, stderr) = tune(folder.path(), "a green dog", "run", more);
        assert_ne!(code, Some(0), "{stderr}");
        assert!(!folder.path().join("run").exists());
        stderr.lines().last().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(last(&["--prior", "absent"]));
    insta::assert_snapshot!(last(&["--prior", "empty"]));
    insta::assert_snapshot!(last(&["--prior", "earlier", "--num-inference-steps", "7"]));
    insta::assert_snapshot!(last(&["--prior", "earlier", "--method", "paper"]));
    fs::write(folder.path().join("earlier/policy.safetensors"), "no policy").unwrap();
    insta::assert_snapshot!(last(&["--prior", "earlier"]));
}

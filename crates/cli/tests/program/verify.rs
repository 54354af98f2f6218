//! `sample --verify`: which samples are generated again, how often, and what is said about it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{json, metrics, outcome, small_run, succeed};

fn sampled(folder: &Path, more: &[&str]) -> Value {
    json(&succeed(folder, &[&["sample", "run", "--json"], more].concat()))
}

fn rewards(sampled: &Value) -> Vec<f64> {
    let images = sampled["images"].as_array().expect("a list");
    images.iter().map(|image| image["reward"].as_f64().expect("a number")).collect()
}

fn seeds(sampled: &Value) -> Vec<u64> {
    let images = sampled["images"].as_array().expect("a list");
    images.iter().map(|image| image["seed"].as_u64().expect("a number")).collect()
}

#[test]
fn samples_below_a_threshold_are_generated_again_from_other_seeds() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let plain = sampled(folder.path(), &["-n", "24", "--verify=-9"]);
    assert_eq!((&plain["verified"]["reached"], &plain["verified"]["generations"]), (&24.into(), &24.into()));
    let mut first = rewards(&plain);
    first.sort_by(f64::total_cmp);
    let (refused, threshold) = (6, 0.5 * (first[5] + first[6]));
    let flag = format!("--verify={threshold}");
    let verified = sampled(folder.path(), &["-n", "24", &flag, "--out", "verified"]);
    let after = rewards(&verified);
    assert!(after.iter().all(|&reward| reward >= threshold), "{after:?}");
    assert_eq!(
        (&verified["verified"]["reached"], &verified["verified"]["samples"]),
        (&24.into(), &24.into())
    );
    let generations = verified["verified"]["generations"].as_u64().unwrap() as usize;
    assert!((24 + refused..24 + 8 * refused).contains(&generations), "{generations}");
    let tries = seeds(&verified).iter().map(|seed| seed / 1_000_000 + 1).sum::<u64>();
    assert_eq!(tries as usize, generations, "the seed tells how many tries a sample took");
    // Samples are listed as they are finished, and each can be generated again by its seed alone.
    let last = &verified["images"][23];
    let seed = last["seed"].as_u64().unwrap().to_string();
    assert!(seed.len() > 6, "the last one was generated again: {seed}");
    succeed(folder.path(), &["sample", "run", "-n", "1", "--seed", &seed, "--out", "again"]);
    let again = fs::read(folder.path().join(format!("again/seed-{seed}.png"))).unwrap();
    assert!(again == fs::read(folder.path().join(last["file"].as_str().unwrap())).unwrap());
}

#[test]
fn the_threshold_of_a_policy_is_at_least_the_lowest_tenth_of_its_newest_rewards() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let verified = sampled(folder.path(), &["--verify"]);
    let threshold = verified["verified"]["threshold"].as_f64().unwrap();
    let newest: Vec<f64> = metrics(&folder.path().join("run"))[2..]
        .iter()
        .flat_map(|line| line["rewards"].as_array().unwrap().iter().map(|reward| reward.as_f64().unwrap()))
        .collect();
    let below = newest.iter().filter(|&&reward| reward < threshold).count();
    assert!(newest.len() == 32 && (3..=16).contains(&below), "{below} of {}", newest.len());
    let reaching = rewards(&verified).iter().filter(|&&reward| reward >= threshold).count();
    assert_eq!(verified["verified"]["reached"], reaching);
}

#[test]
fn tries_are_bounded_and_the_best_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let never = sampled(folder.path(), &["-n", "3", "--verify=9", "--save-noise", "noise.safetensors"]);
    assert_eq!((&never["verified"]["reached"], &never["verified"]["generations"]), (&0.into(), &24.into()));
    assert_eq!(never["verified"]["generations_per_image"], 8.0);
    for (at, (best, seed)) in rewards(&never).into_iter().zip(seeds(&never)).enumerate() {
        let tries = (0..8).map(|k| {
            let seed = (at as u64 + k * 1_000_001).to_string();
            rewards(&sampled(folder.path(), &["-n", "1", "--seed", &seed, "--verify=-9"]))[0]
        });
        let tries: Vec<f64> = tries.collect();
        assert_eq!(best, tries.iter().copied().fold(f64::MIN, f64::max), "{tries:?}");
        assert_eq!(best, tries[(seed / 1_000_000) as usize]);
    }
    let (_, stdout, _) = outcome(folder.path(), &["sample", "run", "-n", "3", "--verify=9"]);
    let line = stdout.lines().last().unwrap();
    assert_eq!(
        line,
        "0 of 3 reach a reward of 9.0000, at 8.00 generations an image (24 in all); 3 are the best of 8 tries"
    );
    // The noises that were saved are those of the images.
    let by_noise = ["sample", "run", "--noise", "noise.safetensors", "--out", "by-noise"];
    let files = succeed(folder.path(), &by_noise);
    for (file, image) in files.lines().zip(never["images"].as_array().unwrap()) {
        let pixels = |path: &str| image::open(folder.path().join(path)).unwrap().into_rgb8().into_raw();
        assert!(pixels(file) == pixels(image["file"].as_str().unwrap()));
    }
}

#[test]
fn without_a_policy_the_threshold_is_given_and_the_scorer_is_that_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["sample", "--prompt", "a green dog", "--model", "fake", "-n", "8", "--json"];
    let verified = json(&succeed(folder.path(), &[&base[..], &["--verify=-0.02"]].concat()));
    assert!(rewards(&verified).iter().all(|&reward| reward >= -0.02));
    assert!(verified["verified"]["generations"].as_u64().unwrap() > 8, "{verified}");
    // An image of a safety filter has no reward, so it is generated again like one with a low reward.
    let blocked = json(&succeed(
        folder.path(),
        &["sample", "--prompt", "blocked", "--model", "fake", "-n", "8", "--json", "--verify=-9"],
    ));
    assert_eq!((rewards(&blocked).len(), &blocked["verified"]["reached"]), (8, &8.into()));
    assert!(blocked["verified"]["generations"].as_u64().unwrap() > 8, "{blocked}");
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let (code, _, stderr) = outcome(folder.path(), arguments);
        assert_eq!(code, Some(2), "{arguments:?}\n{stderr}");
        stderr
    };
    let base = ["sample", "--prompt", "a green dog", "--model", "fake"];
    insta::assert_snapshot!(refused(&[&base[..], &["--verify"]].concat()));
    insta::assert_snapshot!(refused(&[&base[..], &["--verify=NaN"]].concat()));
    succeed(folder.path(), &small_run(&["--reward", "fake-flat"]));
    insta::assert_snapshot!(refused(&["sample", "run", "--verify"]));
    succeed(folder.path(), &small_run(&["--reward", "fake=0.5", "--reward", "fake-red=-1", "--force"]));
    insta::assert_snapshot!(refused(&["sample", "run", "--verify"]));
    insta::assert_snapshot!(refused(&["sample", "run", "--verify=0.5"]));
    succeed(folder.path(), &["sample", "run", "-n", "2", "--save-noise", "noise.safetensors"]);
    insta::assert_snapshot!(refused(&["sample", "run", "--verify=0.5", "--noise", "noise.safetensors"]));
    insta::assert_snapshot!(refused(&["sample", "run", "--verify=0.5", "--noise-rng", "torch-batch"]));
}

//! Models that are programs: where the user names no reward, what the program recommends is optimised.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::{json, names, outcome, succeed};

/// Gives one of four images after the other, whatever the noise; REWARDS is what it recommends.
const GENERATOR: &str = r#"
echo >> starts
read -r hello
echo '{"ready":true,"noise_shape":[1,4,4],"default_rewards":REWARDS}'
while read -r line; do
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
    count=$(printf '%s' "$line" | grep -o '\[[0-9]*,[0-9]*,[0-9]*\]' | wc -l)
    media=''
    at=0
    while [ "$at" -lt "$count" ]; do
        media="$media,\"picture-$((at % 4)).png\""
        at=$((at + 1))
    done
    echo "{\"id\":$id,\"media\":[${media#,}]}"
done
"#;

/// A folder with the program and its images, which differ in their detail.
fn folder(rewards: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("generator.sh"), GENERATOR.replace("REWARDS", rewards))
        .expect("a written file");
    for number in 0..4u32 {
        let pixel = |x: u32, y: u32| image::Rgb([(x * y * (number + 1) * 37 % 256) as u8, 90, 40]);
        let path = folder.path().join(format!("picture-{number}.png"));
        image::RgbImage::from_fn(16, 16, pixel).save(path).expect("a written image");
    }
    folder
}

fn tune<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let always =
        "tune|a green dog|--model|exec:sh generator.sh|--evaluations|8|--batch-size|4|--samples|2|--out|run";
    always.split('|').chain(more.iter().copied()).collect()
}

fn starts(folder: &TempDir) -> usize {
    fs::read_to_string(folder.path().join("starts")).map_or(0, |text| text.lines().count())
}

fn config(run: &Path) -> String {
    fs::read_to_string(run.join("config.toml")).expect("a run")
}

#[test]
fn recommended_rewards_are_optimised_unless_the_user_names_others() {
    let folder = folder(r#"["jpeg-size","negative-jpeg-size=-0.5"]"#);
    succeed(folder.path(), &tune(&[]));
    assert_eq!(starts(&folder), 1, "a program that loads gigabytes is started once");
    let run = folder.path().join("run");
    assert!(
        config(&run).contains(r#"reward = ["jpeg-size", "negative-jpeg-size=-0.5"]"#),
        "{}",
        config(&run)
    );
    // The run is whole without the recommendation.
    succeed(folder.path(), &["compare", "run", "--json"]);

    succeed(folder.path(), &tune(&["--force", "--reward", "negative-jpeg-size"]));
    assert!(config(&run).contains(r#"reward = ["negative-jpeg-size"]"#), "{}", config(&run));
}

#[test]
fn a_list_of_prompts_asks_once_for_all() {
    let folder = folder(r#"["jpeg-size"]"#);
    fs::write(folder.path().join("list.txt"), "a dog\na cat\n").unwrap();
    let arguments =
        "tune|--prompts|list.txt|--model|exec:sh generator.sh|--evaluations|8|--samples|2|--out|runs";
    let arguments: Vec<&str> = arguments.split('|').collect();
    succeed(folder.path(), &arguments);
    assert_eq!(starts(&folder), 3, "once to ask, and once a prompt");
    for run in ["a-dog-0", "a-cat-0"] {
        assert!(config(&folder.path().join("runs").join(run)).contains(r#"reward = ["jpeg-size"]"#));
    }
    // Finished runs are recognised by the same config.
    succeed(folder.path(), &arguments);
    assert_eq!(starts(&folder), 4);
}

#[test]
fn score_uses_the_recommended_scorers() {
    let folder = folder(r#"["jpeg-size","negative-jpeg-size=0.5"]"#);
    let arguments = "score|picture-1.png|picture-2.png|--prompt|a dog|--model|exec:sh generator.sh";
    let stdout = succeed(folder.path(), &arguments.split('|').collect::<Vec<_>>());
    let scored: Vec<_> = stdout.lines().map(json).collect();
    let names: Vec<_> = scored.iter().map(|one| (one["file"].as_str(), one["scorer"].as_str())).collect();
    let expected = ["picture-1.png", "picture-2.png"]
        .into_iter()
        .flat_map(|file| ["jpeg-size", "negative-jpeg-size"].map(|scorer| (Some(file), Some(scorer))));
    assert_eq!(names, expected.collect::<Vec<_>>());
    assert_eq!(scored[0]["reward"].as_f64(), scored[1]["reward"].as_f64().map(|reward| -reward));
}

#[test]
fn what_cannot_be_used_is_named_with_who_recommends_it() {
    for (rewards, code, problem) in [
        (r#"["beauty"]"#, 2, "recommends the reward beauty, but there is no reward \"beauty\"; known are "),
        (r#"["jpeg-size=much"]"#, 2, "expected a number other than 0"),
        (
            r#"["clip-score"]"#,
            1,
            "recommends the reward clip-score, but reward `clip-score` needs a folder with ",
        ),
        ("[]", 2, "brings no scorer of its own; give --reward NAME"),
        ("7", 1, "told the default rewards 7 where a list of names was expected"),
    ] {
        let folder = folder(rewards);
        let (found, stdout, stderr) = outcome(folder.path(), &tune(&[]));
        assert_eq!(
            (found, stdout.as_str(), stderr.lines().count()),
            (Some(code), "", 1),
            "{rewards}: {stderr}"
        );
        assert!(stderr.contains(problem), "{rewards}: {stderr}");
        assert!(!names(folder.path()).contains(&"run".to_owned()), "{rewards}: a folder was left behind");
    }
    // Whoever names a reward is not bothered.
    let folder = folder(r#"["beauty"]"#);
    succeed(folder.path(), &tune(&["--reward", "jpeg-size"]));
}

#[test]
fn other_mistakes_are_told_before_the_program_is_started() {
    let folder = folder("[]");
    let (code, _, stderr) = outcome(folder.path(), &tune(&["--eta", "2"]));
    assert_eq!((code, starts(&folder)), (Some(2), 0), "{stderr}");
}

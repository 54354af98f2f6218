//! Every mistake gives one clear line with the culprit and the way out, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{names, outcome, small_run, succeed};

/// Runs `arguments` in an empty folder; gives the exit code and the message, after making sure that it is one
/// line and that nothing was written.
fn refused(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    refused_in(folder.path(), arguments)
}

fn refused_in(folder: &Path, arguments: &[&str]) -> String {
    let before = names(folder);
    let (code, stdout, stderr) = outcome(folder, arguments);
    assert_eq!(stdout, "");
    assert_eq!(names(folder), before, "something was left behind");
    assert_eq!(stderr.lines().count(), 1, "more than one line:\n{stderr}");
    format!("{} {stderr}", code.expect("an exit code"))
}

#[test]
fn empty_prompt() {
    insta::assert_snapshot!(refused(&["tune", " ", "--model", "fake"]));
}

#[test]
fn budget_of_zero() {
    insta::assert_snapshot!(refused(&["tune", "a dog", "--model", "fake", "--evaluations", "0"]));
}

#[test]
fn batch_larger_than_the_budget() {
    let arguments = ["tune", "a dog", "--model", "fake", "--evaluations", "10", "--batch-size", "20"];
    insta::assert_snapshot!(refused(&arguments));
}

#[test]
fn negative_guidance() {
    let arguments = ["tune", "a dog", "--model", "fake", "--guidance-scale", "-1"];
    insta::assert_snapshot!(refused(&arguments));
}

#[test]
fn unknown_reward() {
    let arguments = ["tune", "a dog", "--model", "fake", "--reward", "clip-scores"];
    insta::assert_snapshot!(refused(&arguments));
}

#[test]
fn weight_that_is_none() {
    let arguments = ["tune", "a dog", "--model", "fake", "--reward", "fake=much"];
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = outcome(folder.path(), &arguments);
    insta::assert_snapshot!(format!("{code:?} {}", stderr.lines().next().unwrap()));
}

#[test]
fn held_out_scorer_that_is_optimised() {
    insta::assert_snapshot!(refused(&["tune", "a dog", "--model", "fake", "--holdout", "fake"]));
}

#[test]
fn reward_without_spread() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["tune", "a dog", "--model", "fake", "--reward", "fake", "--reward", "fake-flat", "--out", "run"];
    let (code, _, stderr) = outcome(folder.path(), &arguments);
    insta::assert_snapshot!(format!("{code:?} {}", stderr.lines().last().unwrap()));
    // The samples that were scored are recorded, so they are not overwritten unless the user says so.
    let (_, _, again) = outcome(folder.path(), &arguments);
    assert!(again.contains("run already holds a run"), "{again}");
    succeed(folder.path(), &small_run(&["--reward", "fake", "--force"]));
}

#[test]
fn list_without_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("list.txt"), "# nothing yet\n\n").unwrap();
    let arguments = ["tune", "--prompts", "list.txt", "--model", "fake"];
    insta::assert_snapshot!(refused_in(folder.path(), &arguments));
}

#[test]
fn absent_list() {
    insta::assert_snapshot!(refused(&["tune", "--prompts", "list.txt", "--model", "fake"]));
}

#[test]
fn absent_model_folder() {
    insta::assert_snapshot!(refused(&["tune", "a dog", "--model", "no/such/folder"]));
}

#[test]
fn unknown_key_in_a_config_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "prompt = \"a dog\"\ngidance_scale = 4.0\n").unwrap();
    insta::assert_snapshot!(refused_in(folder.path(), &["tune", "--config", "mine.toml"]));
}

#[test]
fn unwritable_output_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let arguments = ["tune", "a dog", "--model", "fake", "--out", "file/run"];
    insta::assert_snapshot!(refused_in(folder.path(), &arguments));
}

#[test]
fn output_folder_that_holds_a_run() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let policy = fs::read(folder.path().join("run/policy.safetensors")).unwrap();
    insta::assert_snapshot!(refused_in(folder.path(), &small_run(&["--seed", "1"])));
    assert!(policy == fs::read(folder.path().join("run/policy.safetensors")).unwrap());
}

#[test]
fn output_folder_that_holds_other_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "").unwrap();
    let arguments = ["tune", "a dog", "--model", "fake", "--out", ".", "--force"];
    insta::assert_snapshot!(refused_in(folder.path(), &arguments));
}

#[test]
fn resume_of_what_is_no_run() {
    insta::assert_snapshot!(refused(&["tune", "--resume", "runs/none"]));
}

#[test]
fn resume_with_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let arguments = ["tune", "--resume", "run", "--evaluations", "100"];
    insta::assert_snapshot!(refused_in(folder.path(), &arguments));
}

#[test]
fn policy_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.safetensors"), "I am a text file.").unwrap();
    insta::assert_snapshot!(refused_in(folder.path(), &["sample", "text.safetensors"]));
    insta::assert_snapshot!(refused_in(folder.path(), &["sample", "absent.safetensors"]));
}

#[test]
fn policy_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let policy = fs::read(folder.path().join("run/policy.safetensors")).unwrap();
    fs::write(folder.path().join("cut.safetensors"), &policy[..policy.len() / 2]).unwrap();
    insta::assert_snapshot!(without_details(&refused_in(folder.path(), &["sample", "cut.safetensors"])));
}

#[test]
fn image_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.png"), "I am a text file.").unwrap();
    let arguments = ["score", "text.png", "--prompt", "a dog", "--model", "fake"];
    let (code, stdout, stderr) = outcome(folder.path(), &arguments);
    assert!(stdout.contains(r#""reward":null"#), "{stdout}");
    insta::assert_snapshot!(format!("{} {stderr}", code.unwrap()));
}

/// A truncated JPEG between good files has no score and says why; the others have theirs.
#[test]
fn one_bad_file_does_not_drop_its_batch() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/images/files");
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(files.join("jpeg-420.jpg")).unwrap();
    fs::write(folder.path().join("whole.jpg"), &whole).unwrap();
    fs::write(folder.path().join("half.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::copy(files.join("gif.gif"), folder.path().join("also.gif")).unwrap();
    let arguments = ["score", "whole.jpg", "half.jpg", "also.gif", "--prompt", "a dog", "--model", "fake"];
    let (code, stdout, stderr) = outcome(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{stderr}");
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reason = "half.jpg: the JPEG file is cut off: it ends before the image does";
    let found: Vec<_> =
        lines.iter().map(|line| (line["reward"].is_number(), line["reason"].as_str())).collect();
    assert_eq!(found, [(true, None), (false, Some(reason)), (true, None)]);
    let expected = format!("1 of 3 files could not be read and have no score; the first: {reason}");
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn compare_of_a_run_without_policy() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    fs::remove_file(folder.path().join("run/policy.safetensors")).unwrap();
    insta::assert_snapshot!(refused_in(folder.path(), &["compare", "run"]));
}

/// A limit on the size of files stands for a disk without room: the same calls fail in the same places.
#[cfg(unix)]
#[test]
fn disk_without_room() {
    let folder = tempfile::tempdir().unwrap();
    let limited = |blocks: u32, arguments: &str| {
        let program = env!("CARGO_BIN_EXE_noisefind");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} {arguments}");
        let output = Command::new("bash").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr.lines().last().unwrap_or_default().to_owned())
    };
    // No room even for the first file: the folder that was made for the run is gone again.
    let (code, message) = limited(0, "tune 'a green dog' --model fake --out run");
    insta::assert_snapshot!(format!("{code:?} {message}"));
    assert_eq!(names(folder.path()), [""; 0]);

    // Room for the first files, none for the state after a step that learnt: what is there can be gone on with.
    let (code, message) =
        limited(8, "tune 'a green dog' --model fake --evaluations 64 --batch-size 4 --samples 16 --out run");
    insta::assert_snapshot!(format!("{code:?} {message}"));
    assert_eq!(
        names(&folder.path().join("run")),
        [
            "best-noises.safetensors",
            "config.toml",
            "environment.json",
            "images",
            "metrics.jsonl",
            "policy",
            "rewards.jsonl",
            "samples",
            "tensorboard"
        ]
    );
    assert_eq!(names(&folder.path().join("run/policy")), ["step-000001.safetensors"]);
    succeed(folder.path(), &["tune", "--resume", "run"]);
}

/// The default model with one file changed by `damage`; `None` removes the file. The other files are links.
#[cfg(unix)]
fn damaged_model(folder: &Path, file: &str, damage: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/emoji-64")
        .canonicalize()
        .expect("the model can be copied");
    let model = folder.join("model");
    for entry in fs::read_dir(&whole).expect("the model can be copied") {
        let part = entry.expect("the model can be copied").path();
        let copy = model.join(part.file_name().expect("the model can be copied"));
        if part.is_dir() {
            fs::create_dir_all(&copy).expect("the model can be copied");
            for entry in fs::read_dir(part).expect("the model can be copied") {
                let path = entry.expect("the model can be copied").path();
                std::os::unix::fs::symlink(
                    &path,
                    copy.join(path.file_name().expect("the model can be copied")),
                )
                .expect("the model can be copied");
            }
        } else {
            fs::create_dir_all(&model).expect("the model can be copied");
            std::os::unix::fs::symlink(&part, copy).expect("the model can be copied");
        }
    }
    let damaged = damage(fs::read(whole.join(file)).expect("the model can be copied"));
    fs::remove_file(model.join(file)).expect("the model can be copied");
    if let Some(bytes) = damaged {
        fs::write(model.join(file), bytes).expect("the model can be copied");
    }
    refused_in(folder, &["tune", "a dog", "--model", "model", "--out", "run"])
}

/// Sizes and names of tensors change whenever the default model or what stands beside the tensors does.
fn without_details(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let number = word.trim_end_matches([';', ',']).parse::<u64>().is_ok_and(|number| number > 9);
        if number || word.matches('.').count() > 2 { "..." } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(unix)]
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[cfg(unix)]
#[test]
fn half_a_model() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(damaged_model(folder.path(), UNET, |_| None));
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(damaged_model(folder.path(), "model_index.json", |_| None));
}

#[cfg(unix)]
#[test]
fn text_file_named_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let text = |_| Some(b"I am a text file, nothing else.".to_vec());
    insta::assert_snapshot!(damaged_model(folder.path(), UNET, text));
}

#[cfg(unix)]
#[test]
fn truncated_weights() {
    let folder = tempfile::tempdir().unwrap();
    let cut = |bytes: Vec<u8>| Some(bytes[..1_000_000].to_vec());
    let message = damaged_model(folder.path(), UNET, cut);
    insta::assert_snapshot!(without_details(&message));
}

#[cfg(unix)]
#[test]
fn nan_weight() {
    let folder = tempfile::tempdir().unwrap();
    let poison = |mut bytes: Vec<u8>| {
        // The last two bytes are the last f16 of the last tensor.
        let at = bytes.len() - 2;
        bytes[at..].copy_from_slice(&0x7e00_u16.to_le_bytes());
        Some(bytes)
    };
    insta::assert_snapshot!(without_details(&damaged_model(folder.path(), UNET, poison)));
}

#[test]
fn part_of_the_other_method() {
    for arguments in [["--no-reuse", "--method=find"], ["--without=landscape", "--method=paper"]] {
        let message = refused(&[&["tune", "a dog", "--model", "fake"][..], &arguments].concat());
        assert!(message.starts_with("2 ") && message.contains("and the method is"), "{message}");
    }
}

//! The whole program with the fake model: every command, every message, every way to be stopped.

mod bad_input;
mod clips;
mod diffusers;
mod dtypes;
mod earlier_versions;
#[cfg(unix)]
mod external;
mod files;
#[cfg(unix)]
mod generators;
mod help;
#[path = "../../../diffusion/tests/common/hub.rs"]
mod hub;
mod kill;
#[cfg(unix)]
mod missing;
mod prior;
mod prompts;
mod public_models;
mod results;
mod rewards;
mod surprises;
mod verify;

use std::path::Path;

use assert_cmd::Command;

/// The program, to be run in `folder`, so that nothing is ever written elsewhere.
fn noisefind(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noisefind"));
    command
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join(".cache"))
        .env("COLUMNS", "100")
        .args(arguments);
    command
}

/// Lets signals reach `command` even where the tests were started with them ignored, as jobs in the background are.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library cannot set how a child handles signals")]
fn with_default_signals(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    let reset = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: signal may be called between fork and exec, and the default action is no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls that may be made between fork and exec.
    unsafe { command.pre_exec(reset) }
}

/// Exit code, stdout and stderr of one run in `folder`, whose name is replaced by `DIR`.
fn outcome(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = noisefind(folder, arguments).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder.display().to_string(), "DIR");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs the program and gives its stdout; anything but success is a failed test.
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = outcome(folder, arguments);
    assert_eq!(code, Some(0), "{arguments:?}\n{stderr}");
    stdout
}

/// Arguments of a small run of the fake model into `run`.
fn small_run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "tune",
        "a green dog",
        "--model",
        "fake",
        "--evaluations",
        "64",
        "--samples",
        "16",
        "--out",
        "run",
    ];
    arguments.extend(more);
    arguments
}

/// The records of a run's steps.
fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics are there");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// One JSON object.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON object")
}

/// The names in a folder, sorted, without hidden ones.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// Copies a folder with all that it holds over `to`.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it is writable");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("it is writable");
        }
    }
}

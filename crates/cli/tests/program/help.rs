//! Help as users read it.

use crate::{outcome, succeed};

#[test]
fn help_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["", "tune", "sample", "score", "compare", "inspect", "doctor", "completions", "man"] {
        let arguments = if command.is_empty() { vec!["--help"] } else { vec![command, "--help"] };
        let (code, stdout, _) = outcome(folder.path(), &arguments);
        assert_eq!(code, Some(0));
        let name = if command.is_empty() { "noisefind" } else { command };
        insta::assert_snapshot!(format!("help_{name}"), stdout);
    }
}

#[test]
fn completions_and_man_pages_know_every_command_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = succeed(folder.path(), &["completions", shell]);
        assert!(script.contains("negative-prompt") && script.contains("doctor"), "{shell}");
    }
    let pages = succeed(folder.path(), &["man", "--out", "man1"]);
    assert!(pages.lines().any(|page| page == "man1/noisefind-tune.1"), "{pages}");
    let page = std::fs::read_to_string(folder.path().join("man1/noisefind-tune.1")).unwrap();
    assert!(page.contains("negative\\-prompt") && page.contains(".TH noisefind-tune 1"), "{page}");
}

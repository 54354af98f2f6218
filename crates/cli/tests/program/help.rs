//! Help as users read it.

use crate::outcome;

#[test]
fn help_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["", "tune", "sample", "score", "compare", "inspect", "doctor"] {
        let arguments = if command.is_empty() { vec!["--help"] } else { vec![command, "--help"] };
        let (code, stdout, _) = outcome(folder.path(), &arguments);
        assert_eq!(code, Some(0));
        let name = if command.is_empty() { "noisefind" } else { command };
        insta::assert_snapshot!(format!("help_{name}"), stdout);
    }
}

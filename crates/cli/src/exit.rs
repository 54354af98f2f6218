//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A broken pipe is success.

use std::io::ErrorKind;

use noisefind::rundir;

use crate::output::say;

/// How a command ended that did not fail.
pub enum Outcome {
    /// All is done.
    Done,
    /// The user pressed Ctrl-C; the text says how to go on.
    Interrupted(String),
}

/// Tells the user what went wrong, on one line, and gives the code to exit with.
pub fn code(outcome: anyhow::Result<Outcome>) -> u8 {
    match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Interrupted(how_to_go_on)) => {
            say(&how_to_go_on);
            130
        }
        Err(error) if is_broken_pipe(&error) => 0,
        Err(error) => {
            let way_out = way_out(&error).map(|hint| format!("; {hint}")).unwrap_or_default();
            say(&format!("error: {error}{way_out}"));
            if facade_error(&error).is_some_and(noisefind::Error::is_usage) { 2 } else { 1 }
        }
    }
}

fn facade_error(error: &anyhow::Error) -> Option<&noisefind::Error> {
    error.downcast_ref::<noisefind::Error>()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// What the user can do about it, where the library cannot know because it does not know our flags.
fn way_out(error: &anyhow::Error) -> Option<String> {
    let error = facade_error(error)?;
    match error {
        noisefind::Error::Run(run) => match run {
            rundir::Error::HoldsRun(path) => Some(format!(
                "go on with `noisefind tune --resume {}`, or choose another --out",
                path.display()
            )),
            rundir::Error::Foreign { .. } => Some("choose an empty or new folder with --out".to_owned()),
            rundir::Error::NotARun { .. } => Some("give the folder that `noisefind tune` printed".to_owned()),
            rundir::Error::Locked(_) => Some("wait for it, or choose another --out".to_owned()),
            rundir::Error::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Some(
                    "make room and try again (a run that began goes on with --resume), or choose another --out"
                        .to_owned(),
                ),
                ErrorKind::NotADirectory | ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    Some("choose another folder with --out".to_owned())
                }
                _ => None,
            },
            _ => None,
        },
        error if error.is_absent_model() => Some(format!(
            "give --model the folder of a complete diffusers model, an id on the hub, or a built-in model ({})",
            noisefind::BUILT_IN_MODELS.join(", ")
        )),
        _ => None,
    }
}

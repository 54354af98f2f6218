//! The command line: parse the arguments, run one command, turn its outcome into an exit code. The binary and the Python
//! package start it.

mod args;
mod commands;
mod exit;
mod interrupt;
mod method;
mod output;
mod progress;
mod table;

use std::ffi::OsString;

use clap::Parser;

use args::{Arguments, Command};

/// Runs the command line `arguments`, of which the first is the program's name; the code to exit with.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => exit::code(run_command(arguments)),
        Err(usage) => {
            // A closed standard output is no failure of help.
            let _ = usage.print();
            usage.exit_code().try_into().unwrap_or(2)
        }
    }
}

fn run_command(arguments: Arguments) -> anyhow::Result<exit::Outcome> {
    if let Some(threads) = arguments.threads {
        noisefind::machine::use_threads(threads.into())?;
    }
    progress::show(arguments.progress);
    match arguments.command {
        Command::Tune(flags) => commands::tune::run(*flags),
        Command::Sample(flags) => commands::sample::run(*flags),
        Command::Score(flags) => commands::score::run(flags),
        Command::Compare(flags) => commands::compare::run(*flags),
        Command::Inspect(flags) => commands::inspect::run(flags),
        Command::Doctor(flags) => commands::doctor::run(flags),
        #[cfg(feature = "serve")]
        Command::Serve(flags) => commands::serve::run(flags),
        Command::Completions(flags) => commands::manual::completions(flags),
        Command::Man(flags) => commands::manual::man(flags),
    }
}

//! `noisefind`: parse the arguments, run one command, turn its outcome into an exit code.

mod args;
mod commands;
mod exit;
mod interrupt;
mod method;
mod output;
mod progress;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    exit::code(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<exit::Outcome> {
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
    }
}

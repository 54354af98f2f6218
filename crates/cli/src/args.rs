//! The command line as types: the commands and what all of them take.

use clap::{Parser, Subcommand};

use crate::commands::{compare, doctor, inspect, manual, sample, score, tune};
use crate::progress::Shown;

/// Make a frozen diffusion model generate what the prompt says, by learning the distribution of its initial noise.
#[derive(Parser)]
#[command(name = "noisefind", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Threads that compute, at most one for each core this program may use; no result depends on it [default: all of them]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Progress on stderr: auto (a bar, with images where the terminal shows them), bar, lines, or json for programs [default: auto]
    #[arg(long, value_name = "HOW", global = true, value_enum, default_value = "auto")]
    #[arg(hide = true)]
    pub progress: Shown,
}

#[derive(Subcommand)]
pub enum Command {
    Tune(Box<tune::Flags>),
    Sample(Box<sample::Flags>),
    Score(score::Flags),
    Compare(Box<compare::Flags>),
    Inspect(inspect::Flags),
    Doctor(doctor::Flags),
    #[cfg(feature = "serve")]
    Serve(crate::commands::serve::Flags),
    Completions(manual::CompletionFlags),
    Man(manual::ManFlags),
}

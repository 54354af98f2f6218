//! Compares the methods of noisefind with other methods and with best-of-n, on many prompts.
//!
//! `choose` picks the prompts, `run` measures every (prompt, method, seed) and `report` writes the results page from
//! what was recorded. Each of them goes on where it was stopped.

mod baselines;
mod candidates;
mod cell;
mod choose;
mod cost;
mod learn;
mod methods;
mod prompts;
mod records;
mod report;
mod run;
mod stages;
mod workbench;

use std::io::Write;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measure noise-tuning methods and baselines.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Choose(Box<choose::ChooseArgs>),
    Run(Box<run::RunArgs>),
    Cost(cost::CostArgs),
    Stages(stages::StagesArgs),
    Report(report::ReportArgs),
    Table(report::TableArgs),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Choose(args) => choose::choose(&args),
        Command::Run(args) => run::run(&args),
        Command::Cost(args) => cost::cost(&args),
        Command::Stages(args) => stages::stages(&args),
        Command::Report(args) => report::report(&args),
        Command::Table(args) => report::table(&args),
    }
}

/// One line about the progress. Nobody can be told that it did not arrive.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

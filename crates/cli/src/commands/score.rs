//! `noisefind score`: score pictures that are there already.

use std::path::PathBuf;

use clap::Args;
use noisefind::config::TuneOptions;
use noisefind::score::score;

use crate::args::ModelFlags;
use crate::exit::Outcome;
use crate::output::print_json;

/// Score pictures against a prompt; prints one JSON object a file
#[derive(Args)]
pub struct Flags {
    /// Pictures, PNG or JPEG
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the pictures should show
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Scorer, by name, with the folder of its weights, or a program [default: the model's own]
    #[arg(long, value_name = "NAME|NAME:DIR|exec:COMMAND")]
    reward: Option<String>,
    #[command(flatten)]
    model: ModelFlags,
}

/// Runs the command.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let options = TuneOptions { prompt: Some(flags.prompt), ..flags.model.options() };
    score::<anyhow::Error>(&flags.files, &options, flags.reward.as_deref(), |scored| print_json(&scored))?;
    Ok(Outcome::Done)
}

//! `noisefind doctor`: what is ready on this machine.

use std::time::Duration;

use clap::Args;
use noisefind::doctor::doctor;

use crate::args::ModelFlags;
use crate::exit::Outcome;
use crate::output::{outline, print, print_json};

/// Show devices, instruction sets, memory, which models and scorers are ready, and how fast the model draws
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs the command; the speed figure takes at most about ten seconds.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let diagnosis = doctor(&flags.model.options(), Duration::from_secs(10))?;
    if flags.json {
        print_json(&diagnosis)?;
    } else {
        print(&outline(&serde_json::to_value(&diagnosis)?))?;
    }
    Ok(Outcome::Done)
}

//! `noisefind compare`: base against tuned on fresh seeds.

use std::path::PathBuf;

use clap::Args;
use noisefind::baselines::Baseline;
use noisefind::compare::{CompareRequest, compare};
use noisefind::config::GenerationConfig;

use crate::exit::Outcome;
use crate::interrupt;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::table;

/// Compare the tuned policy of a run with the model as it is, on fresh seeds
///
/// Best-of-n at equal cost: the samples that tuning and sampling took, divided by the images wanted, are
/// n = 1 + evaluations / samples (rounded down) base samples for each, of which the best counts. Model and settings are those
/// of the run, unless a flag gives another value.
#[derive(Args)]
pub struct Flags {
    /// Run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Fresh samples, for base and tuned each [default: as when the run ended]
    #[arg(long, value_name = "N")]
    samples: Option<u32>,
    /// Seed of the first fresh sample [default: as when the run ended]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Judge that decides about success, never optimised [default: the model's own]
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    /// Held-out scorer to report beside the reward; repeatable [default: those of the run]
    #[arg(long, value_name = "NAME[:DIR]|exec:COMMAND", alias = "watch")]
    holdout: Option<Vec<String>>,
    /// Baseline to compare with: best-of-N, or random-search around the best noise with as many evaluations as the
    /// run; repeatable
    #[arg(long, alias = "against", value_name = "best-of-N|random-search")]
    baseline: Vec<Baseline>,
    #[command(flatten)]
    generation: GenerationConfig,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    interrupt::listen();
    let request = CompareRequest {
        samples: flags.samples,
        seed: flags.seed,
        judge: flags.judge,
        holdout: flags.holdout,
        generation: flags.generation,
        baselines: flags.baseline,
    };
    let mut progress = Progress::new();
    let compared = compare(&flags.run, &request, &mut progress)?;
    progress.finish();
    let Some(compared) = compared else {
        return Ok(Outcome::Interrupted("interrupted; nothing was changed".to_owned()));
    };
    if flags.json {
        print_json(&compared)?
    } else {
        print(&table::comparison(&compared))?
    }
    Ok(Outcome::Done)
}

//! `noisefind doctor`: what is ready on this machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use noisefind::config::LoadingConfig;
use noisefind::doctor::{Diagnosis, Examination, doctor};

use crate::exit::Outcome;
use crate::output::{outline, print, print_json};

/// Show devices, instruction sets, memory, which models and scorers are ready, and how fast the model generates
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    loading: LoadingConfig,
    /// Scorer to open, with the folder or the hub id of its weights, or a program; may be given several times
    #[arg(long = "reward", value_name = "NAME|NAME:DIR|NAME:HUB_ID|exec:COMMAND")]
    rewards: Vec<String>,
    /// Images that each --reward has to score as expected: within 0.01 of what self-test.json in the folder says
    /// ({"prompt": "...", "rewards": {"1.png": 0.58, ...}}), or without that file, for image-reward, of what its authors
    /// published for images 1 to 4 in assets/images of their repository
    #[arg(long, alias = "pictures", value_name = "DIR", requires = "rewards")]
    images: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs the command; the speed figure takes at most about ten seconds.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let asked_for = flags.rewards.clone();
    let diagnosis = doctor(&Examination {
        options: flags.loading.into(),
        rewards: flags.rewards,
        images: flags.images,
        generating: Duration::from_secs(10),
    })?;
    if flags.json {
        print_json(&diagnosis)?;
    } else {
        print(&outline(&serde_json::to_value(&diagnosis)?))?;
    }
    let complaints = complaints(&diagnosis, &asked_for);
    if complaints.is_empty() { Ok(Outcome::Done) } else { bail!(complaints.join("; ")) }
}

/// What is wrong with the scorers that the user asked for.
fn complaints(diagnosis: &Diagnosis, asked_for: &[String]) -> Vec<String> {
    let not_ready =
        diagnosis.scorers.iter().filter(|scorer| !scorer.ready && asked_for.contains(&scorer.name));
    let failed = diagnosis.self_tests.iter().filter(|test| !test.passed);
    let not_ready = not_ready.map(|scorer| format!("{} is not ready", scorer.name));
    let failed = failed.map(|test| match test.largest_difference {
        Some(difference) => format!("{} differs by up to {difference:.4} from what is known", test.scorer),
        None => format!("{} gives no reward for an image whose reward is known", test.scorer),
    });
    not_ready.chain(failed).collect()
}

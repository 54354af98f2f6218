//! `noisefind inspect`: what is inside a run, a policy or a model.

use clap::Args;
use noisefind::inspect::{Inspected, inspect};

use crate::exit::Outcome;
use crate::output::{outline, print, print_json};

/// Show what is inside a run folder, a policy file or a model, verified
#[derive(Args)]
pub struct Flags {
    /// Run folder, policy.safetensors, model folder, checkpoint file or model name
    #[arg(value_name = "RUN|POLICY|MODEL")]
    what: String,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs the command; a thing with problems is shown, and then the command fails.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let inspected = inspect(&flags.what)?;
    if flags.json {
        print_json(&inspected)?;
    } else {
        print(&outline(&serde_json::to_value(&inspected)?))?;
    }
    let problems = match &inspected {
        Inspected::Run(run) => &run.problems,
        Inspected::Policy(policy) => &policy.problems,
        Inspected::Model(model) => &model.problems,
    };
    anyhow::ensure!(problems.is_empty(), "{} has problems: {}", flags.what, problems.join("; "));
    Ok(Outcome::Done)
}

//! Tunes the default model for one prompt, then samples from the policy.
//!
//! Run: cargo run --release -p noisefind --example tune_and_sample

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;

use noisefind::config::TuneOptions;
use noisefind::rundir::IfOccupied;
use noisefind::sample::{SampleRequest, sample};
use noisefind::tune::{TuneRequest, tune};

fn main() -> noisefind::Result<()> {
    let options = TuneOptions {
        prompt: Some("a green dog".to_owned()),
        evaluations: Some(48),
        samples: Some(8),
        ..TuneOptions::default()
    };
    let out = Some(PathBuf::from("runs/example"));
    let request = TuneRequest::New { options: Box::new(options), out, if_occupied: IfOccupied::Replace };
    let tuned = tune(&request, &mut ())?;
    println!("{} evaluations in {:.0} s", tuned.evaluations, tuned.elapsed_seconds);

    let sampled = sample(
        &SampleRequest {
            policy: tuned.policy,
            options: TuneOptions::default(),
            count: 4,
            seed: 1,
            noise: None,
            save_noise: None,
            save_latents: None,
            verify: None,
            out: None,
            grid: None,
        },
        &mut (),
    )?;
    for image in &sampled.images {
        println!("{}", image.file.display());
    }
    Ok(())
}

//! Tunes a policy with ask and tell: any program that turns a noise into a number can be optimised.
//!
//! Run: cargo run --release -p noisefind-core --example ask_and_tell

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use noisefind_core::evaluation::Evaluation;
use noisefind_core::method::{Find, FindConfig, Start};
use noisefind_core::noise::{Noise, NoiseShape};
use noisefind_core::ports::Reward;
use noisefind_core::run::{Run, RunConfig};

/// Stands for "generate an image from this noise and score it": higher where the noise resembles a fixed pattern.
fn evaluate(noise: &Noise) -> Reward {
    let pattern = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
    let sum: f64 = noise.values().iter().enumerate().map(|(at, &value)| f64::from(value) * pattern(at)).sum();
    Reward::from_number("sum", sum / (noise.values().len() as f64).sqrt())
}

fn main() -> noisefind_core::Result<()> {
    let shape = NoiseShape::image(4, 8, 8);
    let config = RunConfig { seed: 7, evaluations: 160, ..RunConfig::default() };
    let find = Find::new(FindConfig::default(), &Start::new(shape, config.seed));
    let mut run = Run::new(config, Box::new(find))?;
    while run.stop_reason().is_none() {
        let noises = run.ask();
        let evaluations = noises.into_iter().map(|noise| Evaluation { reward: evaluate(&noise), noise });
        let record = run.tell(evaluations.collect())?;
        println!(
            "{:4} evaluations: mean reward {:.2}, standardised gain {:.2}",
            record.evaluations,
            record.reward_mean.unwrap_or(f64::NAN),
            record.standardised_gain.unwrap_or(f64::NAN)
        );
    }
    let policy = run.best_policy();
    println!("the policy has {} components and {:.0} nats", policy.components().len(), policy.kl_nats());
    Ok(())
}

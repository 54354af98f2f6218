//! What a method itself costs: time and memory of asking and telling, without a model.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use noisefind::core::config::{FindConfig, FindPart, MethodConfig, RunConfig};
use noisefind::core::evaluation::Evaluation;
use noisefind::core::method::Start;
use noisefind::core::noise::{Noise, NoiseShape};
use noisefind::core::ports::Reward;
use noisefind::core::run::Run;
use serde::{Deserialize, Serialize};

use crate::say;

/// The noises of emoji-64, of Stable Diffusion at 512 x 512, and of a video model at 480p with 81 frames.
const SHAPES: [(&str, NoiseShape); 3] = [
    ("emoji-64", NoiseShape::image(4, 16, 16)),
    ("Stable Diffusion 1.5, 512 x 512", NoiseShape::image(4, 64, 64)),
    ("Wan 2.1, 832 x 480, 81 frames", NoiseShape { channels: 16, frames: Some(21), height: 60, width: 104 }),
];
const EVALUATIONS: [usize; 2] = [160, 2000];

/// Measure milliseconds an evaluation and peak memory of `find` itself, each case in a process of its own
#[derive(Args)]
pub struct CostArgs {
    /// Write the measurements as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure one case in this process: the shape's place in the list, and evaluations
    #[arg(long, num_args = 2, value_names = ["SHAPE", "EVALUATIONS"], hide = true)]
    case: Option<Vec<usize>>,
}

/// One measured case.
#[derive(Serialize, Deserialize)]
struct Cost {
    noise: String,
    dimensions: usize,
    evaluations: usize,
    /// Milliseconds of asking and telling, an evaluation.
    milliseconds: f64,
    /// Peak resident memory of the process in MiB; absent where the system does not tell.
    peak_mib: Option<f64>,
}

/// Runs the subcommand.
pub fn cost(args: &CostArgs) -> Result<()> {
    if let Some(case) = &args.case {
        let (name, shape) = SHAPES.get(case[0]).context("there is no such shape")?;
        let cost = measure(name, *shape, case[1])?;
        serde_json::to_writer(std::io::stdout(), &cost)?;
        return Ok(());
    }
    let mut all = Vec::new();
    for at in 0..SHAPES.len() {
        for evaluations in EVALUATIONS {
            let case = [at.to_string(), evaluations.to_string()];
            let output =
                Command::new(std::env::current_exe()?).args(["cost", "--case"]).args(case).output()?;
            let cost: Cost = serde_json::from_slice(&output.stdout)
                .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
            let memory = cost.peak_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
            let Cost { noise, dimensions, milliseconds, .. } = &cost;
            say(&format!(
                "{noise}, d = {dimensions}, {evaluations} evaluations: {milliseconds:.3} ms each, {memory}"
            ));
            all.push(cost);
            // The last cases take long; what is measured is kept.
            if let Some(path) = &args.json {
                fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
            }
        }
    }
    Ok(())
}

/// Spends the budget on rewards that have two modes: a noise succeeds where its first value is above 0.5.
fn measure(noise: &str, shape: NoiseShape, evaluations: usize) -> Result<Cost> {
    let find = FindConfig::default().without(FindPart::SuccessStop);
    let method = MethodConfig::Find(find).within_budget(evaluations).start(Start::new(shape, 1))?;
    let config = RunConfig { evaluations, plateau_iterations: 0, ..RunConfig::default() };
    let mut run = Run::new(config, method)?;
    let began = Instant::now();
    while run.stop_reason().is_none() {
        let told = run.ask().into_iter().map(|noise| Evaluation { reward: reward(&noise), noise }).collect();
        run.tell(told)?;
    }
    let milliseconds = began.elapsed().as_secs_f64() * 1e3 / evaluations as f64;
    Ok(Cost {
        noise: noise.to_owned(),
        dimensions: shape.numel(),
        evaluations,
        milliseconds,
        peak_mib: peak_mib(),
    })
}

fn reward(noise: &Noise) -> Reward {
    let values = noise.values();
    let succeeds = if values[0] > 0.5 { 1.0 } else { 0.0 };
    Reward::Given(succeeds + 0.05 * f64::from(values[1]))
}

/// Highest resident memory so far, as Linux tells it.
fn peak_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

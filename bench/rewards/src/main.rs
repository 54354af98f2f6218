//! Measures every native scorer at its published size with random weights, and prints a table and JSON.
//!
//! `taskset -c 0 cargo run --release -p bench-rewards -- [--threads N] [--images N] [--json FILE] [FILTER]`. The weights
//! go through a temporary folder (2 GB at most at a time), so that the measured program is the one that users run.
#![allow(clippy::print_stdout, reason = "a measuring program prints its table")]

mod folders;
mod weights;

use std::time::{Duration, Instant};

use bench_common::{Arguments, Clock, Failure};
use noisefind_core::media::Media;
use noisefind_core::ports::Reward;
use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use noisefind_rewards::{SCORERS, ScorerInfo};

/// Rows and columns of the images: what Stable Diffusion 1.5 generates.
const SIDE: usize = 512;
const PROMPT: &str = "a painting of an ocean with clouds and birds, day time, low depth field effect";

fn main() -> Result<(), Failure> {
    let arguments = Arguments::of_process(&["--images"])?;
    arguments.in_pool(|| measure(&arguments))
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let (threads, images) = (arguments.threads, arguments.value("--images", 8)?);
    println!("threads {threads}, {images} images of {SIDE} x {SIDE}");
    println!(
        "{:18} {:5} {:>11} {:>8} {:>11} {:>9} {:>11}",
        "scorer", "dtype", "parameters", "open s", "ms/image", "prompt ms", "images/s"
    );
    let mut rows = Vec::new();
    for scorer in SCORERS.iter().filter(|scorer| arguments.asks_for(scorer.name)) {
        let folder = tempfile::tempdir()?;
        let Some(parameters) = folders::fill(folder.path(), scorer.name)? else { continue };
        for (name, dtype) in [("f32", DtypeChoice::F32), ("bf16", DtypeChoice::Bf16)] {
            if scorer.files.is_empty() && name != "f32" {
                continue;
            }
            let placement = Placement::open(DeviceChoice::Cpu, dtype)?;
            let files = ModelFiles::directory(folder.path())?;
            let times = times(scorer, &files, &placement, threads, images)?;
            let (image, prompt) = (times.image.as_secs_f64(), times.prompt.as_secs_f64());
            println!(
                "{:18} {name:5} {:11} {:8.1} {:11.1} {:9.1} {:11.3}",
                scorer.name,
                parameters,
                times.open.as_secs_f64(),
                1e3 * image,
                1e3 * prompt,
                1.0 / image
            );
            rows.push(serde_json::json!({
                "scorer": scorer.name, "dtype": name, "parameters": parameters,
                "open_seconds": times.open.as_secs_f64(), "seconds_per_image": image,
                "seconds_per_prompt": prompt, "images_per_second": 1.0 / image,
            }));
        }
    }
    let (side, rows) = (SIDE, serde_json::Value::from(rows));
    arguments.report(&serde_json::json!({ "threads": threads, "images": images, "side": side, "rows": rows }))
}

struct Times {
    open: Duration,
    image: Duration,
    prompt: Duration,
}

/// One batch to warm up, then the same batch with the prompt known, then with another prompt.
fn times(
    scorer: &ScorerInfo,
    files: &ModelFiles,
    placement: &Placement,
    threads: usize,
    images: usize,
) -> Result<Times, Failure> {
    let begun = Instant::now();
    let mut scorer = scorer.open(Some((files, "")), placement)?;
    let open = begun.elapsed();
    let media: Vec<Media> = (0..images).map(image).collect::<Option<_>>().ok_or("no pixels")?;
    let mut timed = |prompt: &str| -> Result<Duration, Failure> {
        let clock = Clock::start(threads);
        let rewards = scorer.score(prompt, &media)?;
        let elapsed = clock.elapsed();
        match rewards.iter().find(|reward| reward.given().is_none()) {
            Some(Reward::Missing(reason)) => Err(format!("a reward is missing: {reason}").into()),
            _ => Ok(elapsed),
        }
    };
    timed("warm up")?;
    let with_prompt = timed(PROMPT)?;
    let without_prompt = timed(PROMPT)?;
    let image = without_prompt / images.max(1) as u32;
    Ok(Times { open, image, prompt: with_prompt.saturating_sub(without_prompt) })
}

/// Smooth colours with some grain.
fn image(number: usize) -> Option<Media> {
    let value = |at: usize| {
        let (row, column) = (at / SIDE % SIDE, at % SIDE);
        let wave = ((row + 40 * number) as f32 / 37.0).sin() + (column as f32 / 23.0).cos();
        let grain = (at.wrapping_mul(2_654_435_761) >> 7 & 255) as f32 / 255.0;
        (0.5 + 0.2 * wave + 0.1 * (grain - 0.5)).clamp(0.0, 1.0)
    };
    let values: Vec<f32> = (0..3 * SIDE * SIDE).map(value).collect();
    Media::quantise(1, SIDE, SIDE, &values).ok()
}

//! A denoiser in each number format: the memory that it takes and the time of a call, side by side in one process.

use bench_common::{Arguments, Clock, Failure, median};
use noisefind_nn::device::kernels_in_use;
use serde_json::json;

use crate::ours::{Case, Folders};

const FORMATS: [&str; 3] = ["f32", "bf16", "int8"];

/// Opens the case that the first word asks for (the default denoiser without one) in each format, lets each repetition
/// measure one after the other, prints a table and writes JSON.
pub fn run(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let batch = arguments.value("--batch", 32)?;
    let cases = [Case::DefaultUnet { batch }, Case::Sd15Unet];
    let case = cases.into_iter().find(|case| arguments.asks_for(&case.name()));
    let case = case.ok_or("formats knows default-unet and sd15-unet")?;
    let threads = arguments.threads;
    let mut opened = Vec::new();
    for format in FORMATS {
        let before = resident_mib()?;
        let mut call = case.prepare(folders, format)?;
        let weights_mib = resident_mib()? - before;
        call()?;
        opened.push((format, weights_mib, call, Vec::new()));
    }
    for _ in 0..arguments.value("--repetitions", 5usize)? {
        for (_, _, call, seconds) in &mut opened {
            let clock = Clock::start(threads);
            call()?;
            seconds.push(clock.elapsed().as_secs_f64());
        }
    }
    let mut rows = Vec::new();
    println!("{}, {}, threads {threads}", case.name(), kernels_in_use());
    println!("{:8} {:>12} {:>10}", "format", "weights MiB", "call ms");
    for (format, weights_mib, _, seconds) in &mut opened {
        let milliseconds = 1e3 * median(seconds);
        println!("{format:8} {weights_mib:12.0} {milliseconds:10.1}");
        rows.push(
            json!({ "format": format, "weights_mib": weights_mib, "median_seconds": milliseconds / 1e3 }),
        );
    }
    arguments
        .report(&json!({ "case": case.name(), "isa": kernels_in_use(), "threads": threads, "rows": rows }))
}

/// Resident memory of this process, as Linux tells it.
fn resident_mib() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS is not told")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

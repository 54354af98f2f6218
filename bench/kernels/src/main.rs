//! Measures every kernel on the shapes of the default model and of SD 1.5, and prints a table and JSON.
//!
//! `taskset -c 0 cargo run --release -p bench-kernels -- [--threads N] [--json FILE] [FILTER]`; `peer.py` measures PyTorch
//! on the same shapes and joins both tables.
#![allow(clippy::print_stdout, reason = "a measuring program prints its table")]

mod cases;

use std::error::Error;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use half::bf16;
use noisefind_kernels::{Dtype, Isa, peak_flops};

/// Timed repetitions; the median is reported.
const REPETITIONS: usize = 9;
/// Shortest time of one repetition, so that the clock's steps do not matter.
const REPETITION_SECONDS: f64 = 0.02;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut threads = 1;
    let mut json = None;
    let mut filter = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => threads = arguments.next().ok_or("--threads needs a number")?.parse()?,
            "--json" => json = Some(arguments.next().ok_or("--json needs a file")?),
            _ => filter = argument,
        }
    }
    // Everything runs inside the pool, so that with one thread the measured thread is the one that works.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| measure(threads, json, &filter))
}

fn measure(threads: usize, json: Option<String>, filter: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let peaks = [Dtype::F32, Dtype::Bf16].map(|dtype| (dtype, peak_flops(dtype) * threads as f64));
    println!("instruction set {}, threads {threads}", Isa::current().name());
    for (dtype, peak) in peaks {
        println!("peak {:4} {:7.1} GFLOP/s", dtype.name(), peak / 1e9);
    }
    println!("{:58} {:5} {:>9} {:>9} {:>7} {:>8}", "operation", "dtype", "ms", "GFLOP/s", "of peak", "GB/s");
    let mut rows = Vec::new();
    for case in cases::all().into_iter().filter(|case| case.name().contains(filter)) {
        for (dtype, peak) in peaks {
            let seconds = match dtype {
                Dtype::F32 => median_seconds(threads, case.prepare::<f32>()?),
                Dtype::Bf16 => median_seconds(threads, case.prepare::<bf16>()?),
            };
            let rate = case.flops() / seconds;
            let bytes = case.elements() * if dtype == Dtype::F32 { 4.0 } else { 2.0 };
            println!(
                "{:58} {:5} {:9.4} {:9.1} {:6.1}% {:8.1}",
                case.name(),
                dtype.name(),
                seconds * 1e3,
                rate / 1e9,
                100.0 * rate / peak,
                bytes / seconds / 1e9
            );
            rows.push(serde_json::json!({
                "operation": case.name(), "dtype": dtype.name(), "median_seconds": seconds,
                "flops": case.flops(), "fraction_of_peak": rate / peak,
            }));
        }
    }
    if let Some(path) = json {
        let report = serde_json::json!({ "isa": Isa::current().name(), "threads": threads, "rows": rows });
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

/// A clock: the thread's own processor time with one thread, which other programs on the core do not disturb; the time on
/// the wall with several.
enum Clock {
    Processor(ThreadTime),
    Wall(Instant),
}

impl Clock {
    fn start(threads: usize) -> Self {
        if threads == 1 { Self::Processor(ThreadTime::now()) } else { Self::Wall(Instant::now()) }
    }

    fn elapsed(&self) -> Duration {
        match self {
            Self::Processor(start) => start.elapsed(),
            Self::Wall(start) => start.elapsed(),
        }
    }
}

/// Median time of one call, after a warm-up.
fn median_seconds(threads: usize, mut call: impl FnMut()) -> f64 {
    call();
    let start = Clock::start(threads);
    call();
    let calls = (REPETITION_SECONDS / start.elapsed().as_secs_f64().max(1e-9)).ceil() as usize;
    let mut times: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Clock::start(threads);
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPETITIONS / 2]
}

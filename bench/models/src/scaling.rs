//! How much faster two threads are than one, on the default denoiser at batch 16.

use std::time::Instant;

use bench_common::{Arguments, Failure, calls_for, median};
use serde_json::json;

use crate::ours::{self, Folders};

const BATCH: usize = 16;
/// Shortest time of one repetition.
const REPETITION_SECONDS: f64 = 0.2;

/// Measures one and two threads in turns, by the clock on the wall, and prints the ratios.
pub fn run(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let repetitions = arguments.value("--repetitions", 7usize)?;
    let pools = [1, 2].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build());
    let [one, two] = pools;
    let (one, two) = (one?, two?);
    println!("{:6} {:>12} {:>12} {:>6}", "dtype", "1 thread ms", "2 threads ms", "ratio");
    let mut rows = Vec::new();
    for dtype in ["f32", "bf16"] {
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..repetitions {
            for (pool, seconds) in [&one, &two].into_iter().zip(&mut seconds) {
                // The call is made inside of the pool, which therefore opens the model each time, outside of the clock.
                seconds.push(pool.install(|| repetition(folders, dtype))?);
            }
        }
        let [one, two] = seconds.each_ref().map(|seconds| median(&mut seconds.clone()));
        println!("{dtype:6} {:12.2} {:12.2} {:6.2}", 1e3 * one, 1e3 * two, one / two);
        rows.push(json!({ "dtype": dtype, "one_thread_seconds": seconds[0],
                          "two_threads_seconds": seconds[1], "ratio": one / two }));
    }
    arguments.report(&json!({ "case": format!("default-unet batch={BATCH}"), "rows": rows }))
}

fn repetition(folders: &Folders, dtype: &str) -> Result<f64, Failure> {
    let mut call = ours::unet(&folders.model, BATCH, dtype)?;
    call()?;
    let start = Instant::now();
    call()?;
    let calls = calls_for(start.elapsed().as_secs_f64(), REPETITION_SECONDS);
    let start = Instant::now();
    (0..calls).try_for_each(|_| call())?;
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

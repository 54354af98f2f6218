//! Measures every kernel on the shapes of the default model and of SD 1.5, and prints a table and JSON.
//!
//! `taskset -c 0 cargo run --release -p bench-kernels -- [--threads N] [--json FILE] [FILTER]`; `peer.py` measures PyTorch
//! on the same shapes and joins both tables.
#![allow(clippy::print_stdout, reason = "a measuring program prints its table")]

mod cases;

use bench_common::{Arguments, Failure, median_seconds};
use half::bf16;
use noisefind_kernels::{Dtype, Isa, peak_flops};

/// Timed repetitions; the median is reported.
const REPETITIONS: usize = 9;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::of_process(&[])?;
    arguments.in_pool(|| measure(&arguments))
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let threads = arguments.threads;
    let peaks = [Dtype::F32, Dtype::Bf16].map(|dtype| (dtype, peak_flops(dtype) * threads as f64));
    println!("instruction set {}, threads {threads}", Isa::current().name());
    for (dtype, peak) in peaks {
        println!("peak {:4} {:7.1} GFLOP/s", dtype.name(), peak / 1e9);
    }
    println!("{:58} {:5} {:>9} {:>9} {:>7} {:>8}", "operation", "dtype", "ms", "GFLOP/s", "of peak", "GB/s");
    let mut rows = Vec::new();
    for case in cases::all().into_iter().filter(|case| arguments.asks_for(&case.name())) {
        for (dtype, peak) in peaks {
            let seconds = match dtype {
                Dtype::F32 => median_seconds(threads, REPETITIONS, case.prepare::<f32>()?),
                Dtype::Bf16 => median_seconds(threads, REPETITIONS, case.prepare::<bf16>()?),
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
    arguments.report(&serde_json::json!({ "isa": Isa::current().name(), "threads": threads, "rows": rows }))
}

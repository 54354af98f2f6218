//! Where the time of one call goes: every operation against its own limit, and what lies between them.
//!
//! The limit of an operation is the longer of two times: that of its multiplications at the speed of a loop over registers
//! ([`peak_flops`]), and that of copying as many bytes as its operands have, from and to wherever so many bytes stay.

use std::collections::BTreeMap;
use std::hint::black_box;

use bench_common::{Arguments, Clock, Failure, median, median_seconds};
use noisefind_kernels::{Dtype, peak_flops};
use noisefind_nn::device::kernels_in_use;
use noisefind_nn::ops::{Operation, record};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::ours::{Case, FRAMES, Folders};
use crate::report;

/// Timed copies; the median counts.
const COPIES: usize = 5;

/// All calls of one operation with the same sizes.
struct Row {
    operation: Operation,
    calls: usize,
    /// Seconds in one call of the model, median over the repetitions.
    seconds: f64,
    /// The least they could be.
    limit_seconds: f64,
}

/// What a machine can do.
struct Limits {
    threads: usize,
    flops: f64,
}

/// Profiles the case that the first word asks for (the default denoiser without one), prints a table and writes JSON.
pub fn run(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let batch = arguments.value("--batch", 32)?;
    let video = Case::VideoUnet { frames: arguments.value("--frames", FRAMES)? };
    let cases = [Case::DefaultUnet { batch }, Case::Sd15Unet, Case::Sd15Vae, video];
    let case = cases.into_iter().find(|case| arguments.asks_for(&case.name()));
    let case = case.ok_or("profile knows default-unet, sd15-unet, sd15-vae and video-unet")?;
    let (name, threads) = (arguments.value("--dtype", "bf16".to_owned())?, arguments.threads);
    let dtype = if name == "bf16" { Dtype::Bf16 } else { Dtype::F32 };
    let limits = Limits { threads, flops: peak_flops(dtype) * threads as f64 };
    let (rows, seconds) = measure(case, &name, arguments.value("--repetitions", 7)?, folders, &limits)?;
    let report = json!({
        "case": case.name(), "dtype": name, "isa": kernels_in_use(), "threads": threads,
        "peak_flops": limits.flops, "median_seconds": seconds, "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    println!("{}", report::profile(&report));
    arguments.report(&report)
}

/// The operations of one call, longest first, and the seconds of the whole.
fn measure(
    case: Case,
    dtype: &str,
    repetitions: usize,
    folders: &Folders,
    limits: &Limits,
) -> Result<(Vec<Row>, f64), Failure> {
    let mut call = case.prepare(folders, dtype)?;
    (0..2).try_for_each(|_| call())?;
    let mut totals = Vec::new();
    let mut groups = BTreeMap::<(&str, String), (Operation, usize, Vec<f64>)>::new();
    for repetition in 0..repetitions {
        let clock = Clock::start(limits.threads);
        let (result, calls) = record(move || clock.elapsed(), &mut call);
        totals.push(clock.elapsed().as_secs_f64());
        result?;
        for call in calls {
            let key = (call.operation.kind, call.operation.shape.clone());
            let (_, count, seconds) = groups.entry(key).or_insert((call.operation, 0, Vec::new()));
            *count += usize::from(repetition == 0);
            seconds.resize(repetition + 1, 0.0);
            seconds[repetition] += call.elapsed.as_secs_f64();
        }
    }
    let row = |(operation, calls, mut seconds): (Operation, usize, Vec<f64>)| {
        let limit_seconds = calls as f64 * limits.seconds(&operation);
        Row { operation, calls, seconds: median(&mut seconds), limit_seconds }
    };
    let mut rows: Vec<_> = groups.into_values().map(row).collect();
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok((rows, median(&mut totals)))
}

impl Limits {
    /// The least time of one call of an operation.
    fn seconds(&self, operation: &Operation) -> f64 {
        (operation.flops as f64 / self.flops).max(self.copy_seconds(operation.bytes))
    }

    /// Time to copy half of `bytes` to the other half, warm.
    fn copy_seconds(&self, bytes: usize) -> f64 {
        let part = (bytes / 2).div_ceil(self.threads).max(1);
        let (from, mut to) = (vec![1_u8; bytes / 2], vec![0_u8; bytes / 2]);
        median_seconds(self.threads, COPIES, || {
            to.par_chunks_mut(part)
                .zip(black_box(&from).par_chunks(part))
                .for_each(|(to, from)| to.copy_from_slice(from));
            black_box(&mut to);
        })
    }
}

impl Row {
    fn json(&self) -> Value {
        let Operation { kind, shape, flops, bytes } = &self.operation;
        json!({
            "kind": kind, "shape": shape, "calls": self.calls, "flops": self.calls * flops, "bytes": self.calls * bytes,
            "median_seconds": self.seconds, "limit_seconds": self.limit_seconds,
        })
    }
}

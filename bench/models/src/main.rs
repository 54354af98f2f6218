//! Measures whole models; see `README.md` beside the sources for the commands.
#![allow(clippy::print_stdout, reason = "a measuring program prints its table")]

mod compare;
mod formats;
mod ours;
mod peer;
mod profile;
mod psnr;
mod report;
mod scaling;

use bench_common::{Arguments, Failure};

use crate::ours::Folders;

/// Options with a value, beside `--threads` and `--json`.
const OPTIONS: [&str; 10] = [
    "--model",
    "--sd15",
    "--video",
    "--python",
    "--repetitions",
    "--images",
    "--frames",
    "--seeds",
    "--dtype",
    "--batch",
];

fn main() -> Result<(), Failure> {
    let mut arguments = Arguments::of_process(&OPTIONS)?;
    let commands = "expected compare, profile, formats, scaling, psnr, report, readme or calls";
    if arguments.words.is_empty() {
        return Err(commands.into());
    }
    let folders = Folders {
        model: arguments.value("--model", "models/emoji-64".into())?,
        sd15: arguments.value("--sd15", "target/random-sd15".into())?,
        video: arguments.value("--video", "target/random-modelscope".into())?,
    };
    match arguments.words.remove(0).as_str() {
        "compare" => arguments.in_pool(|| compare::run(&arguments, &folders)),
        "profile" => arguments.in_pool(|| profile::run(&arguments, &folders)),
        "formats" => arguments.in_pool(|| formats::run(&arguments, &folders)),
        "scaling" => scaling::run(&arguments, &folders),
        "psnr" => arguments.in_pool(|| psnr::run(&arguments, &folders)),
        "report" => report::run(&arguments),
        "readme" => report::readme(&arguments),
        "calls" => arguments.in_pool(|| calls(&arguments, &folders)),
        other => Err(format!("{other} is no command, {commands}").into()),
    }
}

/// Opens the default denoiser and calls it so many times, for programs that count instructions from outside.
fn calls(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let count: usize = arguments.words.first().ok_or("calls needs a number of calls")?.parse()?;
    let dtype = arguments.value("--dtype", "f32".to_owned())?;
    let mut call = ours::unet(&folders.model, 1, &dtype)?;
    for _ in 0..count {
        call()?;
    }
    println!("{count} calls, batch 1, instruction set {}", noisefind_nn::device::kernels_in_use());
    Ok(())
}

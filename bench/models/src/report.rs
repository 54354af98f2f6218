//! Recorded measurements as tables in Markdown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bench_common::{Arguments, Failure};
use serde_json::Value;

/// Where recorded measurements lie unless the command line names another folder.
const FOLDER: &str = "bench/models/recorded";

/// A recording's file, its heading, and what makes a table of it.
type Section = (&'static str, &'static str, fn(&Value) -> String);

const SECTIONS: [Section; 17] = [
    ("compare.json", "Whole models against PyTorch", comparison),
    ("compare-avx2.json", "Whole models against PyTorch, on a machine without AVX-512", comparison),
    ("formats-avx2.json", "Number formats of the default denoiser there", formats),
    ("formats-sd15-avx2.json", "Number formats of the denoiser of Stable Diffusion 1.5 there", formats),
    ("profile-avx2.json", "Where the time of the default denoiser goes there, f32", profile),
    (
        "profile-sd15-avx2.json",
        "Where the time of the denoiser of Stable Diffusion 1.5 goes there, f32",
        profile,
    ),
    ("compare-video-f32.json", "A denoiser of clips against PyTorch, f32", comparison),
    ("compare-video-bf16.json", "A denoiser of clips against PyTorch, bf16", comparison),
    ("scaling.json", "Two threads against one", scaling),
    ("psnr.json", "Images in shorter formats against f32 images of the same noises", distance),
    ("profile-bf16.json", "Where the time of the default denoiser goes, bf16", profile),
    ("profile-f32.json", "Where the time of the default denoiser goes, f32", profile),
    ("profile-sd15-bf16.json", "Where the time of the denoiser of Stable Diffusion 1.5 goes, bf16", profile),
    ("profile-sd15-vae-bf16.json", "Where the time of its decoder goes, bf16", profile),
    (
        "profile-video-avx2.json",
        "Where the time of a denoiser of clips goes on a machine without AVX-512, f32",
        profile,
    ),
    ("profile-video-bf16.json", "Where the time of a denoiser of clips goes, bf16", profile),
    ("operations.json", "Operations against PyTorch", operations),
];

/// Prints every recording that is there.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder: PathBuf = arguments.words.first().map_or(FOLDER.into(), PathBuf::from);
    println!(
        "# Results\n\nMade of the recordings in [recorded](recorded) by `bench-models report`; how they were made is in"
    );
    println!("[README.md](README.md). Times are those of one machine, ratios are what should be compared.");
    for (file, heading, table) in SECTIONS {
        let path = folder.join(file);
        if path.is_file() {
            println!("\n## {heading}\n\n{}", table(&read(&path)?).trim_end());
        }
    }
    Ok(())
}

/// What the README's table tells: the recording and what it is called there.
const MACHINES: [(&str, &str); 2] =
    [("compare.json", "Zen 4, AVX-512-BF16, two cores"), ("compare-avx2.json", "Zen 3, AVX2, one core")];
const BEGIN: &str = "<!-- speed: begin -->\n";
const END: &str = "<!-- speed: end -->";

/// Puts the table of the recordings between the marks of the README.
pub fn readme(arguments: &Arguments) -> Result<(), Failure> {
    let folder: PathBuf = arguments.words.first().map_or(FOLDER.into(), PathBuf::from);
    let path = Path::new("README.md");
    let page = std::fs::read_to_string(path)?;
    let marks = || page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks().ok_or("README.md has no marks for the table of speeds")?;
    let mut machines = Vec::new();
    for (file, machine) in MACHINES {
        if folder.join(file).is_file() {
            machines.push((machine, read(&folder.join(file))?));
        }
    }
    let key = |row: &Value| (named(text(row, "case")), text(row, "peer").to_owned());
    let mut keys: Vec<(String, String)> = Vec::new();
    for row in machines.iter().flat_map(|(_, report)| rows(report)) {
        if !keys.contains(&key(row)) {
            keys.push(key(row));
        }
    }
    let line = |(case, peer): &(String, String)| {
        let ratio = |report: &Value| {
            let found = rows(report).iter().find(|row| key(row) == (case.clone(), peer.clone()));
            found.map_or("-".to_owned(), |row| format!("{:.2}", number(row, "ratio")))
        };
        let ratios: Vec<String> = machines.iter().map(|(_, report)| ratio(report)).collect();
        format!("| {case} | {peer} | {} |", ratios.join(" | "))
    };
    let columns: Vec<&str> =
        ["what", "PyTorch"].into_iter().chain(machines.iter().map(|(machine, _)| *machine)).collect();
    let table = table(&columns, keys.iter().map(line));
    Ok(std::fs::write(path, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?)
}

/// A case in words.
fn named(case: &str) -> String {
    let kinds = [
        ("default-unet", "denoiser of emoji-64, "),
        ("sd15-unet", "denoiser of Stable Diffusion 1.5, latents of 64 x 64, "),
        ("sd15-vae", "its decoder, an image of 512 x 512, "),
        ("video-unet", "denoiser of ModelScope, latents of 16 x 16, "),
        ("end-to-end", "emoji-64 with the same loop in diffusers, generated and scored, "),
    ];
    let (kind, size) = case.split_once(' ').unwrap_or((case, ""));
    let known = kinds.iter().find(|(own, _)| *own == kind);
    known.map_or(case.to_owned(), |(_, name)| format!("{name}{}", size.replace('=', " ")))
}

fn read(path: &Path) -> Result<Value, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| named(&error))?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| named(&error))?)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}

/// A number; NaN where there is none.
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(f64::NAN)
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().map_or(&[], Vec::as_slice)
}

fn table(columns: &[&str], lines: impl IntoIterator<Item = String>) -> String {
    let head = format!("| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len()));
    lines.into_iter().fold(head, |table, line| table + &line + "\n")
}

fn comparison(report: &Value) -> String {
    let about =
        format!("{}, {}, threads {}\n\n", text(report, "peer"), text(report, "isa"), report["threads"]);
    let line = |row: &Value| {
        let (case, dtype, peer) = (text(row, "case"), text(row, "our_dtype"), text(row, "peer"));
        let [ours, theirs] = ["our_median_seconds", "peer_median_seconds"].map(|key| 1e3 * number(row, key));
        format!("| {case} | {dtype} | {peer} | {ours:.1} | {theirs:.1} | {:.2} |", number(row, "ratio"))
    };
    let columns = ["case", "ours", "PyTorch", "ours ms", "PyTorch ms", "times as fast"];
    about + &table(&columns, rows(report).iter().map(line))
}

fn scaling(report: &Value) -> String {
    let line = |row: &Value| format!("| {} | {:.2} |", text(row, "dtype"), number(row, "ratio"));
    format!("{}\n\n", text(report, "case"))
        + &table(&["dtype", "times as fast"], rows(report).iter().map(line))
}

fn distance(report: &Value) -> String {
    let line = |row: &Value| {
        let seeds = row["decibels_by_seed"].as_array().map_or(0, Vec::len);
        let [middle, lowest] = ["median_decibels", "lowest_decibels"].map(|key| number(row, key));
        format!("| {} | {seeds} | {middle:.1} | {lowest:.1} |", text(row, "format"))
    };
    table(&["format", "seeds", "median dB", "lowest dB"], rows(report).iter().map(line))
}

/// Memory and time of each number format.
fn formats(report: &Value) -> String {
    let about =
        format!("{}, {}, threads {}\n\n", text(report, "case"), text(report, "isa"), report["threads"]);
    let line = |row: &Value| {
        let (memory, seconds) = (number(row, "weights_mib"), number(row, "median_seconds"));
        format!("| {} | {memory:.0} | {:.1} |", text(row, "format"), 1e3 * seconds)
    };
    about + &table(&["format", "weights MiB", "call ms"], rows(report).iter().map(line))
}

/// Each operation, each kind, and what lies between them.
pub fn profile(report: &Value) -> String {
    let (isa, threads, dtype) = (text(report, "isa"), &report["threads"], text(report, "dtype"));
    let (seconds, peak) = (number(report, "median_seconds"), number(report, "peak_flops") / 1e9);
    let about = format!(
        "{}, {dtype}, {isa}, threads {threads}: {:.1} ms a call; registers multiply {peak:.0} GFLOP/s\n\n",
        text(report, "case"),
        1e3 * seconds
    );
    let line = |kind: &str, shape: &str, calls: &str, [time, flops, limit]: [f64; 3]| {
        let (ms, share) = (1e3 * time, 100.0 * time / seconds);
        let rate = if flops > 0.0 { format!("{:.0}", flops / time / 1e9) } else { String::new() };
        let of_limit = if limit > 0.0 { format!("{:.0} %", 100.0 * limit / time) } else { String::new() };
        format!("| {kind} | {shape} | {calls} | {ms:.2} | {share:.1} % | {rate} | {of_limit} |")
    };
    let mut lines = Vec::new();
    let mut kinds = BTreeMap::<&str, (f64, [f64; 3])>::new();
    let mut all = (0.0, [0.0; 3]);
    for row in rows(report) {
        let numbers = ["median_seconds", "flops", "limit_seconds"].map(|key| number(row, key));
        let calls = number(row, "calls");
        for sums in [kinds.entry(text(row, "kind")).or_default(), &mut all] {
            sums.0 += calls;
            sums.1 = [0, 1, 2].map(|at| sums.1[at] + numbers[at]);
        }
        lines.push(line(text(row, "kind"), text(row, "shape"), &calls.to_string(), numbers));
    }
    let kinds =
        kinds.into_iter().map(|(kind, (calls, sums))| line(kind, "**all**", &calls.to_string(), sums));
    lines.extend(kinds.collect::<Vec<_>>());
    lines.push(line("between", "", "", [seconds - all.1[0], 0.0, 0.0]));
    lines.push(line("**the call**", "", &all.0.to_string(), [seconds, all.1[1], all.1[2]]));
    about + &table(&["operation", "sizes", "calls", "ms", "share", "GFLOP/s", "of its limit"], lines)
}

fn operations(report: &Value) -> String {
    let about = format!(
        "PyTorch {}, {}, threads {}\n\nSpeeds count the multiplications that define an operation. Windows of 3x3 over \
         transformed tiles do 4 of 9 of them, so theirs can exceed what registers multiply.\n\n",
        text(report, "peer"),
        text(report, "isa"),
        report["threads"]
    );
    let line = |row: &Value| {
        let fraction = 100.0 * number(row, "fraction_of_peak");
        let of_peak = if fraction > 0.0 { format!("{fraction:.0} %") } else { String::new() };
        let ratio = number(row, "peer_median_seconds") / number(row, "median_seconds");
        format!("| {} | {} | {of_peak} | {ratio:.2} |", text(row, "operation"), text(row, "dtype"))
    };
    let columns = ["operation", "dtype", "of the registers' speed", "times as fast as PyTorch"];
    about + &table(&columns, rows(report).iter().map(line))
}

//! Tunes each prompt of a list with the default settings and compares base and tuned on fresh seeds.
//!
//! ```sh
//! cargo run --release -p bench-prompts -- bench/prompts/picked.txt target/prompts --samples 64
//! ```
//!
//! Every prompt has its own run folder, so a stopped measurement goes on where it was; the table is printed and
//! written as `results.md` and `results.json`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use noisefind::config::TuneOptions;
use noisefind::core::config::{FindConfig, MethodConfig, PaperConfig};
use noisefind::rundir::IfOccupied;
use noisefind::tune::{TuneRequest, Tuned, tune};
use serde::Serialize;
use serde_json::Value;

#[derive(Parser)]
struct Args {
    /// File with one prompt a line: category, a tab, the prompt; lines that begin with # are left out.
    prompts: PathBuf,
    /// Folder of the runs and the results.
    out: PathBuf,
    /// Fresh pictures an arm.
    #[arg(long, default_value_t = 64)]
    samples: u32,
    /// Pictures generated and scored while tuning.
    #[arg(long, default_value_t = 160)]
    evaluations: usize,
    /// Seed of the tuning.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the policy learns.
    #[arg(long, value_enum, default_value_t = Method::Find)]
    method: Method,
    /// Model folder, or the name of the default model.
    #[arg(long, default_value = "emoji-64")]
    model: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Find,
    Paper,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    category: String,
    prompt: String,
    /// The run's `comparison.json`.
    comparison: Value,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let list =
        fs::read_to_string(&args.prompts).with_context(|| format!("reading {}", args.prompts.display()))?;
    fs::create_dir_all(&args.out)?;
    let mut rows = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((category, prompt)) = line.split_once('\t') else {
            bail!("{}: {line:?} is not a category, a tab and a prompt", args.prompts.display());
        };
        let comparison = measure(&args, prompt).with_context(|| format!("prompt {prompt:?}"))?;
        rows.push(Row { category: category.to_owned(), prompt: prompt.to_owned(), comparison });
        let table = table(&rows);
        fs::write(args.out.join("results.md"), &table)?;
        fs::write(args.out.join("results.json"), serde_json::to_string_pretty(&rows)?)?;
        #[expect(clippy::print_stdout, reason = "the table is the result of this program")]
        {
            println!("{table}");
        }
    }
    Ok(())
}

/// The comparison of the prompt's run: read where the run is over, resumed where it was stopped, new otherwise.
fn measure(args: &Args, prompt: &str) -> Result<Value> {
    let run = args.out.join(prompt.replace(' ', "-"));
    let over = run.join("comparison.json");
    if !over.exists() {
        let Tuned { stop_reason, .. } = tune(&request(args, prompt, &run), &mut ())?;
        if !over.exists() {
            bail!("the run ended without a comparison: {stop_reason:?}");
        }
    }
    Ok(serde_json::from_str(&fs::read_to_string(&over)?)?)
}

fn request(args: &Args, prompt: &str, run: &Path) -> TuneRequest {
    if run.join("config.toml").exists() {
        return TuneRequest::Resume { run: run.to_owned() };
    }
    let method = match args.method {
        Method::Find => MethodConfig::Find(FindConfig::default()),
        Method::Paper => MethodConfig::Paper(PaperConfig::default()),
    };
    let options = TuneOptions {
        prompt: Some(prompt.to_owned()),
        model: Some(args.model.clone()),
        evaluations: Some(args.evaluations),
        seed: Some(args.seed),
        samples: Some(args.samples),
        method: Some(method),
        ..TuneOptions::default()
    };
    TuneRequest::New {
        options: Box::new(options),
        out: Some(run.to_owned()),
        if_occupied: IfOccupied::Refuse,
    }
}

/// A Markdown table, a line a prompt and one of means.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| category | prompt | success base | success tuned | best of n | gain in base sigmas [95 %] | diversity | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let number = |row: &Row, path: &str| row.comparison.pointer(path).and_then(Value::as_f64);
    let shown =
        |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
    let columns = ["/base/success_rate", "/tuned/success_rate", "/best_of_n/success_rate"];
    let mean = |path: &str| {
        let values: Vec<f64> = rows.iter().filter_map(|row| number(row, path)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let mut clear = 0;
    for row in rows {
        let low = number(row, "/gain_sigmas_ci95/0");
        clear += usize::from(low.is_some_and(|low| low > 0.0));
        let [base, tuned, best] = columns.map(|path| shown(number(row, path), 2));
        let gain = shown(number(row, "/gain_sigmas"), 2);
        let (low, high) = (shown(low, 2), shown(number(row, "/gain_sigmas_ci95/1"), 2));
        let diversity = shown(number(row, "/diversity_ratio"), 2);
        let seconds = shown(number(row, "/elapsed_seconds"), 0);
        let (category, prompt) = (&row.category, &row.prompt);
        let _ = writeln!(
            text,
            "| {category} | {prompt} | {base} | {tuned} | {best} | {gain} [{low}, {high}] | {diversity} | {seconds} |"
        );
    }
    let [base, tuned, best] = columns.map(|path| shown(mean(path), 2));
    let (gain, diversity) = (shown(mean("/gain_sigmas"), 2), shown(mean("/diversity_ratio"), 2));
    let _ = writeln!(
        text,
        "| all | mean of {} | {base} | {tuned} | {best} | {gain} | {diversity} | |",
        rows.len()
    );
    let _ = writeln!(
        text,
        "\nThe 95 % interval of the gain lies above zero on {clear} of {} prompts.",
        rows.len()
    );
    text
}

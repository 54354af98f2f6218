//! The results page and its plots, made from recorded cells alone.

mod bases;
mod cost;
mod format;
mod front;
mod geneval;
mod noise_value;
mod page;
mod parts;
mod plots;
mod reach;
mod scorer;
mod stages;
mod summary;
mod tables;
mod targets;
mod video;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::noise_value::NoiseValue;
use crate::cell::Cell;
use crate::stages::Stages;
use crate::{prompts, records};

/// Write the results page and its plots from recorded cells
#[derive(Args)]
pub struct ReportArgs {
    /// Folder of the records: forty.jsonl, fresh.jsonl, easy.jsonl, video.jsonl and geneval.jsonl, each of a list of prompts, and a folder
    /// emoji-64 with those of the model before its distillation; what is absent is left out of the page
    #[arg(long, default_value = "bench/results")]
    records: PathBuf,
    /// Prompts on whose images the scorer was trained; where they are on a list, they are reported apart
    #[arg(long, value_name = "LIST", default_value = "pretrain/preference-prompts.txt")]
    met: PathBuf,
    /// Page to write; the plots go into a folder of the same name beside it
    #[arg(long, default_value = "bench/RESULTS.md")]
    page: PathBuf,
}

/// Print the comparison of base and one method, a line a prompt
#[derive(Args)]
pub struct TableArgs {
    /// Records of `run`
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// The method
    #[arg(long, default_value = "find")]
    method: String,
}

/// Everything on record, by list of prompts.
#[derive(Default)]
struct Records {
    /// The forty prompts on which the method was developed.
    forty: Vec<Cell>,
    /// Prompts that nobody looked at before.
    fresh: Vec<Cell>,
    /// Those of the same list that the scorer was trained on.
    fresh_met: Vec<Cell>,
    /// Prompts that the model already draws.
    easy: Vec<Cell>,
    /// Those of the same list that the scorer was trained on.
    easy_met: Vec<Cell>,
    /// Clips.
    video: Vec<Cell>,
    /// A public model on the prompts of GenEval.
    geneval: Vec<Cell>,
    /// Clean estimates in the middle of runs.
    stages: Vec<Stages>,
    /// A network's predictions of rewards from noises.
    noise_value: Option<NoiseValue>,
    /// The model before its distillation, with peers that tune its weights.
    undistilled: Vec<Cell>,
}

/// Writes page and plots.
pub fn report(args: &ReportArgs) -> Result<()> {
    let list = |name: &str| {
        let path = args.records.join(name);
        if path.exists() { read(&[path]) } else { Ok(Vec::new()) }
    };
    let undistilled = args.records.join("emoji-64");
    let undistilled = if undistilled.is_dir() {
        read(&[undistilled.join("cells.jsonl"), undistilled.join("dpok.jsonl")])?
    } else {
        Vec::new()
    };
    let met = prompts::texts(&args.met)?;
    let apart = |name: &str| {
        let cells = list(name)?.into_iter();
        Ok::<(Vec<Cell>, Vec<Cell>), anyhow::Error>(cells.partition(|cell| !met.contains(&cell.key.prompt)))
    };
    let ((fresh, fresh_met), (easy, easy_met)) = (apart("fresh.jsonl")?, apart("easy.jsonl")?);
    let records = Records {
        forty: list("forty.jsonl")?,
        fresh,
        fresh_met,
        easy,
        easy_met,
        video: list("video.jsonl")?,
        geneval: list("geneval.jsonl")?,
        stages: records::read(&args.records.join("stages.jsonl"))?,
        noise_value: noise_value::read(&args.records.join("noise-value.json"))?,
        undistilled,
    };
    if records.forty.is_empty() {
        bail!("{} holds no forty.jsonl", args.records.display());
    }
    let folder = args.page.with_extension("").with_file_name("results");
    fs::create_dir_all(&folder)?;
    let plots = plots::draw_all(&records.forty)?;
    let noise_value = records.noise_value.as_ref().map(plots::draw_noise_value).transpose()?;
    for (name, png) in plots.iter().chain(&noise_value) {
        fs::write(folder.join(name), png)?;
    }
    let names: Vec<&str> = plots.iter().map(|(name, _)| *name).collect();
    fs::write(&args.page, page::page(&records, &names)).with_context(|| args.page.display().to_string())
}

/// Prints the table.
pub fn table(args: &TableArgs) -> Result<()> {
    let cells = read(&args.records)?;
    #[expect(clippy::print_stdout, reason = "the table is the result of this command")]
    {
        print!("{}", tables::prompt_table(&cells, &args.method));
    }
    Ok(())
}

fn read(paths: &[PathBuf]) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    for path in paths {
        let more: Vec<Cell> = records::read(path)?;
        if more.is_empty() {
            bail!("{} holds no record", path.display());
        }
        cells.extend(more);
    }
    let model = &cells[0].key.model_sha256;
    if let Some(other) = cells.iter().find(|cell| cell.key.model_sha256 != *model) {
        bail!("{:?} was measured with another model; report records of one model only", other.key.prompt);
    }
    Ok(bases::in_one_unit(cells))
}

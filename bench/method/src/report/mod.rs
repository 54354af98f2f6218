//! The results page and its plots, made from recorded cells alone.

mod bases;
mod format;
mod page;
mod plots;
mod reach;
mod summary;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::page::Records;
use crate::cell::Cell;
use crate::records;

/// Write the results page and its plots from recorded cells
#[derive(Args)]
pub struct ReportArgs {
    /// Folder of the records: forty.jsonl, fresh.jsonl, easy.jsonl and video.jsonl, each of a list of prompts, and a folder
    /// emoji-64 with those of the model before its distillation; what is absent is left out of the page
    #[arg(long, default_value = "bench/results")]
    records: PathBuf,
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
    let records = Records {
        forty: list("forty.jsonl")?,
        fresh: list("fresh.jsonl")?,
        easy: list("easy.jsonl")?,
        video: list("video.jsonl")?,
        undistilled,
    };
    if records.forty.is_empty() {
        bail!("{} holds no forty.jsonl", args.records.display());
    }
    let folder = args.page.with_extension("").with_file_name("results");
    fs::create_dir_all(&folder)?;
    let plots = plots::draw_all(&records.forty)?;
    for (name, png) in &plots {
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
        print!("{}", page::prompt_table(&cells, &args.method));
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

//! Chooses the prompts: candidates are tried in the order of their hash until each half of each category is full.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use noisefind::core::policy::NoisePolicy;
use noisefind::evaluator::fresh_seeds;
use serde::{Deserialize, Serialize};

use crate::candidates::Grammar;
use crate::prompts::{self, Half, Prompt};
use crate::records;
use crate::say;
use crate::workbench::{Workbench, WorkbenchArgs};

/// Their seed; no tuning run has it.
const SEED: u64 = u64::MAX;

/// Measure candidates and write the prompt list
///
/// Candidates are tried in the order of their SHA-256; one is chosen where the judge accepts no less than `--least` and
/// no more than `--greatest` of 32 base images, until each half of each category has its share. Nothing is tuned, and nothing is left out afterwards.
#[derive(Args)]
pub struct ChooseArgs {
    #[command(flatten)]
    workbench: WorkbenchArgs,
    /// Prompts a category, half of them in each half of the list
    #[arg(long, default_value_t = 10)]
    each: usize,
    /// Smallest base success of a chosen prompt
    #[arg(long, default_value_t = 0.05)]
    least: f64,
    /// Greatest base success of a chosen prompt
    #[arg(long, default_value_t = 0.60)]
    greatest: f64,
    /// Text that goes before each prompt when it is hashed for the order, for a list of other prompts
    #[arg(long, default_value = "")]
    salt: String,
    /// Lists whose prompts are left out; repeatable
    #[arg(long, value_name = "LIST")]
    without: Vec<PathBuf>,
    /// Grammar of the default model, which candidates are taken from
    #[arg(long, value_name = "FILE", default_value = "models/emoji-64/judge/grammar.json")]
    grammar: PathBuf,
    /// Base images or clips that decide about a candidate
    #[arg(long, default_value_t = 32)]
    images: u32,
    /// Candidates a category after which the search gives up
    #[arg(long, default_value_t = 400)]
    most: usize,
    /// File that remembers every measured candidate; a stopped search goes on from it
    #[arg(long, default_value = "target/bench-method/candidates.jsonl")]
    measured: PathBuf,
    /// Prompt list to write
    #[arg(long, default_value = "bench/method/prompts.tsv")]
    list: PathBuf,
}

/// A measured candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Candidate {
    prompt: String,
    model_sha256: String,
    /// Base images or clips that were generated.
    #[serde(default = "thirty_two")]
    images: u32,
    /// Share of the base images that the judge accepts.
    success_rate: f64,
}

fn thirty_two() -> u32 {
    32
}

/// Runs the command.
pub fn choose(args: &ChooseArgs) -> Result<()> {
    let grammar = Grammar::read(&args.grammar)?;
    let mut workbench = args.workbench.open()?;
    let mut measured: Vec<Candidate> = records::read(&args.measured)?;
    measured.retain(|candidate| {
        candidate.model_sha256 == workbench.model_sha256 && candidate.images == args.images
    });
    let mut others = Vec::new();
    for path in &args.without {
        others.extend(prompts::texts(path)?);
    }
    let accepted = args.least..=args.greatest;
    let mut list = format!(
        "# category, a tab, a prompt, a tab, base success on {} images. The first {} in the order of SHA-256{} with\n\
         # base success from {} to {}, for each category and half; made by `bench-method choose`.\n",
        args.images,
        args.each / 2,
        if args.salt.is_empty() { String::new() } else { format!(" after {:?}", args.salt) },
        args.least,
        args.greatest,
    );
    for category in grammar.categories() {
        let mut counts = [0; 2];
        for text in grammar.candidates(category, &args.salt).into_iter().take(args.most) {
            let prompt = Prompt { category, text };
            let count = &mut counts[usize::from(prompt.half() == Half::HeldOut)];
            if *count == args.each / 2 || others.contains(&prompt.text) {
                continue;
            }
            let known = measured.iter().find(|candidate| candidate.prompt == prompt.text).cloned();
            let candidate = match known {
                Some(candidate) => candidate,
                None => {
                    let candidate = measure(&mut workbench, &prompt.text, args.images)?;
                    records::append(&args.measured, &candidate)?;
                    candidate
                }
            };
            if accepted.contains(&candidate.success_rate) {
                *count += 1;
                say(&format!("{category:<12} {:.2} {}", candidate.success_rate, prompt.text));
                writeln!(list, "{category}\t{}\t{:.3}", prompt.text, candidate.success_rate)?;
            }
            if counts.iter().all(|count| *count == args.each / 2) {
                break;
            }
        }
        if counts.iter().sum::<usize>() < args.each / 2 * 2 {
            bail!("{category}: {counts:?} of {} prompts found among {} candidates", args.each, args.most);
        }
    }
    Ok(fs::write(&args.list, list)?)
}

fn measure(workbench: &mut Workbench, prompt: &str, images: u32) -> Result<Candidate> {
    let base = NoisePolicy::standard(workbench.model.generator.noise_shape());
    let sampled = workbench.look(prompt, &base, &fresh_seeds(SEED, images))?;
    let judged: Vec<f64> = sampled.judgements.iter().filter_map(|judgement| judgement.given()).collect();
    if judged.is_empty() {
        bail!("the judge cannot read {prompt:?}");
    }
    let success_rate = judged.iter().sum::<f64>() / judged.len() as f64;
    let (prompt, model_sha256) = (prompt.to_owned(), workbench.model_sha256.clone());
    Ok(Candidate { prompt, model_sha256, images, success_rate })
}

//! Chooses the prompts: candidates are tried in the order of their hash until each half of each category is full.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use noisefind::core::policy::NoisePolicy;
use noisefind::evaluator::fresh_seeds;
use serde::{Deserialize, Serialize};

use crate::candidates::Grammar;
use crate::prompts::{self, Category, Half, Prompt};
use crate::records;
use crate::say;
use crate::workbench::{Workbench, WorkbenchArgs};

/// Seeds of the images that decide about a candidate, and of those that confirm it; no tuning run has them.
const SEED: u64 = u64::MAX;
const CONFIRMING_SEED: u64 = u64::MAX - 1;

/// Measure candidates and write the prompt list
///
/// Candidates are tried in the order of their SHA-256; one is chosen where the judge accepts no less than `--least` and
/// no more than `--greatest` of 32 base images, until each half of each category has its share. Nothing is tuned, and nothing is
/// left out afterwards. Few images choose prompts that had luck: `--confirm` has other images decide about those that pass.
#[derive(Args)]
pub struct ChooseArgs {
    #[command(flatten)]
    workbench: WorkbenchArgs,
    /// Search this category only
    #[arg(long, value_enum)]
    category: Option<Category>,
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
    /// Further base images or clips that alone decide about a candidate that passed with the first; 0 for none
    #[arg(long, default_value_t = 0)]
    confirm: u32,
    /// Candidates a category after which the list keeps the prompts that were found
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
    /// Whether they are those of `--confirm`.
    #[serde(default)]
    confirming: bool,
    /// Share of the base images that the judge accepts.
    success_rate: f64,
}

fn thirty_two() -> u32 {
    32
}

/// Runs the command.
pub fn choose(args: &ChooseArgs) -> Result<()> {
    let grammar = Grammar::read(&args.grammar)?;
    let mut measurements = Measurements {
        workbench: args.workbench.open()?,
        known: records::read(&args.measured)?,
        path: &args.measured,
    };
    let mut others = Vec::new();
    for path in &args.without {
        others.extend(prompts::texts(path)?);
    }
    let accepted = args.least..=args.greatest;
    let mut list = format!(
        "# category, a tab, a prompt, a tab, base success on {} images. The first {} in the order of SHA-256{} with\n\
         # base success from {} to {}, for each category and half; made by `bench-method choose`.\n",
        if args.confirm > 0 { args.confirm } else { args.images },
        args.each / 2,
        if args.salt.is_empty() { String::new() } else { format!(" after {:?}", args.salt) },
        args.least,
        args.greatest,
    );
    let is_asked = |category: &Category| args.category.is_none_or(|asked| *category == asked);
    for category in grammar.categories().into_iter().filter(is_asked) {
        let mut counts = [0; 2];
        for text in grammar.candidates(category, &args.salt).into_iter().take(args.most) {
            let prompt = Prompt { category, text };
            let count = &mut counts[usize::from(prompt.half() == Half::HeldOut)];
            if *count == args.each / 2 || others.contains(&prompt.text) {
                continue;
            }
            let mut success_rate = measurements.success_rate(&prompt.text, args.images, false)?;
            if args.confirm > 0 && accepted.contains(&success_rate) {
                success_rate = measurements.success_rate(&prompt.text, args.confirm, true)?;
            }
            if accepted.contains(&success_rate) {
                *count += 1;
                say(&format!("{category:<12} {success_rate:.2} {}", prompt.text));
                writeln!(list, "{category}\t{}\t{success_rate:.3}", prompt.text)?;
            }
            if counts.iter().all(|count| *count == args.each / 2) {
                break;
            }
        }
        if counts.iter().sum::<usize>() < args.each / 2 * 2 {
            let (found, asked) = (counts.iter().sum::<usize>(), args.each / 2 * 2);
            let shortage =
                format!("{category}: only {found} of {asked} prompts in the first {} candidates", args.most);
            say(&shortage);
            writeln!(list, "# {shortage}")?;
        }
    }
    Ok(fs::write(&args.list, list)?)
}

/// What is known of candidates, and the model that tells the rest.
struct Measurements<'a> {
    workbench: Workbench,
    known: Vec<Candidate>,
    path: &'a Path,
}

impl Measurements<'_> {
    /// The base success of a prompt on `images` images, as it was measured before or measured and written down now.
    fn success_rate(&mut self, prompt: &str, images: u32, confirming: bool) -> Result<f64> {
        let is_same = |one: &&Candidate| {
            (one.prompt.as_str(), one.images, one.confirming) == (prompt, images, confirming)
                && one.model_sha256 == self.workbench.model_sha256
        };
        if let Some(known) = self.known.iter().find(is_same) {
            return Ok(known.success_rate);
        }
        let base = NoisePolicy::standard(self.workbench.model.generator.noise_shape());
        let seed = if confirming { CONFIRMING_SEED } else { SEED };
        let sampled = self.workbench.look(prompt, &base, &fresh_seeds(seed, images))?;
        let judged: Vec<f64> = sampled.judgements.iter().filter_map(|judgement| judgement.given()).collect();
        if judged.is_empty() {
            bail!("the judge cannot read {prompt:?}");
        }
        let success_rate = judged.iter().sum::<f64>() / judged.len() as f64;
        let (prompt, model_sha256) = (prompt.to_owned(), self.workbench.model_sha256.clone());
        records::append(self.path, &Candidate { prompt, model_sha256, images, confirming, success_rate })?;
        Ok(success_rate)
    }
}

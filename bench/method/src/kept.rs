//! How often the base would be kept, told from recorded base samples: nothing is generated.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use noisefind::core::noise::SampleKey;
use noisefind::core::rng::{Domain, Stream};
use noisefind::core::statistics::mean;
use noisefind::core::threshold::BaseSuccess;

use crate::cell::Cell;
use crate::methods::BASE;
use crate::prompts::Half;
use crate::records;

/// Orders of the samples of one prompt that are tried.
const ORDERS: u32 = 2000;
/// Samples of one batch, and of two.
const BATCHES: [usize; 2] = [16, 32];

/// Print for each prompt how often `find` would keep the base
///
/// The rewards of the recorded base samples of a prompt are put in 2000 random orders, each of which starts a run.
#[derive(Args)]
pub struct KeptArgs {
    /// Records of cells
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Half of the list
    #[arg(long, value_enum, default_value = "development")]
    half: Half,
    /// Reward that images which show the prompt usually reach
    #[arg(long, default_value_t = 0.5)]
    success_reward: f64,
}

/// The base samples of one prompt.
#[derive(Default)]
struct Base {
    rewards: Vec<f64>,
    success_rates: Vec<f64>,
}

/// How often the base of a prompt is kept, and how often the second batch is from the base too.
struct Kept {
    kept: f64,
    second_batch: f64,
}

/// Runs the command.
pub fn kept(args: &KeptArgs) -> Result<()> {
    let mut bases: BTreeMap<String, Base> = BTreeMap::new();
    for path in &args.records {
        let cells: Vec<Cell> = records::read(path)?;
        for cell in cells.into_iter().filter(|cell| cell.half == args.half && cell.key.method == BASE) {
            let base = bases.entry(cell.key.prompt).or_default();
            base.rewards.extend(cell.rewards.into_iter().flatten());
            base.success_rates.extend(cell.arm.success_rate);
        }
    }
    let mut means = [Vec::new(), Vec::new()];
    let mut table =
        "| prompt | base success | base kept | second batch from the base |\n| --- | --- | --- | --- |\n"
            .to_owned();
    for (prompt, base) in &bases {
        let Kept { kept, second_batch } = base.kept(args.success_reward);
        let success = mean(&base.success_rates);
        table += &format!("| {prompt} | {success:.2} | {kept:.3} | {second_batch:.3} |\n");
        means[0].push(kept);
        means[1].push(second_batch);
    }
    let [kept, second_batch] = means.map(|values| mean(&values));
    #[expect(clippy::print_stdout, reason = "the table is the result of this command")]
    {
        println!("{table}| mean | | {kept:.3} | {second_batch:.3} |");
    }
    Ok(())
}

impl Base {
    fn kept(&self, success_reward: f64) -> Kept {
        let mut stream = Stream::new(SampleKey { seed: 0, iteration: 0, index: 0 }, Domain::Bootstrap);
        let mut rewards = self.rewards.clone();
        let (mut kept, mut second_batch) = (0, 0);
        for _ in 0..ORDERS {
            for at in (1..rewards.len()).rev() {
                rewards.swap(at, stream.below(at + 1));
            }
            for size in BATCHES {
                second_batch += u32::from(size == BATCHES[1]);
                match BaseSuccess::of(&rewards[..size.min(rewards.len())], Some(success_reward)) {
                    BaseSuccess::Enough => {
                        kept += 1;
                        break;
                    }
                    BaseSuccess::Undecided => {}
                    BaseSuccess::TooLittle => break,
                }
            }
        }
        let fraction = |count: u32| f64::from(count) / f64::from(ORDERS);
        Kept { kept: fraction(kept), second_batch: fraction(second_batch) }
    }
}

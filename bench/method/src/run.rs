//! Measures every cell that is not recorded yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use noisefind::comparison::{Arm, vendi_score};
use noisefind::core::policy::NoisePolicy;
use noisefind::core::ports::Reward;
use noisefind::core::statistics::{
    expected_best_of_n, expected_of_best, mean, standard_deviation, standardised_gain,
};
use noisefind::evaluator::{Evaluated, fresh_seeds};
use noisefind::verify::{MOST_TRIES, seed_of_try};

use crate::cell::{BestOf, Cell, Key, VerifiedArm};
use crate::learn::learn;
use crate::methods::{BASE, Method, Recipe};
use crate::prompts::{self, Category, Half, Prompt};
use crate::workbench::{Workbench, WorkbenchArgs};
use crate::{records, say};

/// Sizes of best-of-n that are told of every base cell.
const BEST_OF: [usize; 5] = [2, 4, 6, 8, 16];

/// Distance of images at which the Vendi score counts them as well apart: the usual distance of two images of the
/// default model is 0.25.
const VENDI_BANDWIDTH: f64 = 0.1;

/// Measure every (prompt, method, seed) that is not recorded yet
///
/// Each finished cell is one line of JSON in the record; a stopped measurement goes on where it was. The base of
/// every prompt and seed is measured first, and best-of-n comes with it.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    workbench: WorkbenchArgs,
    /// Prompt list
    #[arg(long, default_value = "bench/method/prompts.tsv")]
    prompts: PathBuf,
    /// Method to measure; repeatable, and several go in one word with commas
    #[arg(long, value_delimiter = ',', default_value = "find")]
    method: Vec<String>,
    /// Settings of a run as a TOML file, measured under the file's name; repeatable
    #[arg(long, value_name = "FILE")]
    method_file: Vec<PathBuf>,
    /// Seeds of learning and of the fresh images, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    seed: Vec<u64>,
    /// Half of the list to measure [default: both]
    #[arg(long, value_enum)]
    half: Option<Half>,
    /// Category to measure [default: all]
    #[arg(long, value_enum)]
    category: Option<Category>,
    /// At most this many prompts of each category and half
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Images generated and scored for learning
    #[arg(long, default_value_t = 160)]
    evaluations: usize,
    /// Fresh images of each cell
    #[arg(long, default_value_t = 64)]
    samples: u32,
    /// Measure part K of N only, so that N processes share the work, each with a record of its own
    #[arg(long, value_name = "K/N", value_parser = parse_part, default_value = "1/1")]
    part: (usize, usize),
    /// Record to append to
    #[arg(long, default_value = "target/bench-method/cells.jsonl")]
    record: PathBuf,
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let methods = args.method.iter().map(|name| Method::named(name));
    let methods = methods.chain(args.method_file.iter().map(|path| Method::from_file(path)));
    let methods = methods.collect::<Result<Vec<_>>>()?;
    let prompts = args.selected(prompts::read(&args.prompts)?);
    let mut workbench = args.workbench.open()?;
    let mut cells: Vec<Cell> = records::read(&args.record)?;
    let base = Method { name: BASE.to_owned(), recipe: Recipe::Base };
    let pairs = args.seed.iter().flat_map(|seed| prompts.iter().map(move |prompt| (*seed, prompt)));
    let (part, parts) = args.part;
    for (seed, prompt) in pairs.skip(part - 1).step_by(parts) {
        for method in std::iter::once(&base).chain(methods.iter().filter(|method| method.name != BASE)) {
            let key = args.key(&workbench, prompt, method, seed);
            if cells.iter().any(|cell| cell.key == key) {
                continue;
            }
            let base = Key { method: BASE.to_owned(), budget: 0, ..key.clone() };
            let base = cells.iter().find(|cell| cell.key == base);
            let cell = measure(&mut workbench, prompt, method, key, base)?;
            records::append(&args.record, &cell)?;
            say(&told(&cell));
            cells.push(cell);
        }
    }
    Ok(())
}

impl RunArgs {
    fn selected(&self, prompts: Vec<Prompt>) -> Vec<Prompt> {
        let mut counts = BTreeMap::new();
        let mut wanted = |prompt: &Prompt| {
            let count: &mut usize = counts.entry((prompt.category, prompt.half())).or_default();
            *count += 1;
            self.half.is_none_or(|half| prompt.half() == half)
                && self.category.is_none_or(|category| prompt.category == category)
                && self.limit.is_none_or(|limit| *count <= limit)
        };
        prompts.into_iter().filter(|prompt| wanted(prompt)).collect()
    }

    fn key(&self, workbench: &Workbench, prompt: &Prompt, method: &Method, seed: u64) -> Key {
        Key {
            prompt: prompt.text.clone(),
            method: method.name.clone(),
            budget: if matches!(method.recipe, Recipe::Base) { 0 } else { self.evaluations },
            seed,
            samples: self.samples,
            model_sha256: workbench.model_sha256.clone(),
        }
    }
}

fn measure(
    workbench: &mut Workbench,
    prompt: &Prompt,
    method: &Method,
    key: Key,
    base: Option<&Cell>,
) -> Result<Cell> {
    let learnt = learn(workbench, &prompt.text, &method.recipe, key.budget, key.seed)?;
    let sampled = workbench.look(&prompt.text, &learnt.policy, &fresh_seeds(key.seed, key.samples))?;
    let rewards: Vec<Option<f64>> = sampled.rewards.iter().map(Reward::given).collect();
    let arm = Arm::new(&sampled, key.seed);
    let successes = successes(&sampled);
    let success_diversity = Arm::new(&successes, key.seed).diversity;
    let gain = base.and_then(|base| standardised_gain(&base.rewards, &rewards, key.seed));
    let base_diversity = base.and_then(|base| base.arm.diversity).filter(|diversity| *diversity > 0.0);
    let verified = match learnt.threshold {
        Some(threshold) => Some(verify(workbench, &prompt.text, &learnt.policy, threshold, &sampled)?),
        None => None,
    };
    let verified = verified.map(|arm| VerifiedArm {
        diversity_ratio: arm.diversity_ratio.zip(base_diversity).map(|(own, base)| own / base),
        ..arm
    });
    Ok(Cell {
        category: prompt.category,
        half: prompt.half(),
        evaluations: learnt.evaluations,
        learning_seconds: learnt.seconds,
        stop_reason: learnt.stop_reason,
        curve: learnt.curve,
        kl_nats: Some(learnt.policy.kl_nats()),
        noise_norm_ratio: Some(noise_norm_ratio(&learnt.policy)),
        diversity_ratio: arm.diversity.zip(base_diversity).map(|(own, base)| own / base),
        held_out: held_out(workbench, &sampled),
        judgements: sampled.judgements.iter().map(Reward::given).collect(),
        success_diversity,
        success_vendi: vendi_score(&successes.media, VENDI_BANDWIDTH),
        success_diversity_ratio: None,
        verified,
        best_of: if base.is_none() { best_of(&sampled) } else { Vec::new() },
        standardised_gain: gain.map(|gain| gain.value),
        standardised_gain_ci95: gain.map(|gain| [gain.low, gain.high]),
        arm,
        rewards,
        key,
    })
}

/// The samples that the judge accepts.
fn successes(sampled: &Evaluated) -> Evaluated {
    let judged = sampled.media.iter().zip(&sampled.judgements);
    let accepted = judged.filter(|(_, judgement)| judgement.given().is_some_and(|value| value >= 0.5));
    Evaluated { media: accepted.map(|(media, _)| media.clone()).collect(), ..Evaluated::default() }
}

/// `first` after further tries of what is below `threshold`, as `sample --verify` makes them; its diversity is not
/// divided by that of the base yet.
fn verify(
    workbench: &mut Workbench,
    prompt: &str,
    policy: &NoisePolicy,
    threshold: f64,
    first: &Evaluated,
) -> Result<VerifiedArm> {
    let reward_of = |sampled: &Evaluated, at: usize| sampled.rewards[at].given().unwrap_or(f64::NEG_INFINITY);
    let mut kept = first.clone();
    let mut generations = first.seeds.len();
    for k in 1..MOST_TRIES {
        let pending: Vec<usize> =
            (0..kept.seeds.len()).filter(|&at| reward_of(&kept, at) < threshold).collect();
        let seeds: Vec<u64> = pending.iter().map(|&at| seed_of_try(first.seeds[at], k)).collect();
        let again = workbench.look(prompt, policy, &seeds)?;
        generations += seeds.len();
        for (from, &to) in pending.iter().enumerate() {
            if reward_of(&again, from) > reward_of(&kept, to) {
                kept.rewards[to] = again.rewards[from].clone();
                kept.judgements[to] = again.judgements[from].clone();
                kept.media[to] = again.media[from].clone();
            }
        }
    }
    let arm = Arm::new(&kept, 0);
    Ok(VerifiedArm {
        threshold,
        success_rate: arm.success_rate,
        generations_per_image: generations as f64 / kept.seeds.len().max(1) as f64,
        diversity_ratio: arm.diversity,
    })
}

/// `sqrt(E |z|^2 / d)`.
fn noise_norm_ratio(policy: &NoisePolicy) -> f64 {
    let (means, sigmas) = (policy.stacked_mean(), policy.stacked_sigma());
    let squares: Vec<f64> = means
        .iter()
        .zip(&sigmas)
        .map(|(mean, sigma)| f64::from(*mean).powi(2) + f64::from(*sigma).powi(2))
        .collect();
    mean(&squares).sqrt()
}

fn held_out(workbench: &Workbench, sampled: &Evaluated) -> BTreeMap<String, Option<f64>> {
    let mean_of = |rewards: &[Reward]| {
        let given: Vec<f64> = rewards.iter().filter_map(Reward::given).collect();
        (!given.is_empty()).then(|| mean(&given))
    };
    workbench
        .held_out()
        .zip(&sampled.held_out)
        .map(|(name, rewards)| (name.to_owned(), mean_of(rewards)))
        .collect()
}

/// Best-of-n over the images that have a reward and a judgement.
fn best_of(sampled: &Evaluated) -> Vec<BestOf> {
    let both = sampled.rewards.iter().zip(&sampled.judgements);
    let both = both.filter_map(|(reward, judgement)| Some((reward.given()?, judgement.given()?)));
    let (rewards, judgements): (Vec<f64>, Vec<f64>) = both.unzip();
    let (base, spread) = (mean(&rewards), standard_deviation(&rewards));
    let of = |n| {
        let reward_mean = expected_best_of_n(&rewards, n);
        BestOf {
            n,
            reward_mean,
            success_rate: expected_of_best(&rewards, &judgements, n),
            standardised_gain: reward_mean.filter(|_| spread > 0.0).map(|reward| (reward - base) / spread),
        }
    };
    BEST_OF.into_iter().map(of).collect()
}

fn told(cell: &Cell) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    format!(
        "{:<34} {:<30} seed {} success {} gain {} diversity {} verified {} at {} evaluations {} {:.0} s {}",
        cell.key.prompt,
        cell.key.method,
        cell.key.seed,
        number(cell.arm.success_rate),
        number(cell.standardised_gain),
        number(cell.diversity_ratio),
        number(cell.verified.and_then(|arm| arm.success_rate)),
        number(cell.verified.map(|arm| arm.generations_per_image)),
        cell.evaluations,
        cell.learning_seconds,
        cell.stop_reason,
    )
}

fn parse_part(text: &str) -> Result<(usize, usize), String> {
    let numbers =
        text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if 1 <= part && part <= parts => Ok((part, parts)),
        _ => Err(format!("expected K/N with K from 1 to N, found {text}")),
    }
}

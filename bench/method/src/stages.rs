//! What the clean estimate in the middle of a run tells of the image at its end, whether it pays to give up what it
//! scores low, and what a noise tells of the same noise under another prompt.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use noisefind::core::noise::Noise;
use noisefind::core::policy::NoisePolicy;
use noisefind::core::ports::Reward;
use noisefind::core::rng::NoiseSource;
use noisefind::evaluator::{fresh_seeds, noise_of};
use serde::{Deserialize, Serialize};

use crate::prompts::{self, Category, Half, Prompt};
use crate::workbench::{GENERATION_BATCH, Workbench, WorkbenchArgs};
use crate::{records, say};

/// Their seed, for every prompt, so that each has the same noises; no tuning run has it.
const SEED: u64 = u64::MAX - 1;

/// Score the clean estimates of base images in the middle of their runs
///
/// Each prompt is one line of JSON in the record; a stopped measurement goes on where it was.
#[derive(Args)]
pub struct StagesArgs {
    #[command(flatten)]
    workbench: WorkbenchArgs,
    /// Prompt list, of which the development half is measured
    #[arg(long, default_value = "bench/method/prompts.tsv")]
    prompts: PathBuf,
    /// Calls of the denoiser after which the clean estimate is scored, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    calls: Vec<usize>,
    /// Calls of a whole run
    #[arg(long, default_value_t = 4)]
    run_calls: usize,
    /// Images a prompt
    #[arg(long, default_value_t = 48)]
    images: u32,
    /// Record to append to
    #[arg(long, default_value = "bench/results/stages.jsonl")]
    record: PathBuf,
}

/// The images of one prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stages {
    /// The prompt.
    pub prompt: String,
    /// What it asks of the model.
    pub category: Category,
    /// Name of the model.
    pub model: String,
    /// SHA-256 over its files.
    pub model_sha256: String,
    /// Calls of a whole run.
    pub run_calls: usize,
    /// The rewards of the clean estimates after so many calls, image by image.
    pub estimates: Vec<(usize, Vec<Option<f64>>)>,
    /// The reward of each image.
    pub rewards: Vec<Option<f64>>,
    /// What the judge says of each.
    pub judgements: Vec<Option<f64>>,
    /// Seconds of a call of the denoiser, for one image.
    pub call_seconds: f64,
    /// Seconds of decoding and scoring an image.
    pub score_seconds: f64,
}

/// Runs the command.
pub fn stages(args: &StagesArgs) -> Result<()> {
    let prompts = prompts::read(&args.prompts)?;
    let mut workbench = args.workbench.open()?;
    let known: Vec<Stages> = records::read(&args.record)?;
    for prompt in prompts.iter().filter(|prompt| prompt.half() == Half::Development) {
        let is_measured = |one: &Stages| {
            one.prompt == prompt.text
                && one.model_sha256 == workbench.model_sha256
                && one.run_calls == args.run_calls
        };
        if known.iter().any(is_measured) {
            continue;
        }
        let measured = measure(&mut workbench, args, prompt)?;
        let share = measured.score_seconds / measured.call_seconds;
        records::append(&args.record, &measured)?;
        say(&format!("{:<34} decoding and scoring take {share:.2} calls", prompt.text));
    }
    Ok(())
}

fn measure(workbench: &mut Workbench, args: &StagesArgs, prompt: &Prompt) -> Result<Stages> {
    let Prompt { category, text: prompt } = prompt;
    let base = NoisePolicy::standard(workbench.model.generator.noise_shape());
    let seeds = fresh_seeds(SEED, args.images);
    let noises: Vec<Noise> = seeds.iter().map(|seed| noise_of(&base, NoiseSource::Philox, *seed)).collect();
    let sampled = workbench.look(prompt, &base, &seeds)?;
    let mut estimates: Vec<(usize, Vec<Option<f64>>)> =
        args.calls.iter().map(|calls| (*calls, Vec::new())).collect();
    let (generator, scorer) = (&mut *workbench.model.generator, &mut *workbench.scorer);
    let (mut one_call, mut whole, mut scoring) = (0.0, 0.0, 0.0);
    for batch in noises.chunks(GENERATION_BATCH) {
        let mut estimated = |calls: &[usize]| {
            let began = Instant::now();
            let media = generator.clean_estimates(prompt, batch, calls);
            media.map(|media| (media, began.elapsed().as_secs_f64()))
        };
        one_call += estimated(&[1]).map_err(anyhow::Error::from_boxed)?.1;
        whole += estimated(&[args.run_calls]).map_err(anyhow::Error::from_boxed)?.1;
        let (media, _) = estimated(&args.calls).map_err(anyhow::Error::from_boxed)?;
        let began = Instant::now();
        for of_noise in media {
            let rewards = scorer.score(prompt, &of_noise).map_err(anyhow::Error::from_boxed)?;
            for ((_, of_calls), reward) in estimates.iter_mut().zip(rewards) {
                of_calls.push(reward.given());
            }
        }
        scoring += began.elapsed().as_secs_f64() / args.calls.len() as f64;
    }
    let images = noises.len() as f64;
    let call_seconds = (whole - one_call) / (args.run_calls - 1) as f64 / images;
    Ok(Stages {
        prompt: prompt.clone(),
        category: *category,
        model: args.workbench.model().to_owned(),
        model_sha256: workbench.model_sha256.clone(),
        run_calls: args.run_calls,
        estimates,
        rewards: sampled.rewards.iter().map(Reward::given).collect(),
        judgements: sampled.judgements.iter().map(Reward::given).collect(),
        call_seconds,
        score_seconds: one_call / images - call_seconds + scoring / images,
    })
}

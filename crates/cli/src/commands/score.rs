//! `noisefind score`: score files that exist.

use std::path::PathBuf;

use clap::Args;
use noisefind::config::{LoadingConfig, TuneOptions};
use noisefind::score::score;

use crate::exit::Outcome;
use crate::output::print_json;

/// Score images or clips against a prompt; prints one JSON object for each file and scorer
#[derive(Args)]
pub struct Flags {
    /// Images (PNG, JPEG, WebP, GIF, BMP or TIFF), clips (animated GIF or WebP), or folders with the frames of one clip
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the images should show
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Scorer: a name, with the folder or the hub id of its weights, or a program; repeatable [default: the model's own]
    #[arg(long = "reward", value_name = "NAME|NAME:DIR|NAME:HUB_ID|exec:COMMAND")]
    rewards: Vec<String>,
    /// Frames of a clip, evenly spread, that scorers of images score [default: all]
    #[arg(long, value_name = "N")]
    reward_frames: Option<usize>,
    #[command(flatten)]
    loading: LoadingConfig,
}

/// Runs the command.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let mut options = TuneOptions { prompt: Some(flags.prompt), ..flags.loading.into() };
    options.generation.reward_frames = flags.reward_frames;
    score::<anyhow::Error>(&flags.files, &options, &flags.rewards, |scored| print_json(&scored))?;
    Ok(Outcome::Done)
}

//! `noisefind sample`: generate from a policy.

use std::path::PathBuf;

use clap::Args;
use noisefind::config::{GenerationConfig, TuneOptions};
use noisefind::sample::{SampleRequest, sample};
use noisefind::verify::{MOST_TRIES, Verified, Verify};

use crate::exit::Outcome;
use crate::interrupt;
use crate::output::{print, print_json};
use crate::progress::Progress;

/// Generate images or clips from a policy, or from the standard normal that every model starts from
///
/// Prompt, model and generation settings are those that the policy was tuned with, unless a flag says otherwise.
#[derive(Args)]
pub struct Flags {
    /// Run folder or policy.safetensors; without one, the noise is standard normal
    #[arg(value_name = "RUN|POLICY")]
    policy: Option<PathBuf>,
    /// What the samples should show [default: the policy's own prompt]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// How many samples
    #[arg(short = 'n', value_name = "N", default_value_t = 8)]
    count: u32,
    /// Seed of the first sample; the others follow one by one
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Noises to use in place of the policy's: tensor "noise", [N, C, (F,) h, w], unit space
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "count")]
    noise: Option<PathBuf>,
    /// Write the noises that the samples start from, for --noise or for diffusers
    #[arg(long, value_name = "FILE.safetensors")]
    save_noise: Option<PathBuf>,
    /// Write the final latents before decoding: tensor "latents", [N, C, (F,) h, w]
    #[arg(long, value_name = "FILE.safetensors")]
    save_latents: Option<PathBuf>,
    /// Score each image and generate it again, up to 8 times, while its reward is below THRESHOLD [default threshold: the
    /// policy's own]
    #[arg(long, value_name = "THRESHOLD", num_args = 0..=1, require_equals = true)]
    verify: Option<Option<f64>>,
    #[command(flatten)]
    generation: GenerationConfig,
    /// Folder for the samples: seed-SEED.png; of clips .webp, .gif, .mp4 with ffmpeg, and the frames as -strip.png. Nothing is
    /// overwritten [default: a new one, samples/PROMPT-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write all samples on one sheet; of clips, one that ends in .webp or .gif plays
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Print one JSON object instead of the list of files
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    interrupt::listen();
    let request = SampleRequest {
        policy: flags.policy,
        options: TuneOptions { prompt: flags.prompt, ..flags.generation.into() },
        count: flags.count,
        seed: flags.seed,
        noise: flags.noise,
        save_noise: flags.save_noise,
        save_latents: flags.save_latents,
        verify: flags.verify.map(|threshold| threshold.map_or(Verify::PolicyThreshold, Verify::Threshold)),
        out: flags.out,
        grid: flags.grid,
    };
    let mut progress = Progress::new();
    let sampled = sample(&request, &mut progress)?;
    progress.finish();
    if flags.json {
        print_json(&sampled)?;
    } else {
        let mut files = sampled.images.iter().map(|image| &image.file).chain(&sampled.grid);
        files.try_for_each(|file| print(&file.display().to_string()))?;
        if let Some(verified) = &sampled.verified {
            print(&verified_line(verified))?;
        }
    }
    Ok(match interrupt::requested() {
        true => Outcome::Interrupted("interrupted; what was generated so far is saved".to_owned()),
        false => Outcome::Done,
    })
}

/// What verification reached, in one line.
fn verified_line(verified: &Verified) -> String {
    let Verified { threshold, samples, reached, generations, generations_per_image } = verified;
    let rest = match samples - reached {
        0 => String::new(),
        rest => format!("; {rest} are the best of {MOST_TRIES} tries"),
    };
    format!(
        "{reached} of {samples} reach a reward of {threshold:.4}, at {generations_per_image:.2} generations an image \
         ({generations} in all){rest}"
    )
}

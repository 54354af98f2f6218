//! `noisefind tune`: learn a noise policy for one prompt.

use std::path::{Path, PathBuf};

use clap::Args;
use noisefind::config::TuneOptions;
use noisefind::core::run::StopReason;
use noisefind::prompts::{PromptsRequest, PromptsTuned, Shard, tune_prompts};
use noisefind::rundir::IfOccupied;
use noisefind::sample::read_policy;
use noisefind::tune::{TuneRequest, Tuned, tune};

use crate::exit::Outcome;
use crate::interrupt;
use crate::method::MethodFlags;
use crate::output::{print, print_json, say};
use crate::progress::Progress;
use crate::table;

/// Learn a noise policy for one prompt
///
/// The frozen model generates samples, a scorer rewards them, and the distribution of the initial noise moves towards high
/// rewards. The result is a small policy file to sample from, with a comparison of base and tuned on fresh seeds.
#[derive(Args)]
pub struct Flags {
    /// What the samples should show, for example "a green dog"
    #[arg(required_unless_present_any = ["config", "resume", "prompts"])]
    prompt: Option<String>,
    /// Tune every prompt of this file, one a line (blank lines and lines that begin with # are skipped), each in its
    /// own folder below --out [default: runs/FILE]. The same command goes on where it was stopped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "resume"])]
    prompts: Option<PathBuf>,
    /// Tune only the prompts of --prompts whose hash belongs to part I of N, with I from 0: for N machines side by side
    #[arg(long, value_name = "I/N", requires = "prompts")]
    shard: Option<Shard>,
    #[command(flatten)]
    options: TuneOptions,
    #[command(flatten)]
    method: MethodFlags,
    /// Run folder to make, or the folder of the run folders of --prompts [default: runs/DAY-PROMPT-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace the run that --out holds, or all runs of --prompts
    #[arg(long)]
    force: bool,
    /// Take from this file what no flag gives; config.toml of a run repeats that run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on with the run in this folder, as if it had never stopped; its config decides everything
    #[arg(long, value_name = "DIR", conflicts_with_all = ["prompt", "config", "out", "force"])]
    resume: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(flags: Flags) -> anyhow::Result<Outcome> {
    let json = flags.json;
    let work = work(flags)?;
    interrupt::listen();
    let mut progress = Progress::new();
    match work {
        Work::One(request) => {
            let tuned = tune(&request, &mut progress);
            progress.finish();
            one(&tuned?, json)
        }
        Work::List(request) => {
            let tuned = tune_prompts(&request, &mut progress);
            progress.finish();
            list(&tuned?, json)
        }
    }
}

/// One prompt, or a list of them.
enum Work {
    One(TuneRequest),
    List(Box<PromptsRequest>),
}

fn work(flags: Flags) -> noisefind::Result<Work> {
    let from_file = flags.config.as_deref().map(TuneOptions::read).transpose()?.unwrap_or_default();
    let method = flags.method.config(from_file.method.as_ref())?;
    let options = TuneOptions { prompt: flags.prompt, method, ..flags.options };
    if let Some(run) = flags.resume {
        return resume(run, options);
    }
    let if_occupied = if flags.force { IfOccupied::Replace } else { IfOccupied::Refuse };
    let (options, out) = (options.or(from_file), flags.out);
    match flags.prompts {
        Some(_) if options.prompt.is_some() => {
            let reason = "--prompts names the prompts; take `prompt` out of the --config file";
            Err(noisefind::Error::Usage(reason.to_owned()))
        }
        Some(file) => {
            Ok(Work::List(Box::new(PromptsRequest { file, options, out, if_occupied, shard: flags.shard })))
        }
        None => Ok(Work::One(TuneRequest::New { options: Box::new(options), out, if_occupied })),
    }
}

/// A run goes on with its own settings; where and how the model runs may change.
fn resume(run: PathBuf, options: TuneOptions) -> noisefind::Result<Work> {
    let mut loading = options.generation.loading.clone();
    let dtype = loading.dtype.take();
    if dtype.is_some() || options != loading.clone().into() {
        let reason = "--resume goes on with the settings of its run; of them only --model, --device, --generation-batch, \
                      --start-timeout-seconds and --request-timeout-seconds may be given anew";
        return Err(noisefind::Error::Usage(reason.to_owned()));
    }
    Ok(Work::One(TuneRequest::Resume { run, loading: Box::new(loading) }))
}

fn one(tuned: &Tuned, json: bool) -> anyhow::Result<Outcome> {
    if json {
        print_json(tuned)?;
    } else if tuned.stop_reason != StopReason::Interrupted {
        print(&summary(tuned))?;
    }
    Ok(match tuned.stop_reason {
        StopReason::Interrupted => Outcome::Interrupted(format!(
            "interrupted after {} evaluations; everything is saved, go on with: noisefind tune --resume {}",
            tuned.evaluations,
            tuned.run.display()
        )),
        _ => Outcome::Done,
    })
}

fn list(tuned: &PromptsTuned, json: bool) -> anyhow::Result<Outcome> {
    if json {
        print_json(tuned)?;
    } else if !tuned.runs.is_empty() {
        print(&table::prompts(tuned))?;
    }
    for failed in &tuned.failed {
        say(&format!("{:?} came to no result: {}", failed.prompt, failed.error));
    }
    if tuned.not_reached > 0 {
        let left = tuned.not_reached;
        let reason =
            format!("interrupted with {left} prompts left; everything is saved, the same command goes on");
        return Ok(Outcome::Interrupted(reason));
    }
    let count = tuned.failed.len();
    anyhow::ensure!(count == 0, "{count} prompts came to no result; the same command tries them again");
    Ok(Outcome::Done)
}

/// The table, the paths, and how to go on from Python.
fn summary(tuned: &Tuned) -> String {
    let comparison = tuned.comparison.as_ref().map(table::comparison).unwrap_or_default();
    let path = |name: &str| tuned.run.join(name).display().to_string();
    // Clips play in the animation, and their frames stand on the strip.
    let clips = match tuned.run.join("strip.png").is_file() {
        true => format!("clips   {}\nstrip   {}\n", path("grid.webp"), path("strip.png")),
        false => String::new(),
    };
    format!(
        "{comparison}\nstopped because {}\n\n{clips}grid    {}\ncurve   {}\nreport  {}\npolicy  {}\n\n{}",
        tuned.stop_reason.why(),
        path("grid.png"),
        path("curve.png"),
        path("report.html"),
        path("policy.safetensors"),
        python(&tuned.run.join("policy.safetensors")),
    )
}

/// Two lines that sample from the policy with any diffusers pipeline of the same model.
fn python(policy: &Path) -> String {
    let file = read_policy(policy);
    let components = file.as_ref().map_or(1, |file| file.component_count());
    // Channels, frames, rows and columns: a pipeline of clips takes their noises one by one.
    let is_clip = file.is_ok_and(|file| file.provenance.noise_shape.len() == 4);
    let (turn, of_turn, shape) = if components > 1 {
        (format!("; turn = torch.arange(8) % {components}"), "[turn]", "[1:]")
    } else {
        (String::new(), "", "")
    };
    let noise =
        format!("p[\"mu\"]{of_turn} + p[\"sigma\"]{of_turn} * torch.randn(8, *p[\"mu\"].shape{shape})");
    let sampled = if is_clip {
        format!("clips = [pipe(prompt, num_frames=z.shape[1], latents=z[None]).frames[0] for z in {noise}]")
    } else {
        format!("images = pipe(prompt, num_images_per_prompt=8, latents={noise}).images")
    };
    format!(
        "in Python, with a diffusers pipeline of the same model:\n\
         \x20 p = safetensors.torch.load_file({:?}){turn}\n\
         \x20 {sampled}",
        policy.display().to_string(),
    )
}

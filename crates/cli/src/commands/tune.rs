//! `noisefind tune`: learn a noise policy for one prompt.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use noisefind::config::TuneOptions;
use noisefind::core::rng::NoiseSource;
use noisefind::core::run::StopReason;
use noisefind::prompts::{PromptsRequest, PromptsTuned, tune_prompts};
use noisefind::reward::{RewardScale, RewardTerm};
use noisefind::rundir::IfOccupied;
use noisefind::sample::read_policy;
use noisefind::tune::{TuneRequest, Tuned, tune};

use crate::exit::Outcome;
use crate::flags::{GenerationFlags, NoiseRng};
use crate::interrupt;
use crate::method::MethodFlags;
use crate::output::{print, print_json, say};
use crate::progress::Progress;
use crate::table;

/// Learn a noise policy for one prompt
///
/// Pictures are drawn from the frozen model and scored; the distribution of the initial noise moves towards
/// what scores well. The result is a small file to sample from, with pictures and numbers that show the gain
/// on fresh seeds.
#[derive(Args)]
pub struct Flags {
    /// What should be drawn, for example "a green dog"
    #[arg(required_unless_present_any = ["config", "resume", "prompts"])]
    prompt: Option<String>,
    /// Tune every prompt of this file, one a line (blank lines and lines that begin with # are skipped), each in its
    /// own folder below --out [default: runs/FILE]. The same command goes on where it was stopped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "resume"])]
    prompts: Option<PathBuf>,
    /// Scorer to climb: a name with the folder or the hub id of its weights, or a program; `noisefind doctor` lists the names.
    /// Repeatable: the sum is climbed, each by its WEIGHT, which stands before the colon (what follows the colon
    /// may hold any character) and is negative to avoid what the scorer likes [default: the model's own]
    #[arg(long, value_name = "NAME[=WEIGHT][:DIR|:HUB_ID]|exec[=WEIGHT]:COMMAND")]
    reward: Vec<RewardTerm>,
    /// Scale in which several rewards are summed [default: standardised]
    #[arg(long, value_enum)]
    reward_scale: Option<Scale>,
    /// Held-out scorer: measured at every step and never climbed, it ends the run where it falls; repeatable
    #[arg(long, value_name = "NAME[:DIR]|exec:COMMAND")]
    watch: Vec<String>,
    /// Judge of the final comparison, never climbed [default: the model's own]
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    #[command(flatten)]
    method: MethodFlags,
    /// Budget: pictures to generate and score while tuning [default: 160]
    #[arg(long, value_name = "N")]
    evaluations: Option<usize>,
    /// Seconds after which tuning stops at the next step [default: no limit]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    max_seconds: Option<f64>,
    /// Pictures a step of the method, at most the budget [default: 16]
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Pictures computed together: memory and speed, never a result [default: 8]
    #[arg(long, value_name = "B")]
    generation_batch: Option<usize>,
    /// Names every random number of the run; the same seed gives the same policy [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Generator of initial noise and of the noise of stochastic steps [default: philox]
    #[arg(long, value_enum)]
    noise_rng: Option<NoiseRng>,
    /// Fresh pictures, for base and tuned each, of the final comparison [default: 32]
    #[arg(long, value_name = "N")]
    samples: Option<u32>,
    #[command(flatten)]
    generation: GenerationFlags,
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

#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// In standard deviations above the mean of the model as it is, measured on the first batch
    Standardised,
    /// In each scorer's own units
    Raw,
}

impl From<Scale> for RewardScale {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::Standardised => Self::Standardised,
            Scale::Raw => Self::Raw,
        }
    }
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
    let options = TuneOptions {
        prompt: flags.prompt,
        reward: Some(flags.reward).filter(|terms| !terms.is_empty()),
        reward_scale: flags.reward_scale.map(RewardScale::from),
        watch: Some(flags.watch).filter(|names| !names.is_empty()),
        judge: flags.judge,
        method: flags.method.config(from_file.method.as_ref())?,
        evaluations: flags.evaluations,
        max_seconds: flags.max_seconds,
        batch_size: flags.batch_size,
        generation_batch: flags.generation_batch,
        seed: flags.seed,
        noise_rng: flags.noise_rng.map(NoiseSource::from),
        samples: flags.samples,
        ..flags.generation.options()
    };
    if let Some(run) = flags.resume {
        if options != TuneOptions::default() {
            let reason = "--resume goes on with the settings of its run; leave out every other setting";
            return Err(noisefind::Error::Usage(reason.to_owned()));
        }
        return Ok(Work::One(TuneRequest::Resume { run }));
    }
    let if_occupied = if flags.force { IfOccupied::Replace } else { IfOccupied::Refuse };
    let (options, out) = (options.or(from_file), flags.out);
    match flags.prompts {
        Some(_) if options.prompt.is_some() => {
            let reason = "--prompts names the prompts; take `prompt` out of the --config file";
            Err(noisefind::Error::Usage(reason.to_owned()))
        }
        Some(file) => Ok(Work::List(Box::new(PromptsRequest { file, options, out, if_occupied }))),
        None => Ok(Work::One(TuneRequest::New { options: Box::new(options), out, if_occupied })),
    }
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
    format!(
        "{comparison}\nstopped because {}\n\ngrid    {}\ncurve   {}\nreport  {}\npolicy  {}\n\n{}",
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
    let gaussians = read_policy(policy).map_or(1, |file| file.gaussian_count());
    let (turn, of_turn, shape) = if gaussians > 1 {
        (format!("; turn = torch.arange(8) % {gaussians}"), "[turn]", "[1:]")
    } else {
        (String::new(), "", "")
    };
    format!(
        "in Python, with a diffusers pipeline of the same model:\n\
         \x20 p = safetensors.torch.load_file({:?}){turn}\n\
         \x20 images = pipe(prompt, num_images_per_prompt=8, \
         latents=p[\"mu\"]{of_turn} + p[\"sigma\"]{of_turn} * torch.randn(8, *p[\"mu\"].shape{shape})).images",
        policy.display().to_string(),
    )
}

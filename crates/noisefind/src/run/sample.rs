//! Sampling from a policy, or from the standard normal that every model starts from.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_core::policy::NoisePolicy;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_core::rng::NoiseSource;
use noisefind_core::rollout::{Rollout, Sample, default_generation_batch};
use noisefind_rundir::{PolicyFile, RunReader, file_name_from_prompt, make_free_folder, write_atomic};
use serde::Serialize;

use crate::artifacts::noise_file;
use crate::config::{TuneOptions, checked_prompt, within};
use crate::error::{Error, Result};
use crate::evaluate::evaluator::{Evaluator, Journal, noise_of};
use crate::images::{Cell, Row, animations, grid, grid_clip, mp4, save_frames};
use crate::models::memory::Held;
use crate::models::registry::ModelSource;
use crate::observer::Observer;
use crate::run::verify::{self, Verified, Verify};

/// What to sample.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// Run folder or policy file; `None` samples from N(0, I).
    pub policy: Option<PathBuf>,
    /// Prompt, model and how it generates; where these are silent, the policy's own.
    pub options: TuneOptions,
    /// How many images.
    pub count: u32,
    /// Seed of the first image; the others follow one by one.
    pub seed: u64,
    /// File with the noises to use (tensor `noise`, `[N, C, (F,) h, w]`, unit space) in place of sampled ones; it
    /// decides how many.
    pub noise: Option<PathBuf>,
    /// Where to write the noises that were used, in the same format.
    pub save_noise: Option<PathBuf>,
    /// Where to write the final latents, before decoding: tensor `latents`, `[N, C, (F,) h, w]`.
    pub save_latents: Option<PathBuf>,
    /// Which samples are generated again because their reward is low; `None` keeps the first of each seed.
    pub verify: Option<Verify>,
    /// Folder for the images; `None`: a new one below `samples/`.
    pub out: Option<PathBuf>,
    /// All images on one sheet.
    pub grid: Option<PathBuf>,
}

/// What was sampled; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampled {
    /// What the samples should show.
    pub prompt: String,
    /// Name or folder of the model.
    pub model: String,
    /// One file an image; of a clip a WebP and a GIF file, a strip of its frames, and an MP4 file where ffmpeg is there.
    pub images: Vec<SampledImage>,
    /// What verification reached, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// The sheet.
    pub grid: Option<PathBuf>,
}

/// One file on disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampledImage {
    /// Where it lies.
    pub file: PathBuf,
    /// Generates it again.
    pub seed: u64,
    /// Its reward, where samples are verified and it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
}

/// Generates the images; fewer where the observer interrupts.
///
/// # Errors
/// Where the policy or the model cannot be used, there is no prompt, or a file exists already or cannot be written.
pub fn sample(request: &SampleRequest, observer: &mut dyn Observer) -> Result<Sampled> {
    within("n", Some(request.count), 1..=1_000_000)?;
    within("seed", Some(request.seed), 0..=i64::MAX as u64)?;
    for (flag, path) in [
        ("--grid", &request.grid),
        ("--save-noise", &request.save_noise),
        ("--save-latents", &request.save_latents),
    ] {
        match path {
            Some(path) if path.exists() => return Err(exists(flag, path)),
            _ => {}
        }
    }
    let file = request.policy.as_deref().map(read_policy).transpose()?;
    let given = request.options.clone();
    let options = match &file {
        Some(file) => given.or_recorded(TuneOptions::of_policy(&file.provenance)?),
        None => given,
    };
    let prompt = checked_prompt(options.prompt.as_deref().unwrap_or_default())?;
    let source = ModelSource::of(&options.generation)?;
    let config = options.generation.clone().resolve(source.defaults()?.generation)?;
    let mut model = source.open(&config, prompt)?;
    let shape = model.generator.noise_shape();
    let generation_batch = config.loading.generation_batch.unwrap_or(default_generation_batch(shape));
    if let Some(memory) = model.memory {
        // Noises are there twice while they are handed over.
        let count = u64::from(request.count);
        memory.check(Held { generation_batch, media: count, noises: 2 * count })?;
    }
    let policy = match &file {
        Some(file) => policy_for(file, shape, config.model())?,
        None => NoisePolicy::standard(shape),
    };
    source.prompt_warnings(&model, prompt).iter().for_each(|warning| observer.warned(warning));
    if let Some(file) = &file {
        warn_about_policy(file, &source, prompt, observer)?;
    }

    let rng = config.noise_rng.unwrap_or_default().source(request.count);
    let provenance = file.as_ref().map(|file| &file.provenance);
    let threshold = request.verify.map(|verify| verify.threshold(provenance)).transpose()?;
    if threshold.is_some() && (request.noise.is_some() || matches!(rng, NoiseSource::TorchBatch { .. })) {
        let reason = "--verify generates noises one by one; leave out --noise and --noise-rng torch-batch";
        return Err(Error::Usage(reason.to_owned()));
    }
    let mut scorer = threshold.map(|_| verify::open_scorer(provenance, &source, &config)).transpose()?;
    let reward = scorer.as_deref().map(verify::reward_of).transpose()?;
    let mut rollout = Rollout::new(prompt, &mut *model.generator);
    rollout.rewards.extend(scorer.as_deref_mut().map(|scorer| scorer as &mut dyn Scorer));
    rollout.generation_batch = generation_batch;
    rollout.with_latents = request.save_latents.is_some();
    let seeds: Vec<u64> = (0..u64::from(request.count)).map(|at| request.seed.wrapping_add(at)).collect();
    let given = threshold.is_none().then(|| noises_of(request, &policy, rng)).transpose()?;
    let stems = match &given {
        Some(noises) => noises.iter().map(|noise| stem(rng, noise.key)).collect(),
        None => verify::seeds_of_tries(&seeds).map(|seed| format!("seed-{seed}")).collect(),
    };
    let out = folder(request, prompt, &stems)?;
    let mut saved = Saving { out: &out, prompt, model: config.model(), source: rng, images: Vec::new() };
    let mut evaluator = Evaluator { rollout, reward: reward.as_ref(), source: rng };
    let save_noises = |noises: &[Noise]| match &request.save_noise {
        Some(path) => noise_file::write(path, shape, noises),
        None => Ok(()),
    };
    let (noises, evaluated, verified) = match (threshold, given) {
        (Some(threshold), _) => {
            let (samples, verified) =
                verify::generate(&mut evaluator, &policy, &seeds, threshold, observer, &mut saved)?;
            let noises: Vec<Noise> = samples.iter().map(|sample| sample.noise.clone()).collect();
            save_noises(&noises)?;
            (noises, evaluator.columns(samples.into_iter()), Some(verified))
        }
        (None, given) => {
            let noises = given.unwrap_or_default();
            save_noises(&noises)?;
            let counted = (0, noises.len());
            (noises.clone(), evaluator.evaluate_recorded(noises, counted, observer, &mut saved)?, None)
        }
    };
    let mut images = saved.images;
    let clips = noises.iter().zip(&evaluated.media);
    let clips = clips.map(|(noise, media)| (out.join(stem(rng, noise.key) + ".mp4"), media));
    for file in mp4::save_all(clips, observer) {
        let is_of = |image: &&SampledImage| image.file.with_extension("mp4") == file;
        let of = images.iter().find(is_of);
        let (seed, reward) = of.map_or((request.seed, None), |image| (image.seed, image.reward));
        images.push(SampledImage { file, seed, reward });
    }
    if let Some(path) = &request.save_latents {
        noise_file::write_latents(path, shape, &noises[..evaluated.latents.len()], &evaluated.latents)?;
    }
    if let Some(path) = &request.grid {
        write_atomic(path, &sheet(path, prompt, &evaluated.media, &evaluated.seeds)?)?;
    }
    Ok(Sampled {
        prompt: prompt.to_owned(),
        model: config.model().to_owned(),
        images,
        verified,
        grid: request.grid.clone(),
    })
}

/// The noises that are asked for.
fn noises_of(request: &SampleRequest, policy: &NoisePolicy, rng: NoiseSource) -> Result<Vec<Noise>> {
    Ok(match &request.noise {
        Some(_) if matches!(rng, NoiseSource::TorchBatch { .. }) => {
            return Err(Error::Usage(
                "--noise-rng is torch-batch, which generates all noises of a batch; expected philox or torch with --noise"
                    .into(),
            ));
        }
        Some(path) => noise_file::read(path, policy.shape(), request.seed)?
            .into_iter()
            .map(|noise| noise.with_source(rng))
            .collect(),
        None if matches!(rng, NoiseSource::TorchBatch { .. }) => (0..request.count)
            .map(|index| policy.sample(rng, SampleKey::fresh(request.seed, index)))
            .collect(),
        None => (0..u64::from(request.count))
            .map(|at| noise_of(policy, rng, request.seed.wrapping_add(at)))
            .collect(),
    })
}

/// Saves each sample before the next is generated.
struct Saving<'a> {
    out: &'a Path,
    prompt: &'a str,
    model: &'a str,
    source: NoiseSource,
    images: Vec<SampledImage>,
}

/// The name of the sample `key` without ending.
fn stem(source: NoiseSource, key: SampleKey) -> String {
    match source {
        // Images of one batch have one seed, and are told apart by their index.
        NoiseSource::TorchBatch { .. } => format!("seed-{}-{}", key.seed, key.index),
        NoiseSource::Philox | NoiseSource::Torch => format!("seed-{}", key.seed),
    }
}

impl Journal for Saving<'_> {
    fn known(&mut self, _noise: &Noise) -> Result<Option<Sample>> {
        Ok(None)
    }

    fn record(&mut self, sample: &Sample, reward: Option<&Reward>) -> Result<()> {
        let seed = sample.noise.key.seed;
        let texts = [
            ("prompt", self.prompt.to_owned()),
            ("seed", seed.to_string()),
            ("model", self.model.to_owned()),
        ];
        let stem = stem(self.source, sample.noise.key);
        let files = save_frames(self.out, &stem, &sample.media, &texts)?;
        let reward = reward.and_then(Reward::given);
        self.images.extend(files.into_iter().map(|file| SampledImage { file, seed, reward }));
        Ok(())
    }
}

/// The folder of the samples with these names: a new one where none is asked for. One that holds a file with such a name is
/// refused, because it may be of another prompt or policy.
fn folder(request: &SampleRequest, prompt: &str, stems: &HashSet<String>) -> Result<PathBuf> {
    let Some(folder) = &request.out else {
        let name = format!("{}-{}", file_name_from_prompt(prompt), request.seed);
        return Ok(make_free_folder(Path::new("samples"), &name)?);
    };
    let failed = |source| Error::Read { path: folder.clone(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(folder.clone()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // seed-7.png, seed-7-strip.png, seed-7.webp.
        let whole = name.split('.').next().unwrap_or_default();
        if stems.contains(whole) || whole.strip_suffix("-strip").is_some_and(|stem| stems.contains(stem)) {
            return Err(exists("--out", &entry.path()));
        }
    }
    Ok(folder.clone())
}

fn exists(flag: &str, path: &Path) -> Error {
    Error::Usage(format!("{} exists already and is not overwritten; give another {flag}", path.display()))
}

/// The policy in a file, or in the run folder that holds it.
///
/// # Errors
/// Where there is none, or it does not verify.
pub fn read_policy(path: &Path) -> Result<PolicyFile> {
    if !path.is_dir() {
        return Ok(PolicyFile::read(path)?);
    }
    let reader = RunReader::open(path)?;
    reader.policy()?.ok_or_else(|| {
        let run = path.display();
        Error::Usage(format!(
            "{run} holds a run without a policy yet; finish it with `noisefind tune --resume {run}`"
        ))
    })
}

/// The policy of `file` for a model that takes noise of `shape`.
///
/// # Errors
/// Where the shapes differ.
pub fn policy_for(file: &PolicyFile, shape: NoiseShape, model: &str) -> Result<NoisePolicy> {
    if file.provenance.noise_shape != shape.dims() {
        return Err(Error::PolicyShape {
            policy: file.provenance.noise_shape.clone(),
            model: model.to_owned(),
            found: shape.dims(),
        });
    }
    Ok(NoisePolicy::from_stacked(shape, &file.mu, &file.sigma)?)
}

/// Says what differs from how the policy was tuned.
pub(crate) fn warn_about_policy(
    file: &PolicyFile,
    source: &ModelSource,
    prompt: &str,
    observer: &mut dyn Observer,
) -> Result<()> {
    let tuned = &file.provenance;
    if tuned.model_sha256 != source.sha256()? {
        observer.warned(&format!("the policy was tuned with other weights of {}", tuned.model));
    }
    if tuned.prompt != prompt {
        observer.warned(&format!("the policy was tuned for the prompt {:?}", tuned.prompt));
    }
    Ok(())
}

/// All samples on one sheet: a PNG file, or where `path` ends so an animated WebP or GIF file.
fn sheet(path: &Path, prompt: &str, media: &[Media], seeds: &[u64]) -> Result<Vec<u8>> {
    let cells =
        media.iter().zip(seeds).map(|(media, seed)| Cell { media, caption: seed.to_string(), success: None });
    let mut rows = Vec::<Row<'_>>::new();
    for (at, cell) in cells.enumerate() {
        if at % 8 == 0 {
            rows.push(Row { label: "", cells: Vec::new() });
        }
        if let Some(row) = rows.last_mut() {
            row.cells.push(cell);
        }
    }
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase()).unwrap_or_default();
    if ending != "webp" && ending != "gif" {
        return grid(prompt, &rows);
    }
    let played = grid_clip(prompt, &rows)?;
    let frames: Vec<&[u8]> = (0..played.frames()).map(|frame| played.frame(frame)).collect();
    let [webp, gif] = animations(played.width(), played.height(), &frames, played.fps())?;
    Ok(if ending == "webp" { webp } else { gif })
}

//! Memory stands still while a model generates: every step reuses the buffers of the one before.
//!
//! A program of its own, because it counts every byte that is allocated.

mod common;

use common::golden_folder;
use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::rng::{NoiseSource, standard_noise};
use noisefind_diffusion::pipeline::PreparedPrompt;
use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, ModelFiles};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What bookkeeping may take: far less than the smallest activation of a thousand steps.
const SLACK: usize = 256 << 10;
/// What the allocator may keep of what it was given back, and pages of code that are read for the first time.
const RESIDENT_SLACK: usize = 4 << 20;

/// Resident memory in bytes; `None` where the system does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// One thread: what two have in flight at once is the scheduler's mood.
#[test]
fn a_thousand_calls_of_the_denoiser_need_no_more_than_ten() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no other pool was built yet");
    let files = ModelFiles::directory(golden_folder().join("../../models/emoji-64"));
    let files = files.expect("the default model is in the repository");
    let model = DiffusionModel::open(files, &LoadOptions::default()).expect("it opens");
    let prepare = |num_inference_steps| {
        let options = GenerationOptions { num_inference_steps, guidance_scale: 1.0, ..Default::default() };
        model.prepare("a green dog", &options).expect("the options are in range")
    };
    let (few, many) = (prepare(10), prepare(1000));
    let draw = |prompt: &PreparedPrompt| {
        let key = SampleKey::fresh(1, 0);
        let values = standard_noise(NoiseSource::Philox, key, prompt.noise_shape());
        let noise = Noise::new(key, prompt.noise_shape(), values).expect("the sizes agree");
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        model.generate_latents(prompt, &[noise]).expect("it generates");
        (before, MEMORY.peak_usage() - before, MEMORY.current_usage())
    };
    draw(&few);
    let (_, peak_of_few, _) = draw(&few);
    let resident_before = resident();
    let (before, peak_of_many, after) = draw(&many);
    assert!(peak_of_few > 100_000, "{peak_of_few} bytes: nothing was measured");
    assert!(
        peak_of_many <= peak_of_few + SLACK,
        "{peak_of_few} bytes in ten calls, {peak_of_many} in a thousand"
    );
    assert!(after <= before + SLACK, "{before} bytes before, {after} after");
    if let (Some(before), Some(after)) = (resident_before, resident()) {
        assert!(after <= before + RESIDENT_SLACK, "{before} resident bytes before, {after} after");
    }
}

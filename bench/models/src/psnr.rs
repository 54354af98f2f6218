//! How far images in bf16, and those of 8-bit weights, are from f32 images of the same noises.

use bench_common::{Arguments, Failure};
use noisefind::core::policy::NoisePolicy;
use noisefind_diffusion::{
    DecodedImage, DeviceChoice, DiffusionModel, DtypeChoice, GenerationOptions, LoadOptions, ModelFiles,
};
use serde_json::json;

use crate::ours::{Folders, PROMPT, noises};

/// Draws the first `--seeds` (32) in both formats with the default model's own settings and prints the peak signal-to-noise
/// ratio of each.
pub fn run(arguments: &Arguments, folders: &Folders) -> Result<(), Failure> {
    let seeds = arguments.value("--seeds", 32usize)?;
    let single = draw(folders, DtypeChoice::F32, seeds)?;
    let mut rows = Vec::new();
    for (name, dtype) in [("bf16", DtypeChoice::Bf16), ("int8", DtypeChoice::Int8)] {
        let other = draw(folders, dtype, seeds)?;
        let by_seed: Vec<f64> = single.iter().zip(&other).map(|(a, b)| psnr(a, b)).collect();
        let mut sorted = by_seed.clone();
        sorted.sort_by(f64::total_cmp);
        let (lowest, middle) = (*sorted.first().ok_or("--seeds is 0, expected 1 or more")?, middle(&sorted));
        println!("{name}: median {middle:.1} dB, lowest {lowest:.1} dB, over {seeds} seeds of {PROMPT:?}");
        rows.push(json!({ "format": name, "median_decibels": middle, "lowest_decibels": lowest,
                          "decibels_by_seed": by_seed }));
    }
    arguments.report(&json!({ "prompt": PROMPT, "rows": rows }))
}

fn draw(folders: &Folders, dtype: DtypeChoice, seeds: usize) -> Result<Vec<DecodedImage>, Failure> {
    let load = LoadOptions { device: DeviceChoice::Cpu, dtype, ..LoadOptions::default() };
    let model = DiffusionModel::open(ModelFiles::directory(&folders.model)?, &load)?;
    // As in the model's noisefind.json.
    let options = GenerationOptions {
        num_inference_steps: 20,
        guidance_scale: 4.0,
        batch_size: 16,
        ..GenerationOptions::default()
    };
    let prompt = model.prepare(PROMPT, &options)?;
    let noises = noises(&NoisePolicy::standard(prompt.noise_shape()), seeds);
    Ok(model.decode_values(&model.generate_latents(&prompt, &noises)?, options.batch_size)?)
}

/// `-10 log10` of the mean squared difference, pixels being 0 to 1.
fn psnr(a: &DecodedImage, b: &DecodedImage) -> f64 {
    let squares: f64 = a.in_range().iter().zip(b.in_range()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    -10.0 * (squares / a.values.len() as f64).log10()
}

/// The median of sorted values.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[half - 1] + sorted[half]) / 2.0 } else { sorted[half] }
}

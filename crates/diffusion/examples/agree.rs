//! Opens a whole model and compares one call of its denoiser, its latents and its image or clip with what diffusers
//! recorded.
//!
//! `cargo run --release -p noisefind-diffusion --example agree -- MODEL RECORDED.safetensors [DTYPE]`, where
//! `golden/diffusion/full_size.py` made both, or `full_size_single_file.py`, which records one call alone. Prints the largest differences, the time to load and the peak memory.

#![allow(clippy::print_stdout, reason = "a comparing program prints what it found")]

use std::collections::HashMap;
use std::error::Error;
use std::time::Instant;

use burn_tensor::{DType, Tensor, TensorData};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_diffusion::denoiser::{self, AddedConditioning, Conditioning};
use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, single_file};
use noisefind_nn::Placement;
use noisefind_nn::lora::Adapters;
use safetensors::SafeTensors;

const PROMPT: &str = "a green dog";
/// Steps and guidance scale of images, and of clips.
const SETTINGS: [(usize, f32); 2] = [(4, 5.0), (2, 9.0)];
const TIMESTEP: f32 = 621.0;

struct Recorded(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Recorded {
    fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            (name, (view.shape().to_vec(), values))
        };
        Ok(Self(file.tensors().into_iter().map(read).collect()))
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (shape, values) = &self.0[name];
        let device = burn_tensor::Device::flex();
        Tensor::from_data(TensorData::new(values.clone(), shape.clone()), (&device, DType::F32))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, recorded, rest @ ..] = &arguments[..] else {
        return Err("give MODEL and RECORDED.safetensors".into());
    };
    let dtype = rest.first().map_or("f32", String::as_str).parse()?;
    let recorded = Recorded::read(recorded)?;
    let before = peak_megabytes();
    let start = Instant::now();
    let load = LoadOptions { dtype, ..LoadOptions::default() };
    let model = DiffusionModel::open(single_file::find(folder, None)?, &load)?;
    println!(
        "loaded in {:.1} s, peak {} MB, {} MB before",
        start.elapsed().as_secs_f64(),
        peak_megabytes(),
        before
    );

    if recorded.0.contains_key("noise") {
        compare_images(&model, &recorded)?;
    }
    let placement = model.placement().clone();
    drop(model);
    compare_denoiser(folder, &recorded, &placement)
}

fn compare_images(model: &DiffusionModel, recorded: &Recorded) -> Result<(), Box<dyn Error>> {
    let (shape, values) = &recorded.0["noise"];
    let [channels, frames @ .., height, width] = &shape[1..] else {
        return Err("the noise has too few axes".into());
    };
    let frames = frames.first().copied();
    let shape = NoiseShape { frames, ..NoiseShape::image(*channels, *height, *width) };
    let noise =
        Noise::new(SampleKey::fresh(0, 0), shape, values.clone()).ok_or("the noise has another size")?;
    let pixels = recorded.0["pictures"].0.clone();
    let (steps, guidance_scale) = SETTINGS[usize::from(frames.is_some())];
    let options = GenerationOptions {
        num_inference_steps: steps,
        guidance_scale,
        height: Some(pixels[pixels.len() - 2]),
        width: Some(pixels[pixels.len() - 1]),
        num_frames: frames,
        ..GenerationOptions::default()
    };
    let start = Instant::now();
    let prompt = model.prepare(PROMPT, &options)?;
    let latents = model.generate_latents(&prompt, &[noise])?;
    compare("latents", &latents[0].values, &recorded.0["latents"].1);
    println!("{steps} steps in {:.1} s, peak {} MB", start.elapsed().as_secs_f64(), peak_megabytes());
    let start = Instant::now();
    let image = model.decode_values(&latents, 1)?[0].in_range();
    let expected = &recorded.0["pictures"].1;
    compare("image", &image, expected);
    let near = image.iter().zip(expected).filter(|(a, b)| (**a - **b).abs() <= 1.0 / 255.0).count();
    println!("{:.3} % of pixels within 1/255", 100.0 * near as f64 / expected.len() as f64);
    println!("decoded in {:.1} s, peak {} MB", start.elapsed().as_secs_f64(), peak_megabytes());
    Ok(())
}

fn compare_denoiser(model: &str, recorded: &Recorded, placement: &Placement) -> Result<(), Box<dyn Error>> {
    let files = single_file::find(model, None)?;
    let denoiser = denoiser::config(&files)?.open(&files, placement, &Adapters::default())?;
    let added = recorded.0.contains_key("unet_pooled").then(|| AddedConditioning {
        text_embeds: recorded.tensor::<2>("unet_pooled").cast(placement.dtype),
        time_ids: [128.0, 128.0, 0.0, 0.0, 128.0, 128.0],
    });
    let text = recorded.tensor::<3>("unet_text").cast(placement.dtype);
    let conditioned = denoiser.condition(&Conditioning { text, added, guidance_scale: None }, &[TIMESTEP]);
    let input: Tensor<5> = match recorded.0["unet_input"].0[..] {
        [batch, channels, height, width] => {
            recorded.tensor::<4>("unet_input").reshape([batch, channels, 1, height, width])
        }
        _ => recorded.tensor("unet_input"),
    };
    let start = Instant::now();
    let output = conditioned.predict(input.cast(placement.dtype).permute([0, 2, 3, 4, 1]), 0);
    let output = output.permute([0, 4, 1, 2, 3]).cast(DType::F32);
    let output: Vec<f32> = output.into_data().try_into_vec().map_err(|error| format!("{error:?}"))?;
    compare("one call of the denoiser", &output, &recorded.0["unet_output"].1);
    println!("it took {:.1} s, peak {} MB", start.elapsed().as_secs_f64(), peak_megabytes());
    Ok(())
}

fn compare(what: &str, found: &[f32], expected: &[f32]) {
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
    println!("{what}: differs by at most {worst:e}, of numbers up to {largest}");
}

/// The largest resident memory so far in megabytes, where the system tells it.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .map_or(0, |kilobytes: u64| kilobytes / 1000)
}

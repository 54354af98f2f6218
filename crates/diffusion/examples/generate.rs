//! Generates a row of images from a model folder into a PPM file and says how long it took.
//!
//! `cargo run --release -p noisefind-diffusion --example generate -- models/emoji-64 "a green dog" out.ppm 8 f32`

use std::time::Instant;

use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::rng::{NoiseSource, standard_noise};
use noisefind_diffusion::{DiffusionModel, GenerationOptions, LoadOptions, ModelFiles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, prompt, file, count, dtype] = &arguments[..] else {
        return Err("usage: draw FOLDER PROMPT FILE.ppm COUNT f32|bf16".into());
    };
    let started = Instant::now();
    let load = LoadOptions { dtype: dtype.parse()?, ..LoadOptions::default() };
    let model = DiffusionModel::open(ModelFiles::directory(folder)?, &load)?;
    let loaded = started.elapsed();
    let options = GenerationOptions {
        num_inference_steps: 20,
        guidance_scale: 4.0,
        batch_size: 16,
        ..GenerationOptions::default()
    };
    let prepared = model.prepare(prompt, &options)?;
    let noise = |index| {
        let key = SampleKey::fresh(7, index);
        let values = standard_noise(NoiseSource::Philox, key, prepared.noise_shape());
        Noise::new(key, prepared.noise_shape(), values).ok_or("the noise has the model's shape")
    };
    let noises = (0..count.parse()?).map(noise).collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    let latents = model.generate_latents(&prepared, &noises)?;
    let denoised = started.elapsed();
    let images = model.decode(&latents, options.batch_size)?;
    let decoded = started.elapsed() - denoised;
    let first = images.first().ok_or("COUNT is at least 1")?;
    let (height, width) = (first.height(), first.width());
    let mut ppm = format!("P6 {} {height} 255\n", width * images.len()).into_bytes();
    let bytes: Vec<Vec<u8>> = images.iter().map(|image| image.frame(0).to_vec()).collect();
    for row in 0..height {
        for image in &bytes {
            ppm.extend(&image[row * width * 3..(row + 1) * width * 3]);
        }
    }
    std::fs::write(file, ppm)?;
    let message =
        format!("loaded in {loaded:.2?}, {count} denoised in {denoised:.2?}, decoded in {decoded:.2?}\n");
    std::io::Write::write_all(&mut std::io::stdout(), message.as_bytes())?;
    Ok(())
}

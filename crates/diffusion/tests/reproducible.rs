//! The same noise gives the same bits, whatever is computed beside it and on however many threads.

mod common;

use common::{Golden, tiny};
use noisefind_core::noise::Noise;
use noisefind_core::ports::Generator;
use noisefind_diffusion::{
    DeviceChoice, DiffusionGenerator, DiffusionModel, DtypeChoice, GenerationOptions, LoadOptions,
};

fn model(name: &str, dtype: DtypeChoice) -> DiffusionModel {
    let load = LoadOptions { device: DeviceChoice::Cpu, dtype, ..LoadOptions::default() };
    DiffusionModel::open(tiny(name), &load).expect("it opens")
}

fn noises() -> Vec<Noise> {
    let golden = Golden::read("sd1");
    let two = golden.noises();
    // Five different noises, so that every batch size leaves another rest.
    (0..5u32)
        .map(|at| {
            let base = &two[at as usize % 2];
            let values = base.values().iter().map(|x| x * (1.0 + at as f32 / 7.0)).collect();
            let mut noise = Noise::new(base.key, base.shape(), values).expect("the sizes agree");
            noise.key.index = at;
            noise
        })
        .collect()
}

fn latents(model: &DiffusionModel, options: &GenerationOptions) -> Vec<Vec<f32>> {
    let prompt = model.prepare("a green dog", options).expect("the options are in range");
    let latents = model.generate_latents(&prompt, &noises()).expect("it generates");
    latents.into_iter().map(|latents| latents.values).collect()
}

#[test]
fn batch_size_changes_nothing() {
    for dtype in [DtypeChoice::F32, DtypeChoice::Bf16] {
        for name in ["sd1", "sd2", "sdxl"] {
            let model = model(name, dtype);
            let options =
                |batch_size| GenerationOptions { num_inference_steps: 3, batch_size, ..Default::default() };
            let alone = latents(&model, &options(1));
            for batch_size in [2, 3, 5, 64] {
                assert!(
                    latents(&model, &options(batch_size)) == alone,
                    "{name}, {dtype:?}, batch size {batch_size}"
                );
            }
        }
    }
}

#[test]
fn stochastic_steps_depend_on_the_key_alone() {
    let model = model("sd2", DtypeChoice::F32);
    for scheduler in ["ddim", "ddpm", "euler-ancestral", "dpm2-ancestral", "dpmpp-2m-sde", "lcm"] {
        let options = |batch_size| GenerationOptions {
            num_inference_steps: 4,
            scheduler: Some(scheduler.parse().expect("it is implemented")),
            eta: if scheduler == "ddim" { 1.0 } else { 0.0 },
            batch_size,
            ..Default::default()
        };
        let alone = latents(&model, &options(1));
        assert!(latents(&model, &options(4)) == alone, "{scheduler}");
        let other_key: Vec<Noise> = noises()
            .into_iter()
            .map(|mut noise| {
                noise.key.seed += 1;
                noise
            })
            .collect();
        let prompt = model.prepare("a green dog", &options(4)).expect("the options are in range");
        let other = model.generate_latents(&prompt, &other_key).expect("it generates");
        assert!(other.iter().zip(&alone).all(|(a, b)| a.values != *b), "{scheduler}: the key must matter");
    }
}

#[test]
fn threads_change_nothing() {
    let model = model("sd1", DtypeChoice::F32);
    let options = GenerationOptions { num_inference_steps: 3, ..Default::default() };
    let run = |threads| {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| latents(&model, &options))
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn the_generator_draws_what_the_model_draws() {
    let options = GenerationOptions { num_inference_steps: 2, ..Default::default() };
    let model = model("sd1", DtypeChoice::F32);
    let prompt = model.prepare("a green dog", &options).expect("the options are in range");
    let latents = model.generate_latents(&prompt, &noises()).expect("it generates");
    let expected = model.decode(&latents, 2).expect("it decodes");
    let mut generator = DiffusionGenerator::new(model, options).expect("the options are in range");
    assert_eq!(generator.noise_shape(), noises()[0].shape());
    // Another prompt in between must not leave its encoding behind.
    let other = generator.generate("the moon", &noises()).expect("it generates");
    let found = generator.generate("a green dog", &noises()).expect("it generates");
    assert!(found == expected);
    assert!(other != expected);
    assert_eq!(generator.prompt_embedding("a green dog").expect("it encodes").len(), 16);
}

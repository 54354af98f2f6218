//! Folders, ids and adapters of the Hugging Face ecosystem, through the whole program; the tiny pipelines of
//! `golden/diffusion` stand for large ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::hub::{COMMIT, FakeHub, ID};
use crate::{noisefind, outcome, small_run, succeed};

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion").join(name);
    folder.canonicalize().expect("the tiny pipelines are in the repository").display().to_string()
}

/// Runs `sample` with the model `sd1` and few steps.
fn sample(folder: &Path, more: &[&str]) -> String {
    let model = golden("sd1");
    let always = ["sample", "--prompt", "a green dog", "--model", &model, "--num-inference-steps", "2"];
    succeed(folder, &[&always[..], more].concat())
}

#[test]
fn batch_size_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let sampled = |out: &str, batch: &str| {
        let latents = format!("{out}.safetensors");
        let arguments =
            ["-n", "3", "--seed", "5", "--generation-batch", batch, "--out", out, "--save-latents", &latents];
        // Steps of this scheduler add noise, which belongs to the image and not to the batch.
        sample(folder.path(), &[&arguments[..], &["--scheduler", "euler-ancestral"]].concat());
        let file = |name: String| fs::read(folder.path().join(name)).unwrap();
        let images: Vec<_> = (5..8).map(|seed| file(format!("{out}/seed-{seed}.png"))).collect();
        (images, file(latents))
    };
    let alone = sampled("alone", "1");
    assert!(alone == sampled("pair", "2"));
    assert!(alone == sampled("all", "3"));
    let header = String::from_utf8_lossy(&alone.1).into_owned();
    assert!(header.contains("\"latents\"") && header.contains("[3,4,8,8]"));
    let (code, _, message) = outcome(folder.path(), &["sample", "--prompt", "x", "--generation-batch", "0"]);
    assert_eq!(
        (code, message.as_str()),
        (Some(2), "error: --generation-batch is 0, expected from 1 to 4096\n")
    );
}

#[test]
fn noise_goes_out_and_in() {
    let folder = tempfile::tempdir().unwrap();
    sample(
        folder.path(),
        &["-n", "2", "--save-noise", "n.safetensors", "--out", "first", "--noise-rng", "torch"],
    );
    sample(folder.path(), &["--noise", "n.safetensors", "--out", "second"]);
    for seed in ["seed-0.png", "seed-1.png"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(seed)).unwrap();
        assert!(read("first") == read("second"), "{seed}");
    }
}

#[test]
fn adapters_decoders_and_skipped_layers_change_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = golden("adapters/kohya.safetensors");
    let half = format!("{adapter}=0.5");
    let decoder = golden("lcm/vae");
    let mut images = Vec::new();
    for (out, more) in [
        ("plain", &[][..]),
        ("adapted", &["--lora", &adapter]),
        ("half", &["--lora", &half]),
        ("twice", &["--lora", &half, "--lora", &half]),
        ("decoder", &["--vae", &decoder]),
        ("skip", &["--clip-skip", "1"]),
    ] {
        sample(folder.path(), &[&["-n", "1", "--dtype", "f32", "--out", out][..], more].concat());
        images.push(image::open(folder.path().join(out).join("seed-0.png")).unwrap().to_rgb8());
    }
    let twice = images.remove(3);
    for (at, image) in images.iter().enumerate() {
        assert!(images[at + 1..].iter().all(|other| other != image), "image {at} is there twice");
    }
    // Two halves are a whole, up to the last bit of a sum.
    let near = twice.iter().zip(images[1].iter()).all(|(a, b)| a.abs_diff(*b) <= 1);
    assert!(near, "two halves of an adapter differ from the whole");
    let (code, _, message) =
        outcome(folder.path(), &["sample", "--prompt", "x", "--model", &golden("sd2"), "--lora", &adapter]);
    assert_eq!(code, Some(1));
    assert!(message.contains("kohya.safetensors is no adapter for this model"), "{message}");
}

#[test]
fn tiles_change_large_images_only() {
    let folder = tempfile::tempdir().unwrap();
    // 18 pixels are 9 latents: more than a tile has, and no multiple of what the denoiser halves.
    for (side, is_same) in [("16", true), ("18", false)] {
        let sampled = |out: &str, more: &[&str]| {
            let out = format!("{out}-{side}");
            let arguments = ["-n", "1", "--dtype", "f32", "--out", &out, "--height", side, "--width", side];
            sample(folder.path(), &[&arguments[..], more].concat());
            image::open(folder.path().join(out).join("seed-0.png")).unwrap().to_rgb8()
        };
        let (whole, tiled) = (sampled("whole", &[]), sampled("tiled", &["--vae-tiling"]));
        assert_eq!(whole.width().to_string(), side);
        assert_eq!(whole == tiled, is_same, "{side} pixels");
    }
}

#[test]
fn the_end_of_a_long_prompt_is_missed_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["sample", "-n", "1", "--prompt", "a green dog a green dog a green dog the Dog!"];
    let model = ["--model", &golden("sd1"), "--num-inference-steps", "1"];
    let (code, _, message) = outcome(folder.path(), &[&arguments[..], &model].concat());
    assert_eq!(code, Some(0), "{message}");
    assert!(
        message.contains("the prompt is too long for the model, which does not read \"Dog!\""),
        "{message}"
    );
}

#[test]
fn inspect_says_what_a_model_needs() {
    let folder = tempfile::tempdir().unwrap();
    let found: Value =
        serde_json::from_str(&succeed(folder.path(), &["inspect", &golden("sdxl"), "--json"])).unwrap();
    let picked = |key: &str| found[key].clone();
    assert_eq!(picked("family"), "Stable Diffusion XL");
    assert_eq!(picked("noise_shape"), json!([4, 8, 8]));
    assert_eq!(picked("native_size"), json!([16, 16]));
    assert_eq!((picked("scheduler"), picked("prediction_type")), (json!("euler"), json!("epsilon")));
    assert_eq!(picked("problems"), json!([]));
    let parts: Vec<_> = found["parts"].as_array().unwrap().iter().map(|part| part["name"].clone()).collect();
    assert_eq!(parts, ["text_encoder", "text_encoder_2", "unet", "vae"]);
    assert_eq!(found["parts"][2]["dtypes"], json!(["F16"]));
    let parameters = found["parameters"].as_u64().unwrap();
    let (f32, bf16) = (&found["memory_bytes"]["f32"], &found["memory_bytes"]["bf16"]);
    assert_eq!(f32.as_u64().unwrap(), 2 * bf16.as_u64().unwrap());
    assert!(f32.as_u64().unwrap() > 4 * parameters, "the layers between the weights need memory too");
}

/// A cache as other programs leave it.
fn cache(folder: &Path) -> PathBuf {
    let model = folder.join("cache/models--owner--tiny");
    let snapshot = model.join("snapshots/0123456789abcdef");
    fs::create_dir_all(model.join("refs")).expect("the cache can be made");
    fs::write(model.join("refs/main"), "0123456789abcdef").expect("the cache can be made");
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        fs::create_dir_all(snapshot.join(part)).expect("the cache can be made");
        for entry in fs::read_dir(Path::new(&golden("sd1")).join(part)).expect("the cache can be made") {
            let path = entry.expect("the cache can be made").path();
            if path.is_file() {
                fs::copy(&path, snapshot.join(part).join(path.file_name().expect("the cache can be made")))
                    .expect("the cache can be made");
            }
        }
    }
    folder.join("cache")
}

#[test]
fn an_id_is_opened_from_the_cache_or_explained() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let run = |id: &str, offline: &str| {
        let arguments = ["sample", "-n", "1", "--prompt", "x", "--num-inference-steps", "1", "--model", id];
        let output = noisefind(folder.path(), &arguments)
            .env("HF_HUB_CACHE", &cache)
            .env("HF_HUB_OFFLINE", offline)
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("owner/tiny", "1").0, Some(0));
    let (code, message) = run("owner/other", "1");
    assert_eq!((code, message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains("HF_HUB_OFFLINE is set, and the cache"), "{message}");
    let (code, message) = run("owner/other", "0");
    assert_eq!((code, message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains("cannot get the model owner/other, which is no folder here"), "{message}");
    assert!(message.contains("http://127.0.0.1:1 could not be reached"), "{message}");
    assert!(
        message
            .ends_with("give --model the folder of a complete diffusers model, an id on the hub, or a built-in model (emoji-64-turbo, emoji-64, emoji-64-video)\n"),
        "{message}"
    );
}

/// A small CLIP model of `golden/rewards` stands for `yuvalkirstain/PickScore_v1`.
#[test]
fn a_scorer_comes_from_the_hub_once_and_then_from_the_cache() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/clip");
    let golden = golden.canonicalize().expect("the tiny scorers are in the repository");
    let hub = FakeHub::start(golden.clone(), "secret");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden.join("picture-0.png"), folder.path().join("picture.png")).unwrap();
    let run = |reward: &str, endpoint: &str, offline: &str| {
        let arguments =
            ["score", "picture.png", "--prompt", "a green dog", "--model", "fake", "--reward", reward];
        let mut command = noisefind(folder.path(), &arguments);
        command.env("HF_ENDPOINT", endpoint).env("HF_TOKEN", "secret").env("HF_HUB_OFFLINE", offline);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (_, expected, _) = run(&format!("pick-score:{}", golden.display()), "http://127.0.0.1:1", "1");
    assert!(serde_json::from_str::<Value>(&expected).unwrap()["reward"].is_f64(), "{expected}");

    let reward = format!("pick-score:{ID}");
    let (code, stdout, stderr) = run(&reward, &hub.endpoint, "0");
    assert_eq!((code, stdout.as_str()), (Some(0), expected.as_str()), "{stderr}");
    let needed = ["config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "vocab.json"];
    assert_eq!(hub.downloads(), needed.map(str::to_owned).into(), "only what is read is downloaded");
    let asked = hub.requests.lock().unwrap().len();
    for (endpoint, offline) in [(hub.endpoint.as_str(), "1"), ("http://127.0.0.1:1", "0")] {
        assert_eq!(run(&reward, endpoint, offline), (Some(0), expected.clone(), String::new()));
    }
    assert_eq!(hub.requests.lock().unwrap().len(), asked, "the cache is enough");

    let (code, _, stderr) = run("pick-score:owner/other", &hub.endpoint, "0");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("owner/other") && stderr.contains("has no such model"), "{stderr}");

    // A run says by which commit it scored.
    let arguments = small_run(&["--reward", &reward]);
    let mut tune = noisefind(folder.path(), &arguments);
    tune.env("HF_HUB_OFFLINE", "1").assert().success();
    let made = fs::read(folder.path().join("run/environment.json")).unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(made["scorers_sha256"], json!({&reward: {"commit": COMMIT}}));
}

#[test]
fn a_run_knows_the_weights_of_its_scorers() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/clip");
    let scorer = folder.path().join("scorer");
    fs::create_dir(&scorer).unwrap();
    for file in ["config.json", "merges.txt", "model.safetensors", "vocab.json"] {
        fs::copy(golden.join(file), scorer.join(file)).unwrap();
    }
    succeed(folder.path(), &small_run(&["--holdout", "clip-score:scorer"]));
    let made = fs::read(folder.path().join("run/environment.json")).unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let hashes = made["scorers_sha256"]["clip-score:scorer"].as_object().unwrap();
    assert_eq!(hashes.keys().collect::<Vec<_>>(), ["model.safetensors"]);
    let summed = std::process::Command::new("sha256sum").arg(scorer.join("model.safetensors")).output();
    if let Ok(summed) = summed {
        let summed = String::from_utf8_lossy(&summed.stdout).into_owned();
        assert_eq!(summed.split(' ').next(), hashes["model.safetensors"].as_str());
    }

    let mut weights = fs::read(scorer.join("model.safetensors")).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 1;
    fs::write(scorer.join("model.safetensors"), weights).unwrap();
    let (code, _, stderr) = outcome(folder.path(), &["tune", "--resume", "run"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("the weights of clip-score:scorer are not those that the run began with"),
        "{stderr}"
    );
}

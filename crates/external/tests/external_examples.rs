//! The programs of `examples/external/` work as shipped: `cargo test -- --ignored`, with the Python that `NOISEFIND_PYTHON`
//! names or `python3`.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, SampleKey};
use noisefind_core::ports::{Generator, Reward, Scorer};
use noisefind_external::{ExternalGenerator, ExternalOptions, ExternalScorer};
use serde_json::{Map, Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python to test with, which can import `modules`.
fn python(modules: &str) -> String {
    let python = std::env::var("NOISEFIND_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imported = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    let imported = imported
        .unwrap_or_else(|error| panic!("{python} does not start: {error}; name another in NOISEFIND_PYTHON"));
    assert!(
        imported.status.success(),
        "{python} cannot import {modules}; install them, or name another Python in NOISEFIND_PYTHON: {}",
        String::from_utf8_lossy(&imported.stderr)
    );
    python
}

fn command(python: &str, name: &str) -> String {
    format!("exec '{python}' '{}'", root().join("examples/external").join(name).display())
}

/// Noise with green on top, so that every filter of the PNG format is in use.
fn noisy(green: f32) -> Media {
    let value = |at: usize| {
        let random = (at as u32).wrapping_mul(2_654_435_761).rotate_left(13) >> 8;
        let channel_lift = if (640..1280).contains(&at) { green } else { 0.0 };
        random as f32 / (1 << 24) as f32 * 0.3 + channel_lift + (at % 32) as f32 / 100.0
    };
    let values: Vec<f32> = (0..3 * 640).map(value).collect();
    Media::quantise(1, 20, 32, &values).expect("the values fit")
}

fn greenness(media: &Media) -> f64 {
    let bytes = media.frame(0);
    let sum: i32 =
        bytes.chunks_exact(3).map(|pixel| i32::from(pixel[1]) - i32::from(pixel[0].max(pixel[2]))).sum();
    f64::from(sum) / (255.0 * (bytes.len() / 3) as f64)
}

#[test]
#[ignore = "needs Python"]
fn the_plain_scorer_reads_images_and_rewards_green() {
    let python = python("json, zlib");
    let mut scorer =
        ExternalScorer::open(&command(&python, "scorer.py"), ExternalOptions::default()).unwrap();
    assert_eq!(scorer.name(), "greenness");
    let media = [noisy(0.0), noisy(0.3)];
    let rewards = scorer.score("a green dog", &media).unwrap();
    for (reward, media) in rewards.iter().zip(&media) {
        assert!((reward.given().unwrap() - greenness(media)).abs() < 1e-12);
    }
}

/// Answers one chat request after the other with the texts given (`None` is a server error) and passes on what
/// it was sent.
fn fake_endpoint(answers: Vec<Option<&'static str>>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("the port's address"));
    let (seen, requests) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().expect("a client");
            let request = serve(stream, answer).expect("a whole request");
            if seen.send(request).is_err() {
                return;
            }
        }
    });
    (url, requests)
}

fn serve(mut stream: TcpStream, answer: Option<&str>) -> std::io::Result<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, text) = match answer {
        Some(text) => ("200 OK", json!({"choices": [{"message": {"content": text}}]}).to_string()),
        None => ("503 Service Unavailable", "busy".to_owned()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())?;
    Ok((head, serde_json::from_slice(&body)?))
}

#[test]
#[ignore = "needs Python"]
fn the_vision_scorer_asks_retries_and_reads_numbers() {
    let python = python("json, urllib.request");
    let (url, requests) =
        fake_endpoint(vec![None, Some("7.5"), Some("I would say 3 of 10"), Some("no idea")]);
    let variables = format!("VISION_BASE_URL={url} VISION_MODEL=tiny VISION_API_KEY=secret VISION_WORKERS=1");
    let command = format!("{variables} {}", command(&python, "vision_scorer.py").replacen("exec ", "", 1));
    let mut scorer = ExternalScorer::open(&command, ExternalOptions::default()).unwrap();
    assert_eq!(scorer.name(), "vision:tiny");
    let rewards = scorer.score("a \"green\" dog", &[noisy(0.0), noisy(0.1), noisy(0.2)]).unwrap();
    assert_eq!(rewards[..2], [Reward::Given(7.5), Reward::Given(3.0)]);
    assert!(matches!(rewards[2], Reward::Missing(_)));
    let (head, body) = requests.recv().unwrap();
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer secret"), "{head}");
    let content = &body["messages"][0]["content"];
    assert!(content[0]["text"].as_str().unwrap().contains("\"a \"green\" dog\""), "{content}");
    assert!(content[1]["image_url"]["url"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
}

#[test]
#[ignore = "needs Python"]
fn the_vision_scorer_says_which_variable_is_absent() {
    let python = python("json, urllib.request");
    let command =
        format!("VISION_BASE_URL=http://127.0.0.1:9 {}", &command(&python, "vision_scorer.py")[5..]);
    let message = ExternalScorer::open(&command, ExternalOptions::default()).err().unwrap().to_string();
    assert!(message.contains("set VISION_MODEL"), "{message}");
}

#[test]
#[ignore = "needs Python"]
fn the_count_scorer_rewards_the_number_that_was_asked_for() {
    let python = python("json, importlib.util");
    let folder = tempfile::tempdir().unwrap();
    let detector = folder.path().join("detector.py");
    // Bright columns that are apart are things; a dim one is half a thing.
    let source = format!(
        "import sys\nsys.path.insert(0, {:?})\nfrom scorer import read_png\n\
         def detect(path, noun):\n    assert noun == 'red dogs', noun\n    row = read_png(path)[:16]\n    \
         return [red / 255 for red, _, _ in row if red > 50]\n",
        root().join("examples/external").display().to_string()
    );
    std::fs::write(&detector, source).unwrap();
    let image = |columns: &[(usize, f32)]| {
        let mut values = vec![0.0; 3 * 8 * 16];
        for &(at, brightness) in columns {
            (0..8).for_each(|row| values[row * 16 + at] = brightness);
        }
        Media::quantise(1, 8, 16, &values).expect("the values fit")
    };
    let images = [
        image(&[(1, 1.0), (5, 1.0), (9, 1.0)]),
        image(&[(1, 1.0), (5, 1.0)]),
        image(&[(1, 1.0), (3, 1.0), (5, 1.0), (9, 0.6)]),
        image(&[]),
    ];
    let command = format!("{} '{}'", command(&python, "count_scorer.py"), detector.display());
    let mut scorer = ExternalScorer::open(&command, ExternalOptions::default()).unwrap();
    let rewards = scorer.score("three red dogs", &images).unwrap();
    let expected = [1.0, 2.0 / 3.0, 0.8, 0.0];
    for (found, expected) in rewards.iter().zip(expected) {
        assert!((found.given().unwrap() - expected).abs() < 1e-3, "{rewards:?}");
    }
    let message = scorer.score("red dogs", &images).unwrap_err().to_string();
    assert!(message.contains("does not begin with a number"), "{message}");
}

/// Serves a pipeline and generates two noises together and the second alone; gives the first image.
fn serve_and_generate(python: &str, arguments: &str) -> Media {
    let package = root().join("python");
    let command = format!(
        "PYTHONPATH='{}' '{python}' -m noisefind.diffusers {arguments} num_inference_steps=2",
        package.display()
    );
    let generator = ExternalGenerator::open(&command, Map::new(), ExternalOptions::default());
    let mut generator = generator.expect("the example serves the pipeline");
    let shape = generator.noise_shape();
    let noise = |index: u32| {
        let values = (0..shape.numel()).map(|at| ((at as f32 + 1.0) * (index + 3) as f32).sin()).collect();
        Noise::new(SampleKey { seed: 1, iteration: 0, index }, shape, values)
            .expect("as many numbers as the shape says")
    };
    let mut draw =
        |noises: &[Noise]| generator.generate("a green dog", noises).expect("the pipeline generates");
    let both = draw(&[noise(0), noise(1)]);
    assert_ne!(both[0], both[1]);
    let second = draw(&[noise(1)]);
    let apart = second[0].frame(0).iter().zip(both[1].frame(0)).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(1), "the same noise gave another image in another batch: {apart:?}");
    both[0].clone()
}

#[test]
#[ignore = "needs Python with diffusers"]
fn the_python_package_serves_the_default_model() {
    let model = root().join("models/emoji-64");
    let python = python("diffusers, transformers, torch");
    let sampled = serve_and_generate(&python, &format!("'{}'", model.display()));
    assert_eq!((sampled.frames(), sampled.height(), sampled.width()), (1, 64, 64));
}

#[test]
#[ignore = "needs Python with diffusers"]
fn the_python_package_serves_a_model_that_packs_its_latents() {
    let python = python("diffusers, transformers, torch");
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny_flux.py");
    let made = Command::new(&python).arg(script).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pipeline = folder.path().join("flux");
    let sampled = serve_and_generate(&python, &format!("'{}' height=32 width=48", pipeline.display()));
    assert_eq!((sampled.frames(), sampled.height(), sampled.width()), (1, 32, 48));
}

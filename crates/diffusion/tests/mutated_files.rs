//! Files with random damage are refused or read, but never panic, hang, or take more memory than they could need.
//!
//! A few thousand of them in every run of the tests; `NOISEFIND_MUTATED_FILES=100000` asks for more.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::golden_folder;
use noisefind_core::noise::SampleKey;
use noisefind_core::rng::{Domain, Stream};
use noisefind_diffusion::decoder;
use noisefind_diffusion::denoiser::unet2d::UnetConfig;
use noisefind_diffusion::model_index::ModelIndex;
use noisefind_diffusion::scheduler::{Schedule, SchedulerFile};
use noisefind_diffusion::{DeviceChoice, DtypeChoice, LoraSource, ModelFiles, Placement};
use noisefind_nn::Error;
use noisefind_nn::config::ClipTextConfig;
use noisefind_nn::lora::Adapters;
use noisefind_nn::text::Tokenizer;
use noisefind_nn::weights::Weights;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How much memory a file may take at once, as a multiple of its size, beside what its size has nothing to do with.
const TIMES: usize = 4;
const LONGEST: Duration = Duration::from_secs(10);

/// One kind of file, the name under which it is opened, and what opens it; whether it was accepted.
struct Target {
    kind: &'static str,
    seeds: &'static [&'static str],
    open: fn(&ModelFiles, &str, &Placement) -> bool,
    /// Bytes beside: paths and messages, and for a file that was cut off behind its table of contents, the parsed table,
    /// whose names and shapes take more memory than their text.
    fixed: usize,
}

const TARGETS: [Target; 5] = [
    Target {
        kind: "safetensors",
        seeds: &[
            "adapters/kohya.safetensors",
            "adapters/peft-header.safetensors",
            "adapters/older.safetensors",
            "clip.safetensors",
            "clip/model.safetensors",
        ],
        open: |files, name, placement| {
            let path = files.folder().expect("it is a folder").join(name).display().to_string();
            let parts = ["unet", "text_encoder"].map(str::to_owned);
            let adapters = Adapters::open(&[LoraSource { path, weight: 1.0 }], &parts).is_ok();
            reads(files, name, placement, "pixels", &[2, 3, 20, 20]) || adapters
        },
        // The patterns of PEFT's headers are compiled as regular expressions.
        fixed: 1 << 19,
    },
    Target {
        kind: "pickle",
        seeds: &[
            "torch_file/plain.pth",
            "torch_file/state-dict.pt",
            "torch_file/model.pt",
            "torch_file/protocol-4.pt",
            "torch_file/command.pt",
            "../rewards/hps/HPS_v2_compressed.pt",
        ],
        open: |files, name, placement| reads(files, name, placement, "f32", &[2, 3, 4]),
        fixed: 1 << 14,
    },
    Target {
        kind: "config",
        seeds: &[
            "sdxl/unet/config.json",
            "sd1/vae/config.json",
            "lcm/vae/config.json",
            "sd2/text_encoder/config.json",
            "sdxl/model_index.json",
        ],
        open: |files, name, _| {
            // Each reader looks for its own file name; all of them are this one.
            let folder = files.folder().expect("it is a folder");
            for part in ["unet", "scheduler"] {
                fs::create_dir_all(folder.join(part)).expect("it is writable");
            }
            for copy in ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"] {
                fs::copy(folder.join(name), folder.join(copy)).expect("it is writable");
            }
            UnetConfig::read(files).is_ok()
                | decoder::config(files, "unet").is_ok()
                | ClipTextConfig::read(files, "unet").is_ok()
                | ModelIndex::read(files).is_ok()
        },
        fixed: 1 << 13,
    },
    Target {
        kind: "schedule",
        seeds: &[
            "sd1/scheduler/scheduler_config.json",
            "sd2/scheduler/scheduler_config.json",
            "sdxl/scheduler/scheduler_config.json",
            "lcm/scheduler/scheduler_config.json",
        ],
        open: |files, name, _| {
            let folder = files.folder().expect("it is a folder");
            fs::create_dir_all(folder.join("scheduler")).expect("it is writable");
            fs::copy(folder.join(name), folder.join("scheduler/scheduler_config.json"))
                .expect("it is writable");
            // The index names no class of the scheduler.
            let index = r#"{"_class_name": "StableDiffusionPipeline"}"#;
            fs::write(folder.join("model_index.json"), index).expect("it is writable");
            schedule(files).is_ok()
        },
        // Tables over a million training times.
        fixed: 1 << 26,
    },
    Target {
        kind: "tokenizer",
        seeds: &[
            "sd1/tokenizer/vocab.json",
            "sd1/tokenizer/merges.txt",
            "sd2/tokenizer/tokenizer.json",
            "sd2/tokenizer/special_tokens_map.json",
            "sd2/tokenizer/tokenizer_config.json",
        ],
        open: |files, name, _| {
            // The other files are whole.
            let original = golden_folder().join(if name == "tokenizer.json" { "sd2" } else { "sd1" });
            let folder = files.folder().expect("it is a folder");
            for other in ["vocab.json", "merges.txt"].iter().filter(|other| **other != name) {
                fs::copy(original.join("tokenizer").join(other), folder.join(other)).expect("it is writable");
            }
            let opened = Tokenizer::open(files, "", 77, 49408);
            fs::remove_file(folder.join(name)).expect("it is writable");
            opened.is_ok_and(|tokenizer| tokenizer.encode("A green dog's <|endoftext|> \u{1f600}").is_ok())
        },
        // The expressions that split words are compiled, and the other file of the tokenizer is read too.
        fixed: 1 << 21,
    },
];

/// Whether the file opens; where it has the tensor, its numbers are read too.
fn reads(files: &ModelFiles, name: &str, placement: &Placement, tensor: &str, shape: &[usize]) -> bool {
    let weights = Weights::open_file(files, name, placement);
    weights.as_ref().is_ok_and(|weights| {
        weights.shape(tensor).is_none_or(|_| weights.root().tensor(tensor, shape).is_some())
    })
}

/// Changes `bytes` in one to four places.
fn damage(bytes: &mut Vec<u8>, random: &mut Stream) {
    const NUMBERS: [&[u8]; 6] = [b"-1", b"0", b"4294967296", b"18446744073709551615", b"1e999", b"null"];
    const BYTES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'[', b')'];
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let end = at + 1 + random.below((bytes.len() - at).min(64));
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = BYTES[random.below(BYTES.len())],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let repeated = piece.repeat(1 + random.below(8));
                bytes.splice(at..at, repeated);
            }
            5 => {
                let other = random.below(bytes.len());
                bytes.swap(at, other);
            }
            6 => bytes[at..end].fill(BYTES[random.below(BYTES.len())]),
            7 => {
                // The next number in the text becomes another.
                let is_digit = |byte: &u8| byte.is_ascii_digit();
                let Some(start) = bytes[at..].iter().position(is_digit).map(|offset| at + offset) else {
                    continue;
                };
                let length = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
                let number = NUMBERS[random.below(NUMBERS.len())];
                bytes.splice(start..start + length, number.iter().copied());
            }
            _ => {
                // Eight bytes are a length in most formats.
                let value = (random.next_u64() >> random.below(64)).to_le_bytes();
                let room = (bytes.len() - at).min(8);
                bytes[at..at + room].copy_from_slice(&value[..room]);
            }
        }
    }
}

fn schedule(files: &ModelFiles) -> Result<Schedule, Error> {
    let file = SchedulerFile::read(files, &ModelIndex::read(files)?)?;
    Schedule::new(&file.own()?, 4, 0.0)
}

#[test]
fn damaged_files_do_no_harm() {
    let wanted = std::env::var("NOISEFIND_MUTATED_FILES").ok().and_then(|count| count.parse().ok());
    let each = wanted.unwrap_or(2000_usize).div_ceil(TARGETS.len());
    let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("the CPU is there");
    let mut too_large = Vec::new();
    for (number, target) in TARGETS.iter().enumerate() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut random = Stream::new(SampleKey::fresh(number as u64, 0), Domain::Test);
        let (mut accepted, mut most, mut slowest) = (0, 0, Duration::ZERO);
        let mut furthest = (0, String::new());
        let seeds: Vec<(&str, Vec<u8>)> = target
            .seeds
            .iter()
            .map(|seed| {
                let path = golden_folder().join(seed);
                let name = Path::new(seed).file_name().and_then(|name| name.to_str()).expect("a name");
                (name, fs::read(path).expect("the golden files are there"))
            })
            .collect();
        for (name, bytes) in &seeds {
            fs::write(folder.path().join(name), bytes).expect("it is writable");
            let files = ModelFiles::directory(folder.path()).expect("it is a folder");
            let opens = (target.open)(&files, name, &placement);
            assert_eq!(opens, !name.starts_with("command"), "the undamaged {name}");
        }
        for input in 0..each {
            let (name, bytes) = &seeds[input % seeds.len()];
            let mut bytes = bytes.clone();
            damage(&mut bytes, &mut random);
            fs::write(folder.path().join(name), &bytes).expect("it is writable");
            let size = bytes.len();
            drop(bytes);
            let files = ModelFiles::directory(folder.path()).expect("it is a folder");
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let start = Instant::now();
            accepted += usize::from((target.open)(&files, name, &placement));
            let (took, used) = (start.elapsed(), MEMORY.peak_usage().saturating_sub(before));
            let what = format!("{} {input}, from {name}", target.kind);
            assert!(took < LONGEST, "{what}: {took:?}");
            let beyond = used.saturating_sub(TIMES * size);
            if beyond > furthest.0 {
                furthest = (beyond, format!("{what}: {used} bytes for a file of {size}"));
            }
            most = most.max(used);
            slowest = slowest.max(took);
        }
        let (beyond, what) = furthest;
        println!(
            "{each} damaged files, {}: {accepted} accepted; at most {most} bytes, {beyond} beyond {TIMES} times the file; \
             at most {slowest:?}",
            target.kind
        );
        if beyond > target.fixed {
            too_large.push(format!("{what}, expected at most {TIMES} times as many and {}", target.fixed));
        }
    }
    assert!(too_large.is_empty(), "{}", too_large.join("\n"));
}

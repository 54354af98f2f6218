//! Clips that are there already are scored as clips, and what is no clip gets one clear line.

use std::path::Path;

use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Rgb, RgbImage};

use crate::hub::{FakeHub, ID};
use crate::{json, names, outcome, succeed};

const VICLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewards/viclip");

/// A folder of frames of 64 pixels with a textured square that moves `speed` pixels a frame to the right.
fn frames(folder: &Path, count: u32, speed: u32) {
    std::fs::create_dir(folder).expect("a new folder");
    for frame in 0..count {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let inside = (8 + speed * frame..32 + speed * frame).contains(&x) && (20..44).contains(&y);
            let from_left = x.wrapping_sub(speed * frame);
            let texture = (from_left.wrapping_mul(37) ^ y.wrapping_mul(91)) % 200;
            if inside { Rgb([texture as u8, 30, 200 - texture as u8]) } else { Rgb([230; 3]) }
        });
        image.save(folder.join(format!("{frame:03}.png"))).expect("a written frame");
    }
}

#[test]
fn a_folder_of_frames_is_one_clip() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("moving"), 5, 4);
    frames(&folder.path().join("still"), 5, 0);
    let score = |clip: &str, more: &[&str]| {
        let arguments = [&["score", clip, "--prompt", "a car", "--model", "fake"], more].concat();
        json(&succeed(folder.path(), &arguments))["reward"].as_f64().expect("a reward")
    };
    let found = score("moving", &["--reward", "dynamic-degree"]);
    assert!((found - 4.0 / 64.0).abs() < 0.5 / 64.0, "{found}");
    assert_eq!(score("still", &["--reward", "dynamic-degree"]), 0.0);
    // The file of every frame of a still clip is as large as that of one.
    let all = score("still", &["--reward", "jpeg-size"]);
    assert_eq!(score("still", &["--reward", "jpeg-size", "--reward-frames", "1"]), all);
    let folder_reward = score("moving", &["--reward", &format!("viclip:{VICLIP}")]);
    let file = format!("viclip:{VICLIP}/ViClip-InternVid-10M-FLT.pth");
    assert_eq!(score("moving", &["--reward", &file]), folder_reward);
    assert!((-1.0..=1.0).contains(&folder_reward));
}

#[test]
fn a_model_names_the_scorer_that_it_brings() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("clip"), 4, 2);
    let scorer = folder.path().join("model/scorer");
    std::fs::create_dir_all(&scorer).unwrap();
    for file in ["ViClip-InternVid-10M-FLT.pth", "vocab.json", "merges.txt"] {
        std::fs::copy(Path::new(VICLIP).join(file), scorer.join(file)).unwrap();
    }
    std::fs::write(scorer.join("config.json"), "{}").unwrap();
    let names = r#"{"default_scorer": "scorer", "default_reward": "viclip"}"#;
    std::fs::write(folder.path().join("model/noisefind.json"), names).unwrap();
    let scored = json(&succeed(folder.path(), &["score", "clip", "--prompt", "a car", "--model", "model"]));
    assert_eq!(scored["scorer"], "viclip");
    assert!(scored["reward"].is_number(), "{scored}");
}

/// The last line of a command that failed.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, _, stderr) = outcome(folder, arguments);
    assert_eq!(stderr.lines().count(), 1, "more than one line:\n{stderr}");
    format!("{} {stderr}", code.expect("an exit code"))
}

#[test]
fn what_is_no_clip_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    frames(&folder.path().join("mixed"), 3, 1);
    RgbImage::new(32, 64).save(folder.path().join("mixed/003.png")).unwrap();
    RgbImage::from_pixel(64, 64, Rgb([99; 3])).save(folder.path().join("image.png")).unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let score = |file: &str, reward: &str| {
        refused(folder.path(), &["score", file, "--prompt", "a car", "--model", "fake", "--reward", reward])
    };
    insta::assert_snapshot!("frames_of_different_sizes", score("mixed", "dynamic-degree"));
    insta::assert_snapshot!("folder_without_frames", score("empty", "dynamic-degree"));
    insta::assert_snapshot!("image_where_a_clip_is_asked", score("image.png", "dynamic-degree"));
    let arguments = ["tune", "a dog", "--model", "fake", "--reward-frames", "0"];
    insta::assert_snapshot!("reward_frames_of_zero", refused(folder.path(), &arguments));
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion").join(name);
    folder.display().to_string()
}

/// A folder as `AnimateDiffPipeline` saves it: the golden one has only the parts that `sd1` lacks.
fn animatediff(folder: &Path) -> String {
    let model = folder.join("animatediff");
    crate::copy_folder(Path::new(&golden("sd1")), &model);
    std::fs::remove_dir_all(model.join("unet")).expect("it was copied");
    crate::copy_folder(Path::new(&golden("animatediff")), &model);
    model.display().to_string()
}

/// Every command with a tiny random model of each family.
#[test]
fn every_command_works_for_clips() {
    let folder = tempfile::tempdir().unwrap();
    let animatediff = animatediff(folder.path());
    let (modelscope, sd1, adapter) = (golden("modelscope"), golden("sd1"), golden("motion_adapter"));
    let models: [(&str, &[&str]); 3] = [
        ("modelscope", &["--model", &modelscope]),
        ("folder", &["--model", &animatediff]),
        ("adapter", &["--model", &sd1, "--motion-adapter", &adapter, "--scheduler", "ddim"]),
    ];
    for (name, model) in models {
        let settings =
            ["--num-frames", "4", "--num-inference-steps", "2", "--dtype", "f32", "--evaluations", "4"];
        let run = format!("run-{name}");
        let arguments = ["tune", "a green dog", "--reward", "jpeg-size", "--holdout", "dynamic-degree"];
        let rest = ["--batch-size", "2", "--samples", "2", "--out", &run, "--json"];
        let tuned = json(&succeed(folder.path(), &[&arguments[..], model, &settings, &rest].concat()));
        assert_eq!(tuned["evaluations"], 4, "{tuned}");
        let root = folder.path().join(&run);
        for file in ["grid.png", "grid.webp", "grid.gif", "strip.png", "report.html"] {
            assert!(root.join(file).is_file(), "{name} left no {file}");
        }
        let images = names(&root.join("images"));
        for ending in [".webp", ".gif", "-strip.png"] {
            let count = |start: &str| {
                images.iter().filter(|file| file.starts_with(start) && file.ends_with(ending)).count()
            };
            assert_eq!(["base-", "tuned-", "best-"].map(count), [2, 2, 4], "{images:?}");
            assert_eq!(names(&root.join("samples")).iter().filter(|file| file.ends_with(ending)).count(), 4);
        }
        let page = std::fs::read_to_string(root.join("report.html")).unwrap();
        assert!(page.contains(r#""clip":true"#) && page.contains(r#""strips":{"base-"#), "{name}");
        let events = std::fs::read_dir(root.join("tensorboard")).unwrap().next().unwrap().unwrap().path();
        let events = std::fs::read(events).unwrap();
        assert!(events.windows(6).any(|bytes| bytes == b"GIF89a"), "TensorBoard gets no clip");

        let compared = json(&succeed(folder.path(), &["compare", &run, "--samples", "2", "--json"]));
        assert_eq!(compared["samples"], 2);
        let sheet = format!("{name}.webp");
        let sampled = ["sample", &run, "-n", "2", "--out", name, "--grid", &sheet, "--json"];
        let sampled = json(&succeed(folder.path(), &sampled));
        let files: Vec<&str> =
            sampled["images"].as_array().unwrap().iter().map(|one| one["file"].as_str().unwrap()).collect();
        assert!(files.len() >= 6 && files[0].ends_with("seed-0.webp"), "{files:?}");
        let played = std::fs::read(folder.path().join(&sheet)).unwrap();
        let played = WebPDecoder::new(std::io::Cursor::new(played)).unwrap().into_frames();
        assert_eq!(played.count(), 4);
        let score = ["score", files[0], files[1], "--prompt", "a dog", "--model", "fake", "--reward"];
        let scored = succeed(folder.path(), &[&score[..], &["dynamic-degree"]].concat());
        assert_eq!(scored.lines().filter(|line| json(line)["reward"].is_number()).count(), 2, "{scored}");
        let inspected = json(&succeed(folder.path(), &["inspect", &run, "--json"]));
        assert_eq!(inspected["policy"]["noise_shape"], serde_json::json!([4, 4, 8, 8]), "{inspected}");
    }
    for (model, family) in [(&modelscope, "ModelScope text-to-video"), (&animatediff, "AnimateDiff")] {
        let inspected = json(&succeed(folder.path(), &["inspect", model, "--json"]));
        assert_eq!((&inspected["family"], &inspected["noise_shape"][1]), (&family.into(), &16.into()));
        assert!(inspected["memory_bytes"]["f32"].as_u64() > Some(0), "{inspected}");
    }
}

/// Stopped between two samples, a run of clips goes on to the same policy.
#[test]
fn a_resumed_run_of_clips_reads_its_clips_back() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = |out| {
        [
            "tune",
            "a green dog",
            "--model",
            "fake-video",
            "--evaluations",
            "16",
            "--samples",
            "4",
            "--out",
            out,
        ]
    };
    succeed(folder.path(), &arguments("whole"));
    succeed(folder.path(), &arguments("again"));
    for file in ["comparison.json", "grid.png", "grid.webp", "strip.png"] {
        std::fs::remove_file(folder.path().join("again").join(file)).unwrap();
    }
    succeed(folder.path(), &["tune", "--resume", "again"]);
    for file in ["grid.png", "grid.webp", "strip.png"] {
        let read = |run: &str| std::fs::read(folder.path().join(run).join(file)).unwrap();
        assert!(read("again") == read("whole"), "{file} differs");
    }
}

/// A program in place of `ffmpeg`, and none: what is written, and what is said.
#[cfg(unix)]
#[test]
fn mp4_files_are_written_where_ffmpeg_is_found() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let sample = |path: &Path, out: &str| {
        let arguments = ["sample", "--prompt", "x", "--model", "fake-video", "-n", "2", "--out", out];
        let output = crate::noisefind(folder.path(), &arguments).env("PATH", path).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (none, some) = (folder.path().join("none"), folder.path().join("some"));
    std::fs::create_dir(&none).unwrap();
    std::fs::create_dir(&some).unwrap();
    let said = sample(&none, "without");
    assert_eq!(said.matches("no ffmpeg was found").count(), 1, "{said}");
    let program = some.join("ffmpeg");
    // It writes what it reads into the file that its last argument names.
    let script = "#!/bin/sh\n[ \"$1\" = -version ] && exit 0\nfor last; do :; done\n/bin/cat > \"$last\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = sample(&some, "with");
    assert!(!said.contains("ffmpeg"), "{said}");
    // Four frames of 8 x 8 pixels in three colours.
    let written = std::fs::read(folder.path().join("with/seed-1.mp4")).unwrap();
    assert_eq!(written.len(), 4 * 8 * 8 * 3);
    let failing = "#!/bin/sh\n[ \"$1\" = -version ] && exit 0\necho 'no such encoder' >&2\nexit 1\n";
    std::fs::write(&program, failing).unwrap();
    let said = sample(&some, "failing");
    assert!(said.contains("seed-0.mp4: no such encoder"), "{said}");
    assert!(!folder.path().join("failing/seed-0.mp4.part").exists());
}

#[test]
fn settings_that_make_no_clip_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sample = |model: &str, more: &[&str]| {
        let model = golden(model);
        let start = ["sample", "--prompt", "a dog", "--num-inference-steps", "2", "--model", &model];
        let said = refused(folder.path(), &[&start[..], more].concat());
        said.replace(&golden(""), "GOLDEN/")
    };
    let (adapter, kohya) = (golden("motion_adapter"), golden("adapters/kohya.safetensors"));
    insta::assert_snapshot!("clip_of_a_model_of_images", sample("sd1", &["--num-frames", "8"]));
    insta::assert_snapshot!("zero_frames", sample("modelscope", &["--num-frames", "0"]));
    let animated = ["--scheduler", "ddim", "--motion-adapter", &adapter, "--num-frames", "7"];
    insta::assert_snapshot!("more_frames_than_the_adapter_has", sample("sd1", &animated));
    insta::assert_snapshot!("adapter_of_other_sizes", sample("sd2", &["--motion-adapter", &adapter]));
    insta::assert_snapshot!("adapter_that_is_none", sample("sd1", &["--motion-adapter", &kohya]));
    insta::assert_snapshot!("adapter_on_sdxl", sample("sdxl", &["--motion-adapter", &adapter]));
    insta::assert_snapshot!(
        "adapter_on_a_model_of_clips",
        sample("modelscope", &["--motion-adapter", &adapter])
    );
    let absent = ["--motion-adapter", "no-such-adapter"];
    insta::assert_snapshot!("adapter_that_is_absent", sample("sd1", &absent));
    let tune = |more: &[&str]| {
        let start = ["tune", "a dog", "--reward", "dynamic-degree", "--out", "run"];
        refused(folder.path(), &[&start[..], more].concat()).replace(&golden(""), "GOLDEN/")
    };
    insta::assert_snapshot!("scorer_of_clips_for_a_model_of_images", tune(&["--model", "fake"]));
    let modelscope = golden("modelscope");
    insta::assert_snapshot!(
        "scorer_of_clips_for_one_frame",
        tune(&["--model", &modelscope, "--num-frames", "1", "--num-inference-steps", "2"])
    );
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_motion_adapter_comes_from_the_hub() {
    let (model, adapter) = (golden("sd1"), golden("motion_adapter_no_mid"));
    let hub = FakeHub::start(Path::new(&adapter).canonicalize().unwrap(), "secret");
    let folder = tempfile::tempdir().unwrap();
    let clip = |adapter: &str, out: &str| {
        let arguments = ["sample", "--prompt", "a dog", "--model", &model, "--motion-adapter", adapter];
        let settings = ["--num-frames", "3", "--num-inference-steps", "2", "-n", "1", "--out", out];
        let mut command = crate::noisefind(folder.path(), &[&arguments[..], &settings].concat());
        command.env("HF_ENDPOINT", &hub.endpoint).env("HF_TOKEN", "secret").assert().success();
        std::fs::read(folder.path().join(out).join("seed-0.webp")).unwrap()
    };
    assert!(clip(ID, "hub") == clip(&adapter, "folder"), "the clips differ");
    let needed = ["config.json", "diffusion_pytorch_model.safetensors"];
    assert_eq!(hub.downloads(), needed.map(str::to_owned).into());
}

/// The video model inside the program, with its own scorer and judge.
#[test]
fn the_default_video_model_is_tuned_sampled_and_scored() {
    let (folder, prompt) = (tempfile::tempdir().unwrap(), "a red car moving from right to left");
    let model = ["--model", "emoji-64-video", "--num-inference-steps", "2", "--dtype", "f32"];
    let rest = ["--evaluations", "4", "--batch-size", "2", "--samples", "2", "--out", "run", "--json"];
    let tuned = json(&succeed(folder.path(), &[&["tune", prompt][..], &model, &rest].concat()));
    assert_eq!(tuned["evaluations"], 4, "{tuned}");
    let config = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    for setting in ["num_frames = 8", "fps = 6.0", "judge = \"scene-judge\"", "viclip"] {
        assert!(config.contains(setting), "{setting} is not in\n{config}");
    }
    succeed(folder.path(), &["sample", "run", "-n", "1", "--seed", "3", "--out", "sampled"]);
    let strip = image::open(folder.path().join("sampled/seed-3-strip.png")).expect("a strip").to_rgb8();
    assert_eq!(strip.height(), 64);
    let score = |reward: &str| {
        let clip = ["score", "sampled/seed-3.webp", "--prompt", prompt, "--model", "emoji-64-video"];
        json(&succeed(folder.path(), &[&clip[..], &["--reward", reward]].concat()))["reward"].as_f64()
    };
    let cosine = score("viclip").expect("a number");
    assert!((-1.0..=1.0).contains(&cosine), "{cosine}");
    assert!([Some(0.0), Some(1.0)].contains(&score("scene-judge")));
    let inspected = json(&succeed(folder.path(), &["inspect", "emoji-64-video", "--json"]));
    assert_eq!(
        inspected["noise_shape"],
        serde_json::json!([4, 8, 16, 16]),
        "as many frames as it recommends"
    );
    // Its base brings a scorer of images, for the mean over frames.
    assert!(score("clip-score").is_some());
}

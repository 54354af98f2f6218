//! What the commands print and leave behind.

use std::fs;

use serde_json::Value;

use crate::{json, names, outcome, small_run, succeed};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn tune_leaves_a_whole_run_and_prints_the_documented_keys() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = json(&succeed(folder.path(), &small_run(&["--json", "--seed", "7"])));
    for key in ["run", "policy", "evaluations", "elapsed_seconds", "stop_reason", "comparison"] {
        assert!(keys(&tuned).contains(&key), "{key} is missing");
    }
    let compared = &tuned["comparison"];
    let documented = [
        "prompt",
        "samples",
        "base",
        "tuned",
        "standardised_gain",
        "standardised_gain_ci95",
        "diversity_ratio",
        "kl_nats",
        "evaluations",
        "elapsed_seconds",
        "best_of_n",
    ];
    documented.iter().for_each(|key| assert!(keys(compared).contains(key), "{key} is missing"));
    let arm = ["reward_mean", "reward_ci95", "success_rate", "success_ci95", "diversity"];
    for side in ["base", "tuned"] {
        arm.iter().for_each(|key| assert!(keys(&compared[side]).contains(key), "{side}.{key} is missing"));
    }
    ["n", "reward_mean", "success_rate"]
        .iter()
        .for_each(|key| assert!(keys(&compared["best_of_n"]).contains(key)));
    // The fake reward is almost linear in the noise, so a method that learns anything gains.
    assert!(compared["standardised_gain_ci95"][0].as_f64().unwrap() > 0.0, "{compared}");
    assert_eq!(compared["best_of_n"]["n"], 5);

    let run = folder.path().join("run");
    assert_eq!(
        names(&run),
        [
            "best-noises.safetensors",
            "comparison.json",
            "config.toml",
            "curve.png",
            "environment.json",
            "grid.png",
            "images",
            "metrics.jsonl",
            "policy",
            "policy.safetensors",
            "report.html",
            "rewards.jsonl",
            "samples",
            "tensorboard"
        ]
    );
    let images = names(&run.join("images"));
    let count = |prefix| images.iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((count("base-"), count("tuned-"), count("best-"), images.len()), (16, 16, 4, 36));
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 4);
}

#[test]
fn the_same_command_gives_the_same_policy_and_config_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |run: &str| fs::read(folder.path().join(run).join("policy.safetensors")).unwrap();
    for method in ["find", "paper"] {
        succeed(folder.path(), &small_run(&["--method", method, "--force"]));
        let first = policy("run");
        succeed(folder.path(), &small_run(&["--method", method, "--force"]));
        assert_eq!(policy("run"), first, "{method}");
        fs::copy(folder.path().join("run/config.toml"), folder.path().join("config.toml")).unwrap();
        succeed(folder.path(), &["tune", "--config", "config.toml", "--out", method]);
        assert_eq!(policy(method), first, "{method}");
        succeed(folder.path(), &small_run(&["--method", method, "--force", "--seed", "1"]));
        assert_ne!(policy("run"), first, "{method}");
    }
}

#[test]
fn the_table_names_the_files_and_the_lines_of_python() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = outcome(folder.path(), &small_run(&[]));
    assert_eq!(code, Some(0), "{stderr}");
    for part in
        ["mean reward", "success rate", "best of 5 base samples", "run/policy.safetensors", "load_file"]
    {
        assert!(stdout.contains(part), "{part} is missing:\n{stdout}");
    }
    for part in ["prompt   a green dog", "noise 3x8x8", "evaluated 64/64", "generated 32/32"] {
        assert!(stderr.contains(part), "{part} is missing:\n{stderr}");
    }
}

#[test]
fn without_out_each_run_gets_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["tune", "a green dog", "--model", "fake", "--evaluations", "16", "--samples", "4"];
    succeed(folder.path(), &arguments);
    succeed(folder.path(), &arguments);
    let runs = names(&folder.path().join("runs"));
    assert!(runs[0].ends_with("-a-green-dog-0") && runs[1].ends_with("-a-green-dog-0-2"), "{runs:?}");
}

#[test]
fn compare_repeats_the_comparison_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = json(&succeed(folder.path(), &small_run(&["--json"])));
    assert_eq!(json(&succeed(folder.path(), &["compare", "run", "--json"])), tuned["comparison"]);
    let other = json(&succeed(folder.path(), &["compare", "run", "--json", "--seed", "5", "--samples", "8"]));
    assert_eq!((&other["samples"], &other["first_seed"]), (&Value::from(8), &Value::from(5)));
    assert_eq!(other["best_of_n"]["reward_mean"], Value::Null);
}

#[test]
fn a_image_of_the_comparison_can_be_drawn_and_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = json(&succeed(folder.path(), &small_run(&["--json"])));
    let seed = tuned["comparison"]["first_seed"].as_u64().unwrap().to_string();
    succeed(
        folder.path(),
        &["sample", "run", "-n", "1", "--seed", &seed, "--grid", "sheet.png", "--out", "samples"],
    );
    let pixels = |path: String| image::open(folder.path().join(path)).unwrap().into_rgb8().into_raw();
    assert_eq!(pixels(format!("samples/seed-{seed}.png")), pixels(format!("run/images/tuned-{seed}.png")));
    succeed(
        folder.path(),
        &["sample", "--model", "fake", "--prompt", "a dog", "-n", "1", "--seed", &seed, "--out", "base"],
    );
    assert_eq!(pixels(format!("base/seed-{seed}.png")), pixels(format!("run/images/base-{seed}.png")));

    let image = format!("samples/seed-{seed}.png");
    let scored = json(&succeed(folder.path(), &["score", &image, "--model", "fake", "--prompt", "a dog"]));
    assert_eq!((&scored["file"], &scored["scorer"]), (&Value::from(image.clone()), &Value::from("fake")));
    assert!(scored["reward"].is_f64());
    let judged = json(&succeed(
        folder.path(),
        &["score", &image, "--model", "fake", "--prompt", "a dog", "--reward", "fake-judge"],
    ));
    assert_eq!(
        (&judged["reward"], &judged["reason"]),
        (&Value::Null, &Value::from("the judge knows only the word green"))
    );
}

#[test]
fn the_best_noises_draw_the_best_images_again() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let best = ["sample", "run", "--noise", "run/best-noises.safetensors"];
    let saves = ["--save-noise", "noise.safetensors", "--save-latents", "latents.safetensors"];
    let sampled = json(&succeed(folder.path(), &[&best[..], &saves, &["--json"]].concat()));
    let files = |values: &Value| {
        let files = values.as_array().unwrap().iter().map(|one| one["file"].as_str().unwrap().to_owned());
        files.collect::<Vec<_>>()
    };
    let open = |path: &str| image::open(folder.path().join(path)).unwrap().into_rgb8().into_raw();
    let mut again = files(&sampled["images"]).iter().map(|file| open(file)).collect::<Vec<_>>();
    let images = names(&folder.path().join("run/images"));
    let kept = images.iter().filter(|name| name.starts_with("best-"));
    let mut kept = kept.map(|name| open(&format!("run/images/{name}"))).collect::<Vec<_>>();
    again.sort();
    kept.sort();
    assert!(again == kept);

    // The best comes first, and its reward is the best of the run.
    let first = files(&sampled["images"])[0].clone();
    let scored =
        json(&succeed(folder.path(), &["score", &first, "--model", "fake", "--prompt", "a green dog"]));
    let best = crate::metrics(&folder.path().join("run")).last().unwrap()["best_reward"].as_f64().unwrap();
    // The image on disk has 8 bits.
    assert!((scored["reward"].as_f64().unwrap() - best).abs() < 2e-3);
    let image = fs::read(
        folder.path().join("run/images").join(images.iter().find(|name| name.starts_with("best-")).unwrap()),
    );
    let text = String::from_utf8_lossy(&image.unwrap()).into_owned();
    assert!(text.contains("seed\0\0\0\0\x000, step ") && text.contains("reward\0\0\0\0\0fake 0."));

    let [noise, latents] = ["noise.safetensors", "latents.safetensors"]
        .map(|file| noisefind::rundir::read_tensors(&folder.path().join(file)).unwrap());
    assert_eq!((&noise["noise"].shape, &latents["latents"].shape), (&vec![4, 3, 8, 8], &vec![4, 3, 8, 8]));
    // The fake model's latents are its noise.
    assert!(noise["noise"].values == latents["latents"].values);
}

#[test]
fn the_environment_says_what_made_the_run() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let made = json(&fs::read_to_string(folder.path().join("run/environment.json")).unwrap());
    let documented =
        ["program_version", "git_commit", "started", "device", "dtype", "threads", "instruction_sets"];
    let hashes = ["kernels", "model_sha256", "weights_sha256", "scorers_sha256"];
    documented.iter().chain(&hashes).for_each(|key| assert!(keys(&made).contains(key), "{key} is missing"));
    if let Some(commit) = made["git_commit"].as_str() {
        assert!(commit.len() >= 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit()), "{commit}");
    }
}

#[test]
fn threads_are_as_many_as_asked_for_up_to_the_cores_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut policies = Vec::new();
    for threads in [1, 1024] {
        succeed(folder.path(), &small_run(&["--force", "--threads", &threads.to_string()]));
        let made = json(&fs::read_to_string(folder.path().join("run/environment.json")).unwrap());
        assert_eq!(made["threads"], cores.min(threads));
        policies.push(fs::read(folder.path().join("run/policy.safetensors")).unwrap());
    }
    assert!(policies[0] == policies[1]);
    let doctor = succeed(folder.path(), &["doctor", "--model", "fake", "--json", "--threads", "1"]);
    assert_eq!(json(&doctor)["threads"], 1);
    for wrong in ["0", "1025", "all"] {
        let (code, _, stderr) = outcome(folder.path(), &small_run(&["--threads", wrong]));
        assert!(code == Some(2) && stderr.contains("--threads <N>"), "{stderr}");
    }
}

#[test]
fn inspect_knows_runs_policies_and_models() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let kind = |what: &str| {
        let found = json(&succeed(folder.path(), &["inspect", what, "--json"]));
        assert_eq!(found["problems"], Value::Array(vec![]));
        (found["kind"].as_str().unwrap().to_owned(), found)
    };
    let (word, run) = kind("run");
    assert_eq!(
        (word.as_str(), &run["evaluations"], &run["finished"]),
        ("run", &Value::from(64), &Value::from(true))
    );
    let (word, policy) = kind("run/policy.safetensors");
    assert_eq!((word.as_str(), &policy["noise_shape"]), ("policy", &Value::from(vec![3, 8, 8])));
    let (word, model) = kind("fake");
    let documented =
        ["family", "parts", "noise_shape", "parameters", "prediction_type", "scheduler", "problems"];
    documented.iter().for_each(|key| assert!(keys(&model).contains(key), "{key} is missing"));
    assert_eq!(word, "model");
}

#[test]
fn doctor_prints_the_documented_keys() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&succeed(folder.path(), &["doctor", "--model", "fake", "--json"]));
    let documented =
        ["devices", "instruction_sets", "threads", "memory_bytes", "models", "scorers", "images_per_second"];
    documented.iter().for_each(|key| assert!(keys(&found).contains(key), "{key} is missing"));
    assert!(found["images_per_second"].as_f64().unwrap() > 0.0);
}

/// A tiny ImageReward with two images and what its reference makes of them.
const SCORER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewards/image_reward");

#[test]
fn doctor_opens_a_scorer_and_tells_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let reward = format!("image-reward:{SCORER}");
    let examine = |reward: &str, images: &str| {
        let arguments = ["doctor", "--model", "fake", "--json", "--reward", reward, "--pictures", images];
        let (code, stdout, stderr) = outcome(folder.path(), &arguments);
        (code.unwrap(), json(&stdout), stderr)
    };
    let (code, found, stderr) = examine(&reward, SCORER);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let scorers = found["scorers"].as_array().unwrap();
    let of = |name: &str| scorers.iter().find(|scorer| scorer["name"] == name).unwrap();
    assert_eq!(of(&reward)["ready"], true);
    assert!(of("hps-v2")["missing"].as_str().unwrap().contains("HPS_v2_compressed.pt"));
    let test = &found["self_tests"][0];
    assert_eq!((&test["passed"], test["images"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    assert!(test["largest_difference"].as_f64().unwrap() < 1e-4, "{test}");

    for name in ["picture-0.png", "picture-1.png"] {
        fs::copy(format!("{SCORER}/{name}"), folder.path().join(name)).unwrap();
    }
    let text = fs::read_to_string(format!("{SCORER}/self-test.json")).unwrap();
    fs::write(folder.path().join("self-test.json"), text.replace("rabbit", "dog")).unwrap();
    let (code, found, stderr) = examine(&reward, ".");
    assert_eq!((code, &found["self_tests"][0]["passed"]), (1, &Value::Bool(false)));
    assert!(stderr.contains("image-reward differs by up to"), "{stderr}");

    let (code, found, stderr) = examine("image-reward:.", ".");
    assert_eq!((code, stderr.as_str()), (1, "error: image-reward:. is not ready\n"));
    let scorers = found["scorers"].as_array().unwrap();
    let missing = scorers.last().unwrap()["missing"].as_str().unwrap();
    assert!(missing.contains("med_config.json"), "{missing}");
}

#[test]
fn a_closed_pipe_is_success() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &small_run(&[]));
    let program = env!("CARGO_BIN_EXE_noisefind");
    let script =
        format!("set -o pipefail; {program} inspect run | true; {program} inspect run --json | head -c 1");
    let output =
        std::process::Command::new("bash").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"{");
}

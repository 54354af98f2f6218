//! External scorers and generators that behave, and every way in which they do not.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use noisefind_core::media::Media;
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_core::ports::{Generator, Reward, Scorer};
use noisefind_external::{ExternalGenerator, ExternalOptions, ExternalScorer};
use tempfile::TempDir;

/// Says that it is ready, then sets `$id` for each request; `BODY` decides what to answer.
const SCRIPT: &str = r#"
read -r hello
printf '{"ready":true,"name":"fake"}\n'
while read -r line; do
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
    BODY
done
"#;

fn script(body: &str) -> String {
    SCRIPT.replace("BODY", body)
}

fn options(request_millis: u64, attempts: u32) -> ExternalOptions {
    ExternalOptions {
        start_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_millis(request_millis),
        attempts,
    }
}

fn scorer(body: &str) -> ExternalScorer {
    ExternalScorer::open(&script(body), options(20_000, 1)).expect("the scorer starts")
}

fn images(count: usize) -> Vec<Media> {
    (0..count).map(|at| Media::new(1, 2, 3, vec![25 * at as u8; 18]).expect("18 values")).collect()
}

fn message(scorer: &mut ExternalScorer, count: usize) -> String {
    scorer.score("a dog", &images(count)).expect_err("the scorer fails").to_string()
}

#[test]
fn rewards_come_back_in_order_and_null_and_nan_are_missing() {
    let mut scorer = scorer(r#"printf '{"id":%s,"rewards":[0.5,null,NaN]}\n' "$id""#);
    assert_eq!(scorer.name(), "fake");
    for _ in 0..3 {
        let rewards = scorer.score("a \"quoted\" dog\n", &images(3)).unwrap();
        assert_eq!(rewards[0], Reward::Given(0.5));
        assert!(rewards[1..].iter().all(|reward| matches!(reward, Reward::Missing(_))));
    }
    assert_eq!(scorer.score("a dog", &[]).unwrap(), []);
}

#[test]
fn the_scorer_sees_the_images_and_a_clip_is_a_list_of_frames() {
    let body = r#"
        printf '%s\n' "$line" >&2
        case $line in *'"media":[["'*'-0.png","'*'-1.png"]]'*) clip=1;; *) clip=0;; esac
        path=${line#*\"media\":[}; path=${path#*\"}; path=${path%%\"*}
        head -c 4 "$path" | tail -c 3 | grep -q PNG && printf '{"id":%s,"rewards":[%s]}\n' "$id" "$clip"
    "#;
    let mut scorer = scorer(body);
    assert_eq!(scorer.score("a dog", &images(1)).unwrap(), [Reward::Given(0.0)]);
    let clip = Media::new(2, 2, 2, vec![128; 24]).unwrap();
    assert_eq!(scorer.score("a dog", &[clip]).unwrap(), [Reward::Given(1.0)]);
}

#[test]
fn a_process_that_does_not_start_is_named_with_its_last_words() {
    let open = |command: &str| ExternalScorer::open(command, options(1000, 1)).err().unwrap().to_string();
    let missing = open("noisefind-no-such-program");
    assert!(missing.contains("`noisefind-no-such-program` did not start"), "{missing}");
    assert!(missing.contains("stderr: ") && missing.contains("not found"), "{missing}");
    let refused = open(r#"echo '{"ready":false,"error":"no key"}'; cat"#);
    assert!(refused.ends_with("it reported: no key"), "{refused}");
    let chatty = open("echo loading the model; cat");
    assert!(chatty.contains("not a JSON object: `loading the model`"), "{chatty}");
    let impatient = ExternalOptions { start_timeout: Duration::from_millis(100), ..options(1000, 1) };
    let slow = ExternalScorer::open("cat >/dev/null", impatient).err().unwrap().to_string();
    assert!(slow.contains("not ready within 0.1 s"), "{slow}");
}

#[test]
fn a_process_that_always_dies_ends_with_its_last_words() {
    let mut scorer = scorer("echo 'out of memory' >&2; exit 3");
    let message = message(&mut scorer, 1);
    assert!(message.contains("ended with exit status: 3 before it answered"), "{message}");
    assert!(message.contains("stderr: out of memory"), "{message}");
}

#[test]
fn a_process_that_dies_once_is_restarted_and_asked_again() {
    let folder = TempDir::new().unwrap();
    let marker = folder.path().join("died");
    let body = format!(
        r#"[ -e {0} ] || {{ : > {0}; exit 1; }}; printf '{{"id":%s,"rewards":[1]}}\n' "$id""#,
        marker.display()
    );
    let mut scorer = ExternalScorer::open(&script(&body), options(20_000, 2)).unwrap();
    assert_eq!(scorer.score("a dog", &images(1)).unwrap(), [Reward::Given(1.0)]);
    assert!(marker.exists());
}

#[test]
fn a_failure_that_asks_for_it_is_retried_and_another_is_not() {
    let folder = TempDir::new().unwrap();
    let asked = folder.path().join("asked");
    let failing = |again: bool| {
        format!(
            r#"echo >> {0}; printf '{{"id":%s,"error":"busy","retry":{again}}}\n' "$id""#,
            asked.display()
        )
    };
    for (again, expected) in [(true, 2), (false, 1)] {
        let mut scorer = ExternalScorer::open(&script(&failing(again)), options(20_000, 2)).unwrap();
        let message = message(&mut scorer, 1);
        assert!(message.contains("reported: busy"), "{message}");
        assert_eq!(std::fs::read(&asked).unwrap().len(), expected, "retry {again}");
        std::fs::remove_file(&asked).unwrap();
    }
}

#[test]
fn a_scorer_that_hangs_is_missing_twice_and_given_up_the_third_time() {
    let mut scorer = ExternalScorer::open(&script("sleep 60"), options(100, 1)).unwrap();
    for _ in 0..2 {
        let rewards = scorer.score("a dog", &images(2)).unwrap();
        assert_eq!(rewards.len(), 2);
        assert!(matches!(&rewards[0], Reward::Missing(why) if why.contains("no answer within 0.1 s")));
    }
    let message = message(&mut scorer, 1);
    assert!(message.contains("no answer within 0.1 s"), "{message}");
}

#[test]
fn a_late_answer_is_never_taken_for_the_next_one() {
    let folder = TempDir::new().unwrap();
    let marker = folder.path().join("late");
    let body = format!(
        r#"[ -e {0} ] || {{ : > {0}; sleep 1; printf '{{"id":%s,"rewards":[9]}}\n' "$id"; continue; }}
        printf '{{"id":%s,"rewards":[1]}}\n' "$id""#,
        marker.display()
    );
    let mut scorer = ExternalScorer::open(&script(&body), options(400, 1)).unwrap();
    assert!(matches!(scorer.score("a dog", &images(1)).unwrap()[0], Reward::Missing(_)));
    for _ in 0..2 {
        assert_eq!(scorer.score("a dog", &images(1)).unwrap(), [Reward::Given(1.0)]);
        sleep(Duration::from_millis(400));
    }
}

#[test]
fn an_answer_given_twice_is_an_error_and_not_the_next_reward() {
    let mut scorer = scorer(r#"printf '{"id":%s,"rewards":[1]}\n{"id":%s,"rewards":[2]}\n' "$id" "$id""#);
    assert_eq!(scorer.score("a dog", &images(1)).unwrap(), [Reward::Given(1.0)]);
    let message = message(&mut scorer, 1);
    assert!(message.contains("answered with id 1 where id 2 was asked"), "{message}");
}

#[test]
fn garbage_is_refused_by_name() {
    for (body, expected) in [
        ("echo hello", "not a JSON object: `hello`"),
        (r#"printf '{"rewards":[1]}\n'"#, "no id where id 1 was asked"),
        (r#"printf '{"id":%s}\n' "$id""#, "without a list `rewards`"),
        (r#"printf '{"id":%s,"rewards":[1,2]}\n' "$id""#, "gave 2 rewards for 1 images"),
        (r#"printf '{"id":%s,"rewards":["high"]}\n' "$id""#, r#"gave "high" where a reward"#),
        (r"head -c 3000000 /dev/zero | tr '\0' x; echo", "not a JSON object: `xxx"),
    ] {
        let message = message(&mut scorer(body), 1);
        assert!(message.contains(expected), "{message}");
        assert!(message.len() < 1000, "{} bytes of message", message.len());
    }
}

#[test]
fn a_process_that_floods_us_is_held_back() {
    let mut scorer = scorer(
        r#"head -c 5000000 /dev/zero | tr '\0' e >&2; printf '{"id":%s,"rewards":[1]}\n' "$id"
        yes '{"id":1,"rewards":[7]}'"#,
    );
    assert_eq!(scorer.score("a dog", &images(1)).unwrap(), [Reward::Given(1.0)]);
    let message = message(&mut scorer, 1);
    assert!(message.contains("answered with id 1 where id 2 was asked"), "{message}");
    assert!(message.len() < 10_000, "{} bytes of message", message.len());
}

#[test]
fn a_generator_gets_noise_and_gives_images() {
    let folder = TempDir::new().unwrap();
    let (image, seen) = (folder.path().join("a.png"), folder.path().join("seen.safetensors"));
    image::RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8 * 100, y as u8 * 255, 7]))
        .save(&image)
        .unwrap();
    let command = format!(
        r#"read -r hello; printf '{{"ready":true,"noise_shape":[1,2,2],"default_rewards":["clip-score"]}}\n'
        while read -r line; do
            id=${{line#*\"id\":}}; id=${{id%%[,\}}]*}}
            path=${{line#*\"noise\":\"}}; cp "${{path%%\"*}}" {seen}
            printf '{{"id":%s,"media":["{image}",["{image}","{image}"]]}}\n' "$id"
        done"#,
        seen = seen.display(),
        image = image.display()
    );
    let mut generator =
        ExternalGenerator::open(&command, serde_json::Map::new(), options(20_000, 1)).unwrap();
    let shape = NoiseShape::image(1, 2, 2);
    assert_eq!(generator.noise_shape(), shape);
    assert_eq!(generator.default_rewards(), ["clip-score"]);
    let noise = |index: u32| {
        let values = (0..4).map(|at| at as f32 + 10.0 * index as f32).collect();
        Noise::new(SampleKey { seed: 1, iteration: 2, index }, shape, values).unwrap()
    };
    let media = generator.generate("a dog", &[noise(0), noise(1)]).unwrap();
    assert_eq!((media[0].frames(), media[0].height(), media[0].width()), (1, 2, 3));
    let expected = image::open(&image).unwrap().to_rgb8().into_raw();
    assert_eq!(media[0].frame(0), expected);
    assert_eq!((media[1].frames(), media[1].frame(1)), (2, &expected[..]));

    let file = std::fs::read(seen).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let tensor = tensors.tensor("noise").unwrap();
    assert_eq!(tensor.shape(), [2, 1, 2, 2]);
    assert_eq!(tensor.data()[4 * 4..][..4], 10f32.to_le_bytes());

    let message = generator.generate("a dog", &[noise(0)]).unwrap_err().to_string();
    assert!(message.contains("gave 2 images for 1 noises"), "{message}");
}

#[test]
fn a_generator_that_fails_is_named_with_what_it_did() {
    for (body, expected) in [
        ("echo 'no memory' >&2; exit 4", "ended with exit status: 4 before it answered\n  stderr: no memory"),
        ("sleep 60", "gave no answer within 1 s, 1 time(s) in a row"),
        ("echo drawing", "not a JSON object: `drawing`"),
        (r#"printf '{"id":%s,"media":[7]}\n' "$id""#, "gave 7 where an image's path belongs"),
        (r#"printf '{"id":%s,"media":["/no/such.png"]}\n' "$id""#, "/no/such.png: "),
    ] {
        let command = script(body).replace(r#""ready":true"#, r#""ready":true,"noise_shape":[1,1,1]"#);
        let mut generator =
            ExternalGenerator::open(&command, serde_json::Map::new(), options(1000, 1)).unwrap();
        let key = SampleKey { seed: 1, iteration: 0, index: 0 };
        let noise = Noise::new(key, NoiseShape::image(1, 1, 1), vec![0.5]).unwrap();
        let message = generator.generate("a dog", &[noise]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_generator_must_tell_its_shape() {
    for shape in ["null", "[4,64]", "[4,0,64]", "[4,64,1e9]", "\"4x64x64\""] {
        let command = format!(r#"printf '{{"ready":true,"noise_shape":{shape}}}\n'; cat"#);
        let message = ExternalGenerator::open(&command, serde_json::Map::new(), options(20_000, 1))
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("where [channels, height, width] or"), "{message}");
    }
}

/// A scorer whose child writes a tick every few milliseconds for as long as it lives.
fn ticking(ticks: &Path) -> String {
    let child = format!("(while :; do echo >> {}; sleep 0.02; done) &", ticks.display());
    format!("{child} {}", script(r#"printf '{"id":%s,"rewards":[1]}\n' "$id""#))
}

fn ticks(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn wait_for_ticks(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while ticks(path) < 3 {
        assert!(Instant::now() < deadline, "the process never ticked");
        sleep(Duration::from_millis(10));
    }
}

fn assert_ticks_stopped(path: &Path) {
    sleep(Duration::from_millis(200));
    let before = ticks(path);
    sleep(Duration::from_millis(400));
    assert_eq!(ticks(path), before, "a process outlived its parent");
}

#[test]
fn nothing_outlives_the_scorer() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ticks");
    let scorer = ExternalScorer::open(&ticking(&path), options(20_000, 1)).unwrap();
    wait_for_ticks(&path);
    drop(scorer);
    assert_ticks_stopped(&path);
}

#[test]
fn nothing_outlives_a_killed_parent() {
    const FOLDER: &str = "NOISEFIND_TEST_KILLED_PARENT";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The parent's side: hold the scorer until the other side kills this process.
        let path = PathBuf::from(folder).join("ticks");
        let _scorer = ExternalScorer::open(&ticking(&path), options(20_000, 1)).unwrap();
        sleep(Duration::from_secs(60));
        panic!("the parent was not killed");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ticks");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_outlives_a_killed_parent"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_ticks(&path);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_ticks_stopped(&path);
}

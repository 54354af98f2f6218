//! The judge reads images and prompts as its reference does; golden results by `python -m pretrain.golden`.

use std::path::PathBuf;

use noisefind_core::media::Media;
use noisefind_core::ports::{Reward, Scorer};
use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use noisefind_rewards::judge::{Motion, Object, Relation, SceneJudge};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn placement() -> Placement {
    Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("a CPU")
}

fn golden(name: &str) -> Vec<Value> {
    let path = root().join("pretrain/golden-judge").join(name);
    let text = std::fs::read_to_string(&path).expect("the golden results are there");
    serde_json::from_str(&text).expect("a list of golden results")
}

fn open(placement: &Placement) -> SceneJudge {
    let files = ModelFiles::directory(root().join("models/emoji-64")).expect("the default model is there");
    SceneJudge::open(&files, "judge", placement).expect("its judge opens")
}

fn image(name: &str) -> Media {
    let path = root().join("pretrain/golden-judge").join(name);
    let image = image::open(path).expect("the golden image is there").to_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Media::new(1, height, width, image.into_raw()).expect("its pixels")
}

#[test]
fn prompts_are_read_as_by_the_reference() {
    let judge = open(&placement());
    for golden in golden("prompts.json") {
        let prompt = golden["prompt"].as_str().unwrap();
        let found = judge.grammar().parse(prompt);
        let nouns: Vec<Value> = found
            .nouns
            .iter()
            .map(|asked| {
                serde_json::json!({"noun": asked.noun, "count": asked.count, "color": asked.color, "size": asked.size})
            })
            .collect();
        assert_eq!(Value::Array(nouns), golden["nouns"], "{prompt}");
        assert_eq!(found.place.as_deref(), golden["place"].as_str(), "{prompt}");
        let relation = found.relation.map(|relation| match relation {
            Relation::Left => "left",
            Relation::Right => "right",
            Relation::Above => "above",
            Relation::Below => "below",
        });
        assert_eq!(relation, golden["relation"].as_str(), "{prompt}");
    }
}

#[test]
fn images_are_read_and_judged_as_by_the_reference() {
    for placement in [placement(), placement().portable()] {
        let judge = open(&placement);
        let golden = golden("pictures.json");
        let media: Vec<Media> =
            golden.iter().map(|golden| image(golden["picture"].as_str().unwrap())).collect();
        for (scene, golden) in judge.read(&media).unwrap().iter().zip(&golden) {
            let name = &golden["picture"];
            assert_eq!(scene.place, golden["read"]["place"], "{name}");
            let expected = golden["read"]["objects"].as_array().unwrap();
            assert_eq!(scene.objects.len(), expected.len(), "{name}: {scene}");
            for (object, expected) in scene.objects.iter().zip(expected) {
                assert_eq!(
                    (object.noun.as_str(), object.color.as_str()),
                    (expected["noun"].as_str().unwrap(), expected["color"].as_str().unwrap()),
                    "{name}"
                );
                assert_eq!(
                    (f64::from(object.x), f64::from(object.y)),
                    (expected["x"].as_f64().unwrap(), expected["y"].as_f64().unwrap())
                );
                assert!(
                    (f64::from(object.score) - expected["score"].as_f64().unwrap()).abs() < 1e-4,
                    "{name}"
                );
            }
            for (prompt, verdict) in [("prompt", "verdict"), ("false_prompt", "false_verdict")] {
                let specification = judge.specification(golden[prompt].as_str().unwrap()).unwrap();
                let found = judge.verdict(scene, &specification);
                let expected = &golden[verdict];
                assert_eq!(found.nouns, expected["nouns"], "{name}");
                assert_eq!(found.colors, expected["colors"], "{name}");
                assert_eq!(found.place, expected["place"], "{name}");
                assert_eq!(found.relation, expected["relation"], "{name}");
                assert_eq!(found.holds(), expected["success"], "{name}");
            }
        }
    }
}

#[test]
fn the_judge_is_a_scorer_of_ones_and_zeros_that_knows_its_limits() {
    let mut judge = open(&placement());
    let media = [image("picture-0.png"), image("picture-1.png")];
    let rewards = judge.score("a dog and a cat", &media).unwrap();
    assert!(rewards.iter().all(|reward| [Some(0.0), Some(1.0)].contains(&reward.given())));
    for (prompt, reason) in [("a dog with a sombrero", "sombrero"), ("on the grass", "no object")] {
        let rewards = judge.score(prompt, &media).unwrap();
        assert!(matches!(&rewards[1], Reward::Missing(why) if why.contains(reason)), "{rewards:?}");
    }
}

fn open_for_clips(placement: &Placement) -> SceneJudge {
    let folder = |name: &str| {
        ModelFiles::directory(root().join("models").join(name)).expect("it is in the repository")
    };
    let files = folder("emoji-64-video").over(folder("emoji-64"));
    SceneJudge::open(&files, "judge", placement).expect("it opens with the network of the still model")
}

/// The frames of a clip lie one below the other in its file.
fn clip(name: &str) -> Media {
    let strip = image(&format!("clips/{name}"));
    let frames = strip.height() / strip.width();
    Media::new(frames, strip.width(), strip.width(), strip.pixels().to_vec()).expect("square frames")
}

#[test]
fn motions_are_read_from_prompts_as_by_the_reference() {
    let judge = open_for_clips(&placement());
    for golden in golden("clips/prompts.json") {
        let prompt = golden["prompt"].as_str().unwrap();
        let motion = judge.grammar().motion(prompt).map(Motion::name);
        assert_eq!(motion, golden["motion"].as_str(), "{prompt}");
    }
    // Motions are words that a judge of images does not know.
    let prompt = "a red car moving from right to left";
    assert!(judge.specification(prompt).is_ok());
    assert!(open(&placement()).specification(prompt).unwrap_err().contains("moving, from"));
}

#[test]
fn clips_are_read_as_by_the_reference() {
    let mut judge = open_for_clips(&placement());
    let golden = golden("clips/clips.json");
    assert!(golden.len() >= 7);
    for golden in golden {
        let name = golden["clip"].as_str().unwrap();
        let clip = clip(name);
        let scenes = judge.read_frames(&clip).unwrap();
        let objects: Vec<Value> = (scenes.iter())
            .map(|scene| {
                let object = |o: &Object| serde_json::json!([o.noun, o.color, o.x, o.y]);
                scene.objects.iter().map(object).collect()
            })
            .collect();
        assert_eq!(Value::Array(objects), golden["objects"], "{name}");
        for (prompt, verdict) in [("prompt", "verdict"), ("other_prompt", "other_verdict")] {
            let prompt = golden[prompt].as_str().unwrap();
            let specification = judge.specification(prompt).unwrap();
            let motion = judge.grammar().motion(prompt);
            let found = judge.clip_verdict(&scenes, &specification, motion).unwrap();
            let expected = &golden[verdict];
            assert_eq!(found.frames_right, expected["frames"], "{name}: {prompt}");
            assert_eq!(found.motions[0].map(Motion::name), expected["motion"].as_str(), "{name}: {prompt}");
            assert_eq!(found.motion_right, expected["motion_right"], "{name}: {prompt}");
            assert_eq!(found.holds, expected["success"], "{name}: {prompt}");
            let reward = judge.score(prompt, std::slice::from_ref(&clip)).unwrap()[0].given();
            assert_eq!(reward, Some(f64::from(u8::from(found.holds))), "{name}: {prompt}");
        }
    }
}

#[test]
fn an_image_has_no_motion_and_a_judge_of_images_no_rules_for_it() {
    let mut judge = open_for_clips(&placement());
    let error = judge.score("a dog moving up", &[image("picture-0.png")]).unwrap_err().to_string();
    assert!(error.starts_with("reward `scene-judge` takes clips of at least 2 frames, found 1"), "{error}");
    let images = open(&placement());
    let specification = images.specification("a dog").unwrap();
    assert_eq!(images.clip_verdict(&[], &specification, None), None);
}

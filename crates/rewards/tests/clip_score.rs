//! Every stage of the CLIP score gives the numbers of transformers, made by `golden/rewards/clip.py`.

use std::path::PathBuf;

use noisefind_core::media::Media;
use noisefind_core::ports::Scorer;
use noisefind_diffusion::clip::ClipModel;
use noisefind_diffusion::text::Tokenizer;
use noisefind_diffusion::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use noisefind_rewards::preprocess::Preprocessor;
use noisefind_rewards::{ClipScore, ClipVariant};
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/clip")
}

fn files() -> ModelFiles {
    ModelFiles::directory(folder()).expect("the golden folder is there")
}

fn placement() -> Placement {
    Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("a CPU")
}

fn prompts() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("prompts.json")).expect("the prompts are there");
    serde_json::from_str(&text).expect("a list of prompts")
}

fn picture(name: &str) -> Media {
    let picture = image::open(folder().join(name)).expect("the golden picture is there").to_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bytes = picture.into_raw();
    let planes = (0..3).flat_map(|color| bytes.iter().skip(color).step_by(3));
    Media::new(1, height, width, planes.map(|&byte| f32::from(byte) / 255.0).collect()).expect("its pixels")
}

fn pictures() -> Vec<Media> {
    (0..3).map(|at| picture(&format!("picture-{at}.png"))).collect()
}

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self(std::fs::read(folder().join("golden.safetensors")).expect("the golden numbers are there"))
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).expect("golden numbers")
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = self.tensors();
        let bytes = tensors.tensor(name).expect("a golden tensor").data().to_vec();
        bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        let tensors = self.tensors();
        let bytes = tensors.tensor(name).expect("a golden tensor").data().to_vec();
        bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as u32).collect()
    }
}

/// Largest difference in units of the largest expected number.
fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    found.iter().zip(expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[test]
fn preprocessing_is_that_of_transformers() {
    let pixels = Preprocessor::read(&files(), "", 32).unwrap().pixels(&pictures(), 32).unwrap();
    let error = relative_error(&pixels, &Golden::open().floats("pixel_values"));
    assert!(error < 1e-6, "{error}");
}

#[test]
fn both_towers_and_the_tokenizer_are_those_of_transformers() {
    let golden = Golden::open();
    let model = ClipModel::open(&files(), "", &placement()).unwrap();
    let image = model.image_features(golden.floats("pixel_values"), 3).unwrap().concat();
    let error = relative_error(&image, &golden.floats("image_features"));
    assert!(error < 1e-4, "image features: {error}");
    let config = model.text().config();
    let tokenizer = Tokenizer::open(&files(), "", config.max_position_embeddings, config.vocab_size).unwrap();
    for (at, prompt) in prompts().iter().enumerate() {
        let tokens = tokenizer.encode(prompt).unwrap();
        let ids = golden.ids(&format!("ids.{at}"));
        assert_eq!(tokens.ids[..tokens.length], ids, "{prompt}");
        let text = model.text_features(&[ids]).unwrap().concat();
        let error = relative_error(&text, &golden.floats(&format!("text_features.{at}")));
        assert!(error < 1e-4, "text features of {prompt}: {error}");
    }
}

#[test]
fn scores_are_those_of_transformers_in_every_variant() {
    let golden = Golden::open();
    let scale = 4.6f64.exp();
    let hessel = |cosine: f64| 2.5 * cosine.max(0.0);
    let variants: [(ClipVariant, &dyn Fn(f64) -> f64); 4] = [
        (ClipVariant::Cosine, &|cosine| cosine),
        (ClipVariant::Cosine100, &|cosine| 100.0 * cosine),
        (ClipVariant::Hessel, &hessel),
        (ClipVariant::Logit, &|cosine| scale * cosine),
    ];
    for (variant, of_cosine) in variants {
        let mut scorer = ClipScore::open(&files(), "", variant, &placement()).unwrap();
        for (at, prompt) in prompts().iter().enumerate() {
            let rewards = scorer.score(prompt, &pictures()).unwrap();
            for (reward, logit) in rewards.iter().zip(golden.floats(&format!("logits.{at}"))) {
                let (found, expected) = (reward.given().unwrap(), of_cosine(f64::from(logit) / scale));
                let unit = of_cosine(1.0);
                assert!(
                    (found - expected).abs() < 1e-4 * unit,
                    "{variant:?} of {prompt}: {found}, {expected}"
                );
            }
        }
    }
}

#[test]
fn a_clip_scores_the_mean_of_its_frames() {
    let mut scorer = ClipScore::open(&files(), "", ClipVariant::Cosine, &placement()).unwrap();
    let square = picture("picture-1.png");
    let pixels = square.values().len() / 3;
    let dark: Vec<f32> = square.values().iter().map(|value| value / 2.0).collect();
    let frames = (0..3).flat_map(|color| {
        [square.values(), &dark].map(|frame| frame[color * pixels..][..pixels].to_vec()).concat()
    });
    let clip = Media::new(2, 32, 32, frames.collect()).unwrap();
    let dark = Media::new(1, 32, 32, dark).unwrap();
    let rewards = scorer.score("a green dog", &[square, dark, clip]).unwrap();
    let given: Vec<f64> = rewards.iter().filter_map(|reward| reward.given()).collect();
    assert!((given[0] - given[1]).abs() > 1e-3);
    assert!((given[2] - (given[0] + given[1]) / 2.0).abs() < 1e-6);
}

#[test]
fn half_a_scorer_is_refused_by_name() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "merges.txt"] {
        std::fs::copy(folder().join(name), copy.path().join(name)).unwrap();
    }
    let files = ModelFiles::directory(copy.path()).unwrap();
    let message = ClipScore::open(&files, "", ClipVariant::Cosine, &placement()).err().unwrap().to_string();
    assert!(message.contains("vocab.json"), "{message}");
    assert!("cos".parse::<ClipVariant>().unwrap_err().to_string().contains("clip-score variant is cos"));
}

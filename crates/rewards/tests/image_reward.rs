//! ImageReward gives the numbers of its reference, made by `golden/rewards/image_reward.py`.

use std::path::PathBuf;

use noisefind_core::media::Media;
use noisefind_core::ports::Scorer;
use noisefind_diffusion::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use noisefind_rewards::image_reward::ImageReward;
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/image_reward")
}

fn open(folder: PathBuf, placement: &Placement) -> Result<ImageReward, noisefind_rewards::Error> {
    ImageReward::open(&ModelFiles::directory(folder)?, placement)
}

fn placement() -> Placement {
    Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("a CPU")
}

fn picture(name: &str) -> Media {
    let picture = image::open(folder().join(name)).expect("the golden picture is there").to_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bytes = picture.into_raw();
    let planes = (0..3).flat_map(|color| bytes.iter().skip(color).step_by(3));
    Media::new(1, height, width, planes.map(|&byte| f32::from(byte) / 255.0).collect()).expect("its pixels")
}

#[test]
fn rewards_are_those_of_the_reference_for_plain_and_odd_prompts() {
    let prompts: Vec<String> =
        serde_json::from_str(&std::fs::read_to_string(folder().join("prompts.json")).unwrap()).unwrap();
    let file = std::fs::read(folder().join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    let media = [picture("picture-0.png"), picture("picture-1.png")];
    for placement in [placement(), placement().portable()] {
        let mut scorer = open(folder(), &placement).unwrap();
        for (at, prompt) in prompts.iter().enumerate() {
            let bytes = golden.tensor(&format!("rewards.{at}")).unwrap().data().to_vec();
            let expected = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            let rewards = scorer.score(prompt, &media).unwrap();
            for (reward, expected) in rewards.iter().zip(expected) {
                let found = reward.given().unwrap();
                assert!(
                    (found - f64::from(expected)).abs() < 1e-4,
                    "{prompt}: {found} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn a_folder_without_the_vocabulary_is_refused_by_name() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["ImageReward.pt", "med_config.json"] {
        std::fs::copy(folder().join(name), copy.path().join(name)).unwrap();
    }
    let message = open(copy.path().into(), &placement()).err().unwrap().to_string();
    assert!(message.contains("vocab.txt"), "{message}");
    std::fs::write(copy.path().join("vocab.txt"), "[CLS]\n[SEP]\n").unwrap();
    let message = open(copy.path().into(), &placement()).err().unwrap().to_string();
    assert!(message.contains("expected the token [UNK]"), "{message}");
}

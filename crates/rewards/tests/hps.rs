//! HPSv2 gives the numbers of its reference, made by `golden/rewards/hps.py`.

use std::path::PathBuf;

use noisefind_core::media::Media;
use noisefind_core::ports::Scorer;
use noisefind_diffusion::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use noisefind_rewards::{Hps, HpsVersion};
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards/hps")
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
fn scores_are_those_of_the_reference_for_square_wide_and_tall_pictures() {
    let prompts: Vec<String> =
        serde_json::from_str(&std::fs::read_to_string(folder().join("prompts.json")).unwrap()).unwrap();
    let file = std::fs::read(folder().join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    let media: Vec<Media> = (0..3).map(|at| picture(&format!("picture-{at}.png"))).collect();
    let files = ModelFiles::directory(folder()).unwrap();
    for placement in [placement(), placement().portable()] {
        let mut scorer = Hps::open(&files, HpsVersion::V2, &placement).unwrap();
        for (at, prompt) in prompts.iter().enumerate() {
            let bytes = golden.tensor(&format!("scores.{at}")).unwrap().data().to_vec();
            let expected = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            let rewards = scorer.score(prompt, &media).unwrap();
            for (reward, expected) in rewards.iter().zip(expected) {
                let found = reward.given().unwrap();
                assert!(
                    (found - f64::from(expected)).abs() < 2e-5,
                    "{prompt}: {found} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn the_other_version_is_missed_by_its_name() {
    let files = ModelFiles::directory(folder()).unwrap();
    let message = Hps::open(&files, HpsVersion::V2_1, &placement()).err().unwrap().to_string();
    assert!(message.contains("HPS_v2.1_compressed.pt"), "{message}");
}

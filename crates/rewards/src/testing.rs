//! What the tests of this crate share: a scorer without a model, and reference numbers with the comparison.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_tensor::{DType, Tensor};
use noisefind_core::media::Media;
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::{DeviceChoice, DtypeChoice, ModelFiles, Placement};
use safetensors::SafeTensors;

/// Rewards the mean of all pixels, and counts what it has scored.
pub(crate) struct Brightness {
    pub(crate) factor: f64,
    pub(crate) missing_below: f64,
    pub(crate) scored: Arc<AtomicUsize>,
}

impl Default for Brightness {
    fn default() -> Self {
        Self { factor: 1.0, missing_below: f64::NEG_INFINITY, scored: Arc::default() }
    }
}

impl Brightness {
    /// How many images have been scored so far, also after the scorer has been given away.
    pub(crate) fn scored(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.scored)
    }
}

impl Scorer for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }

    fn score(&mut self, _prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        self.scored.fetch_add(media.len(), Ordering::Relaxed);
        let reward = |media: &Media| {
            let bytes = media.pixels();
            let mean = bytes.iter().copied().map(f64::from).sum::<f64>() / (255.0 * bytes.len() as f64);
            if mean < self.missing_below {
                Reward::Missing("too dark".to_owned())
            } else {
                Reward::Given(mean * self.factor)
            }
        };
        Ok(media.iter().map(reward).collect())
    }
}

/// A flat gray image.
pub(crate) fn gray(level: f32) -> Media {
    Media::quantise(1, 4, 4, &[level; 48]).expect("48 values")
}

/// A folder below `golden/rewards` with a tiny model, and what its reference computes with it.
pub(crate) struct Golden {
    folder: PathBuf,
    file: Vec<u8>,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/rewards").join(name);
        let file = std::fs::read(folder.join("golden.safetensors")).expect("the golden numbers are there");
        Self { folder, file }
    }

    pub(crate) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    pub(crate) fn files(&self) -> ModelFiles {
        ModelFiles::directory(&self.folder).expect("the golden folder is there")
    }

    pub(crate) fn prompts(&self) -> Vec<String> {
        let text = std::fs::read(self.folder.join("prompts.json")).expect("the prompts are there");
        serde_json::from_slice(&text).expect("a list of prompts")
    }

    pub(crate) fn images(&self, count: usize) -> Vec<Media> {
        let image = |at: usize| {
            let path = self.folder.join(format!("picture-{at}.png"));
            let image = image::open(path).expect("the golden image is there").to_rgb8();
            let (width, height) = (image.width() as usize, image.height() as usize);
            Media::new(1, height, width, image.into_raw()).expect("its pixels")
        };
        (0..count).map(image).collect()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.bytes(name).as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as u32).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let tensors = SafeTensors::deserialize(&self.file).expect("golden numbers");
        tensors.tensor(name).expect("a golden tensor").data().to_vec()
    }
}

/// The CPU with the kernels, and with plain Burn operations as on every other device.
pub(crate) fn placements() -> [Placement; 2] {
    let kernels = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).expect("a CPU");
    [kernels.clone(), kernels.portable()]
}

/// The numbers of a tensor in memory order.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec().expect("it was cast to f32")
}

/// Fails where the largest difference is more than `tolerance` of the largest expected number.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    let difference = |(found, expected): (&f32, &f32)| {
        let difference = (found - expected).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    };
    let worst = found.iter().zip(expected).map(difference).fold(0f32, f32::max);
    assert!(worst <= tolerance * largest, "{what}: differs by {worst} where the largest is {largest}");
}

/// Scores `media` and compares the rewards, none of which may be missing.
#[track_caller]
pub(crate) fn assert_scores(
    scorer: &mut dyn Scorer,
    prompt: &str,
    media: &[Media],
    expected: &[f32],
    tolerance: f32,
) {
    let rewards = scorer.score(prompt, media).expect("the scorer works");
    let found: Vec<f32> = rewards.iter().map(|reward| reward.given().expect("a reward") as f32).collect();
    assert_close(&format!("{} of {prompt:?}", scorer.name()), &found, expected, tolerance);
}

//! Whether a scorer gives the numbers that somebody else published or recorded for some images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use noisefind_core::ports::Scorer;
use noisefind_core::rollout;
use noisefind_rewards::image_reward;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::score::read_image;

/// Where a folder of images may say what they should score.
const FILE: &str = "self-test.json";

/// Rewards may differ by this much: computing in another order moves the fifth digit, another decoder of the images
/// the third.
const TOLERANCE: f64 = 0.01;

/// The outcome; the keys are those that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfTest {
    /// Name of the scorer.
    pub scorer: String,
    /// What the images are scored against.
    pub prompt: String,
    /// One an image.
    pub images: Vec<Compared>,
    /// Largest difference between found and expected; `null` where a reward is missing.
    pub largest_difference: Option<f64>,
    /// Whether no reward is missing and none differs by more than 0.01.
    pub passed: bool,
}

/// One image of a self-test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The image.
    pub file: PathBuf,
    /// The reward that it should have.
    pub expected: f64,
    /// The reward that it has; `null` where it is missing.
    pub found: Option<f64>,
}

/// What `self-test.json` says.
#[derive(Deserialize)]
struct Expected {
    prompt: String,
    /// Reward by file name.
    rewards: BTreeMap<String, f64>,
}

impl SelfTest {
    /// Scores the images of `folder` as its `self-test.json` asks, or without one as ImageReward's authors published
    /// it: four images called 1 to 4, PNG, JPEG or WebP.
    ///
    /// # Errors
    /// Where an image is absent or damaged, nobody says what to expect, or the scorer fails.
    pub fn run(scorer: &mut dyn Scorer, folder: &Path) -> Result<Self> {
        let expected = Expected::read(folder, scorer.name())?;
        let files: Vec<PathBuf> = expected.rewards.keys().map(|name| folder.join(name)).collect();
        let media = files.iter().map(|file| read_image(file)).collect::<Result<Vec<_>>>()?;
        let found = rollout::score(scorer, &expected.prompt, &media)?;
        let images: Vec<Compared> = files
            .into_iter()
            .zip(expected.rewards.values())
            .zip(&found)
            .map(|((file, &expected), found)| Compared { file, expected, found: found.given() })
            .collect();
        let differences: Option<Vec<f64>> =
            images.iter().map(|one| Some((one.found? - one.expected).abs())).collect();
        let largest_difference = differences.map(|all| all.into_iter().fold(0.0, f64::max));
        Ok(Self {
            scorer: scorer.name().to_owned(),
            prompt: expected.prompt,
            images,
            largest_difference,
            passed: largest_difference.is_some_and(|largest| largest <= TOLERANCE),
        })
    }
}

impl Expected {
    fn read(folder: &Path, scorer: &str) -> Result<Self> {
        let path = folder.join(FILE);
        if path.exists() {
            let read = |source| Error::Read { path: path.clone(), source };
            let text = std::fs::read(&path).map_err(read)?;
            let expected: Self = serde_json::from_slice(&text)
                .map_err(|error| Error::Config { path: path.clone(), reason: error.to_string() })?;
            if expected.rewards.is_empty() {
                let reason = "expected the reward of at least one image, found none".to_owned();
                return Err(Error::Config { path, reason });
            }
            return Ok(expected);
        }
        if scorer != image_reward::NAME {
            let reason = format!(
                "{} has no {FILE}, which says what its images should score: \
                 {{\"prompt\": \"…\", \"rewards\": {{\"1.png\": 0.58}}}}",
                folder.display()
            );
            return Err(Error::Usage(reason));
        }
        let rewards = (1..).zip(image_reward::SELF_TEST_REWARDS);
        let rewards = rewards.map(|(number, reward)| Ok((image_named(folder, number)?, reward)));
        Ok(Self {
            prompt: image_reward::SELF_TEST_PROMPT.to_owned(),
            rewards: rewards.collect::<Result<_>>()?,
        })
    }
}

/// The name of image `number`, whatever its format.
fn image_named(folder: &Path, number: u32) -> Result<String> {
    let names = ["webp", "png", "jpg", "jpeg"].map(|format| format!("{number}.{format}"));
    let found = names.iter().find(|name| folder.join(name).is_file());
    found.cloned().ok_or_else(|| {
        Error::Usage(format!(
            "{} has no {}; the self-test needs the images 1 to 4 of assets/images in ImageReward's repository",
            folder.display(),
            names.join(" or ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use noisefind_core::media::Media;
    use noisefind_core::ports::{PortError, Reward};

    use super::*;
    use crate::models::fake::FakeScorer;

    /// Says what was published, but for the third digit.
    struct Published;

    impl Scorer for Published {
        fn name(&self) -> &str {
            image_reward::NAME
        }

        fn score(&mut self, prompt: &str, media: &[Media]) -> std::result::Result<Vec<Reward>, PortError> {
            assert_eq!((prompt, media.len()), (image_reward::SELF_TEST_PROMPT, 4));
            Ok(image_reward::SELF_TEST_REWARDS.map(|reward| Reward::Given(reward + 0.002)).to_vec())
        }
    }

    fn save(folder: &Path, name: &str, green: u8) {
        image::RgbImage::from_pixel(4, 4, image::Rgb([0, green, 0])).save(folder.join(name)).expect("saved");
    }

    #[test]
    fn recorded_numbers_are_compared_and_a_wrong_one_fails() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a.png", 255);
        save(folder.path(), "b.png", 51);
        for (second, passed) in [(0.201, true), (0.3, false)] {
            let text = format!(r#"{{"prompt": "a dog", "rewards": {{"a.png": 1.0, "b.png": {second}}}}}"#);
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let test = SelfTest::run(&mut FakeScorer, folder.path()).unwrap();
            assert_eq!((test.passed, test.images.len()), (passed, 2));
            let difference = test.largest_difference.unwrap();
            assert!((difference - (second - 0.2)).abs() < 1e-6, "{difference}");
        }
    }

    #[test]
    fn the_published_test_of_image_reward_needs_its_four_images() {
        let folder = tempfile::tempdir().unwrap();
        let message = SelfTest::run(&mut Published, folder.path()).unwrap_err().to_string();
        assert!(message.contains("has no 1.webp or 1.png"), "{message}");
        for (number, format) in [(1, "png"), (2, "jpg"), (3, "png"), (4, "png")] {
            save(folder.path(), &format!("{number}.{format}"), 100);
        }
        let test = SelfTest::run(&mut Published, folder.path()).unwrap();
        assert!(test.passed && (test.largest_difference.unwrap() - 0.002).abs() < 1e-9);
    }

    #[test]
    fn nobody_says_what_to_expect() {
        let folder = tempfile::tempdir().unwrap();
        let message = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(folder.path().join(FILE), text).unwrap();
            }
            SelfTest::run(&mut FakeScorer, folder.path()).unwrap_err().to_string()
        };
        assert!(message(None).contains("has no self-test.json"));
        assert!(message(Some("{}")).contains("missing field `prompt`"));
        assert!(message(Some(r#"{"prompt": "a", "rewards": {}}"#)).contains("at least one image"));
    }
}

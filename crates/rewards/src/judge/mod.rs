//! The judge of the default model: reads a picture into objects and a place, and says whether a prompt holds.
//!
//! A judge is no reward to climb but the measure of success, so its network shares nothing with the scorer's. It
//! answers only prompts that it can check to the last word; for others its verdict is missing. The format of its
//! folder is described in `pretrain/README.md`.

mod grammar;
mod network;
mod scene;

use noisefind_core::media::{FrameReduction, Media};
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::{ModelFiles, Placement};

pub use self::grammar::{Asked, Grammar, Relation, Specification};
use self::network::{JudgeConfig, Network};
pub use self::scene::{Object, Scene, Verdict};
use crate::Error;
use crate::preprocess::{Preprocessor, TargetSize};
use crate::resize::{CropStart, Filter};

/// Pictures that go through the network at once.
const PICTURES_AT_ONCE: usize = 32;

/// The judge.
pub struct SceneJudge {
    network: Network,
    grammar: Grammar,
    preprocessor: Preprocessor,
    side: usize,
    relation_pixels: f32,
}

impl SceneJudge {
    /// Opens `config.json`, `grammar.json` and `model.safetensors` in `folder` of `files` (empty for their top).
    ///
    /// # Errors
    /// Where a file is absent, damaged or does not fit the others.
    pub fn open(files: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self, Error> {
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let config = JudgeConfig::read(files, &path("config.json"))?;
        let grammar = Grammar::new(files.read_json(&path("grammar.json"))?)
            .map_err(|reason| Error::Grammar { file: files.display(&path("grammar.json")), reason })?;
        Ok(Self {
            network: Network::open(files, folder, &config, placement)?,
            grammar,
            preprocessor: Preprocessor {
                size: Some(TargetSize::ShortestSide(config.image_size)),
                filter: Filter::Bicubic,
                crop: Some((config.image_size, config.image_size)),
                crop_start: CropStart::Floor,
                rescale_factor: 1.0 / 255.0,
                mean: config.mean,
                std: config.std,
            },
            side: config.image_size,
            relation_pixels: config.thresholds.relation_pixels,
        })
    }

    /// The grammar of the prompts that this judge can check.
    pub fn grammar(&self) -> &Grammar {
        &self.grammar
    }

    /// Reads each image; of a clip, its first frame.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn read(&self, media: &[Media]) -> Result<Vec<Scene>, Error> {
        let numbers = self.side * self.side * 3;
        let mut scenes = Vec::with_capacity(media.len());
        for media in media.chunks(PICTURES_AT_ONCE) {
            let mut pixels = Vec::with_capacity(media.len() * numbers);
            for media in media {
                let first = media.reduced(FrameReduction::First);
                pixels.extend(self.preprocessor.pixels(std::slice::from_ref(&first), self.side)?);
            }
            scenes.extend(self.network.read(pixels, media.len(), self.side)?);
        }
        Ok(scenes)
    }

    /// What the prompt asks for, where it can be checked to the last word.
    ///
    /// # Errors
    /// The reason in words: no noun of the grammar, or words that it does not know.
    pub fn specification(&self, prompt: &str) -> Result<Specification, String> {
        let unknown = self.grammar.unknown_words(prompt);
        if !unknown.is_empty() {
            return Err(format!("the judge does not know: {}", unknown.join(", ")));
        }
        let specification = self.grammar.parse(prompt);
        if specification.nouns.is_empty() {
            return Err("the judge finds no object in the prompt".to_owned());
        }
        Ok(specification)
    }

    /// Which parts of the prompt the scene meets.
    pub fn verdict(&self, scene: &Scene, specification: &Specification) -> Verdict {
        Verdict::new(scene, specification, self.relation_pixels)
    }
}

impl Scorer for SceneJudge {
    fn name(&self) -> &str {
        "scene-judge"
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        match self.specification(prompt) {
            Err(reason) => Ok(vec![Reward::Missing(reason); media.len()]),
            Ok(specification) => Ok(self
                .read(media)?
                .iter()
                .map(|scene| Reward::Given(f64::from(u8::from(self.verdict(scene, &specification).holds()))))
                .collect()),
        }
    }
}

//! The judge of the default model: reads an image into objects and a place, and says whether a prompt holds.
//!
//! A judge is no reward to optimise but the measure of success, so its network shares nothing with the scorer's. It
//! answers only prompts that it can check to the last word; for others its verdict is missing. The format of its
//! folder is described in `pretrain/README.md`. With rules for clips in its config it reads clips: every frame as an
//! image, and the motion from the tracks of the asked nouns.

mod grammar;
mod motion;
mod network;
mod scene;

use noisefind_core::media::{FrameReduction, Media};
use noisefind_core::ports::{PortError, Reward, Scorer};
use noisefind_nn::{ModelFiles, Placement};

pub use self::grammar::{Asked, Grammar, Relation, Specification};
use self::motion::ClipRules;
pub use self::motion::{ClipVerdict, Motion};
use self::network::{JudgeConfig, Network};
pub use self::scene::{Object, Scene, Verdict};
use crate::Error;
use crate::preprocess::{Preprocessor, TargetSize};
use crate::resize::{CropStart, Filter};

/// The scorer's name.
const NAME: &str = "scene-judge";

/// Images that go through the network at once.
const IMAGES_AT_ONCE: usize = 32;

/// The judge.
pub struct SceneJudge {
    network: Network,
    grammar: Grammar,
    preprocessor: Preprocessor,
    side: usize,
    relation_pixels: f32,
    clip: Option<ClipRules>,
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
            clip: config.clip,
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
        for media in media.chunks(IMAGES_AT_ONCE) {
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

    /// Reads every frame of a clip.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn read_frames(&self, clip: &Media) -> Result<Vec<Scene>, Error> {
        let frame = |at| Media::new(1, clip.height(), clip.width(), clip.frame(at).to_vec()).ok();
        self.read(&(0..clip.frames()).filter_map(frame).collect::<Vec<_>>())
    }

    /// Whether the frames of a clip show what the prompt says, and the asked nouns move as it says; `None` for a judge of
    /// images.
    pub fn clip_verdict(
        &self,
        scenes: &[Scene],
        specification: &Specification,
        motion: Option<Motion>,
    ) -> Option<ClipVerdict> {
        let rules = self.clip?;
        let frames_right = scenes.iter().filter(|scene| self.verdict(scene, specification).holds()).count();
        let found = |asked: &Asked| rules.displacement(scenes, &asked.noun).and_then(|by| rules.motion(by));
        let motions: Vec<_> = specification.nouns.iter().map(found).collect();
        let motion_right = motion.is_none() || motions.iter().all(|found| *found == motion);
        let holds = frames_right >= rules.needed(scenes.len()) && motion_right;
        Some(ClipVerdict { frames_right, motions, motion_right, holds })
    }
}

impl Scorer for SceneJudge {
    fn name(&self) -> &str {
        NAME
    }

    fn min_frames(&self) -> usize {
        // A motion needs two frames.
        1 + usize::from(self.clip.is_some())
    }

    fn score(&mut self, prompt: &str, media: &[Media]) -> Result<Vec<Reward>, PortError> {
        let specification = match self.specification(prompt) {
            Err(reason) => return Ok(vec![Reward::Missing(reason); media.len()]),
            Ok(specification) => specification,
        };
        if let Some(short) = media.iter().find(|media| media.frames() < self.min_frames()) {
            let (expected, found) = (self.min_frames(), short.frames());
            return Err(Error::FewFrames { scorer: NAME, expected, found }.into());
        }
        let reward = |holds| Reward::Given(f64::from(u8::from(holds)));
        if self.clip.is_some() {
            let motion = self.grammar.motion(prompt);
            let holds = |clip: &Media| {
                let verdict = self.clip_verdict(&self.read_frames(clip)?, &specification, motion);
                Ok(reward(verdict.is_some_and(|verdict| verdict.holds)))
            };
            return Ok(media.iter().map(holds).collect::<Result<_, Error>>()?);
        }
        let scenes = self.read(media)?;
        Ok(scenes.iter().map(|scene| reward(self.verdict(scene, &specification).holds())).collect())
    }
}

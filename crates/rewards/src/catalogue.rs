//! Which scorers there are and what each needs: what `doctor` prints, and what messages send people to.

use noisefind_core::ports::Scorer;
use noisefind_nn::{ModelFiles, Placement};

use crate::image_reward::{self, ImageReward};
use crate::judge::SceneJudge;
use crate::{
    Aesthetic, AestheticHead, ClipScore, ClipVariant, DynamicDegree, Error, Hps, HpsVersion, JpegSize,
    TemporalConsistency, ViClip, viclip,
};
use crate::{dynamic_degree, temporal_consistency};

/// The published head of the aesthetic predictor.
const AESTHETIC_HEAD: &str = "sac+logos+ava1-l14-linearMSE.pth";

/// What a `CLIPModel` folder holds.
const CLIP_MODEL: &[&str] =
    &["config.json", "model.safetensors|model.safetensors.index.json|pytorch_model.bin"];

/// Where `CLIPModel` folders come from.
const CLIP_MODELS: &str =
    "the default model's own, or a CLIPModel folder such as openai/clip-vit-large-patch14";

/// One scorer by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScorerInfo {
    /// The name.
    pub name: &'static str,
    /// What it rewards, in a few words.
    pub rewards: &'static str,
    /// Files that its folder must hold; of alternatives joined by `|`, one. Empty for a scorer without weights.
    pub files: &'static [&'static str],
    /// Where they come from; empty for a scorer without weights.
    pub source: &'static str,
    kind: Kind,
}

/// Which type implements a scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clip(ClipVariant),
    ImageReward,
    Hps(HpsVersion),
    Aesthetic,
    Jpeg(JpegSize),
    Judge,
    ViClip,
    DynamicDegree,
    TemporalConsistency,
}

/// Every native scorer.
pub const SCORERS: &[ScorerInfo] = &[
    ScorerInfo {
        name: "clip-score",
        rewards: "the image fits the prompt, under any CLIPModel: the cosine",
        files: CLIP_MODEL,
        source: CLIP_MODELS,
        kind: Kind::Clip(ClipVariant::Cosine),
    },
    ScorerInfo {
        name: "clip-score-100",
        rewards: "the same as 100 times the cosine",
        files: CLIP_MODEL,
        source: CLIP_MODELS,
        kind: Kind::Clip(ClipVariant::Cosine100),
    },
    ScorerInfo {
        name: "clip-score-hessel",
        rewards: "the same as 2.5 times the cosine, and 0 where that is negative",
        files: CLIP_MODEL,
        source: CLIP_MODELS,
        kind: Kind::Clip(ClipVariant::Hessel),
    },
    ScorerInfo {
        name: "pick-score",
        rewards: "people on a drawing site would pick the image",
        files: CLIP_MODEL,
        source: "yuvalkirstain/PickScore_v1",
        kind: Kind::Clip(ClipVariant::PickScore),
    },
    ScorerInfo {
        name: image_reward::NAME,
        rewards: "experts would prefer the image for the prompt",
        files: &["ImageReward.pt|ImageReward.safetensors", "med_config.json"],
        source: "THUDM/ImageReward",
        kind: Kind::ImageReward,
    },
    ScorerInfo {
        name: "hps-v2",
        rewards: "people would choose the image for the prompt",
        files: &["HPS_v2_compressed.pt|HPS_v2_compressed.safetensors"],
        source: "xswu/HPSv2",
        kind: Kind::Hps(HpsVersion::V2),
    },
    ScorerInfo {
        name: "hps-v2.1",
        rewards: "people would choose the image for the prompt",
        files: &["HPS_v2.1_compressed.pt|HPS_v2.1_compressed.safetensors"],
        source: "xswu/HPSv2",
        kind: Kind::Hps(HpsVersion::V2_1),
    },
    ScorerInfo {
        name: "aesthetic",
        rewards: "the image is pretty, whatever the prompt",
        files: &[
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
            "sac+logos+ava1-l14-linearMSE.pth|sac+logos+ava1-l14-linearMSE.safetensors",
        ],
        source: "openai/clip-vit-large-patch14, and christophschuhmann/improved-aesthetic-predictor",
        kind: Kind::Aesthetic,
    },
    ScorerInfo {
        name: "jpeg-size",
        rewards: "the image is full of detail",
        files: &[],
        source: "",
        kind: Kind::Jpeg(JpegSize::Incompressible),
    },
    ScorerInfo {
        name: "negative-jpeg-size",
        rewards: "the image is plain",
        files: &[],
        source: "",
        kind: Kind::Jpeg(JpegSize::Compressible),
    },
    ScorerInfo {
        name: "scene-judge",
        rewards: "1 where the image is what the prompt says, 0 where it is not",
        files: &["config.json", "grammar.json", "model.safetensors"],
        source: "the default model's own",
        kind: Kind::Judge,
    },
    ScorerInfo {
        name: viclip::NAME,
        rewards: "the clip fits the prompt, motion included",
        files: &[viclip::FILES],
        source: "OpenGVLab/ViCLIP",
        kind: Kind::ViClip,
    },
    ScorerInfo {
        name: dynamic_degree::NAME,
        rewards: "much of the clip moves",
        files: &[],
        source: "",
        kind: Kind::DynamicDegree,
    },
    ScorerInfo {
        name: temporal_consistency::NAME,
        rewards: "neighbouring frames of the clip show the same",
        files: CLIP_MODEL,
        source: CLIP_MODELS,
        kind: Kind::TemporalConsistency,
    },
];

impl ScorerInfo {
    /// The scorer of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCORERS.iter().find(|scorer| scorer.name == name)
    }

    /// Opens the scorer with its files, which lie in `folder` of `files` (empty for their top); scorers without
    /// weights need none. Where [`ScorerInfo::is_one_file`], `folder` may be the path of that file.
    ///
    /// # Errors
    /// Where the scorer needs files and has none, or they are absent, damaged or do not fit each other.
    pub fn open(
        &self,
        files: Option<(&ModelFiles, &str)>,
        placement: &Placement,
    ) -> Result<Box<dyn Scorer>, Error> {
        let needed = || {
            let (scorer, source_name) = (self.name, self.source);
            let Some((files, folder)) = files else {
                return Err(Error::NoFolder { scorer, file_names: in_words(self.files), source_name });
            };
            let missing = if folder.is_empty() { self.missing(files) } else { Vec::new() };
            if missing.is_empty() {
                return Ok((files, folder));
            }
            let (folder, missing) = (files.name().to_owned(), in_words(&missing));
            Err(Error::FilesMissing { scorer, folder, missing, source_name })
        };
        Ok(match self.kind {
            Kind::Clip(variant) => {
                let (files, folder) = needed()?;
                Box::new(ClipScore::open(files, folder, variant, placement)?)
            }
            Kind::ImageReward => Box::new(ImageReward::open(needed()?.0, placement)?),
            Kind::Hps(version) => Box::new(Hps::open(needed()?.0, version, placement)?),
            Kind::Aesthetic => {
                let (files, folder) = needed()?;
                let head = AestheticHead::open(files, AESTHETIC_HEAD)?;
                Box::new(Aesthetic::open(files, folder, head, placement)?)
            }
            Kind::Jpeg(size) => Box::new(size),
            Kind::ViClip => {
                let (files, path) = needed()?;
                Box::new(ViClip::open(files, path, placement)?)
            }
            Kind::DynamicDegree => Box::new(DynamicDegree),
            Kind::TemporalConsistency => {
                let (files, folder) = needed()?;
                Box::new(TemporalConsistency::open(files, folder, placement)?)
            }
            Kind::Judge => {
                let (files, folder) = needed()?;
                Box::new(SceneJudge::open(files, folder, placement)?)
            }
        })
    }

    /// Whether a model may bring the scorer's weights with it as its recommended scorer: any CLIP model will do.
    pub fn is_clip_score(&self) -> bool {
        match self.kind {
            Kind::Clip(variant) => variant != ClipVariant::PickScore,
            Kind::TemporalConsistency => true,
            _ => false,
        }
    }

    /// Whether the weights are one file, which may be given in place of its folder.
    pub fn is_one_file(&self) -> bool {
        self.kind == Kind::ViClip
    }

    /// Whether a clip gets the mean of what its frames would get as images.
    pub fn is_mean_over_frames(&self) -> bool {
        !matches!(self.kind, Kind::ViClip | Kind::DynamicDegree | Kind::TemporalConsistency | Kind::Judge)
    }

    /// Whether a model may bring the scorer's weights with it as its recommended judge.
    pub fn is_judge(&self) -> bool {
        self.kind == Kind::Judge
    }

    /// Files that `files` lacks, as they are written in `ScorerInfo::files`.
    fn missing(&self, files: &ModelFiles) -> Vec<&'static str> {
        let absent = |names: &&str| !names.split('|').any(|name| files.contains(name));
        self.files.iter().copied().filter(absent).collect()
    }
}

/// A list of files, each with its alternatives joined by `|`, for messages.
fn in_words(files: &[&str]) -> String {
    files.join(", ").replace('|', " or ")
}

#[cfg(test)]
mod tests {
    use noisefind_nn::{DeviceChoice, DtypeChoice};

    use super::*;

    #[test]
    fn every_scorer_opens_or_says_what_it_needs() {
        let placement = Placement::open(DeviceChoice::Cpu, DtypeChoice::F32).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let empty = ModelFiles::directory(folder.path()).unwrap();
        for scorer in SCORERS {
            let without_folder = scorer.open(None, &placement);
            if scorer.files.is_empty() {
                assert_eq!(without_folder.unwrap().name(), scorer.name);
                continue;
            }
            let message = without_folder.err().unwrap().to_string();
            assert!(message.contains(scorer.name) && message.contains(scorer.source), "{message}");
            let message = scorer.open(Some((&empty, "")), &placement).err().unwrap().to_string();
            let named = scorer.files.iter().all(|file| message.contains(&in_words(&[file])));
            assert!(named && message.contains("has no "), "{}: {message}", scorer.name);
        }
    }

    #[test]
    fn names_are_unique_and_what_is_missing_is_told() {
        for scorer in SCORERS {
            assert_eq!(ScorerInfo::named(scorer.name), Some(scorer));
            assert_eq!(scorer.files.is_empty(), scorer.source.is_empty(), "{}", scorer.name);
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "vocab.json"] {
            std::fs::write(folder.path().join(name), "{}").unwrap();
        }
        let files = ModelFiles::directory(folder.path()).unwrap();
        let clip = ScorerInfo::named("clip-score").unwrap();
        assert_eq!(
            clip.missing(&files),
            ["model.safetensors|model.safetensors.index.json|pytorch_model.bin"]
        );
        assert_eq!(ScorerInfo::named("jpeg-size").unwrap().missing(&files), [""; 0]);
        assert_eq!(ScorerInfo::named("beauty"), None);
    }
}

//! Which scorers there are and what each needs: what `doctor` prints, and what messages send people to.

use noisefind_core::ports::Scorer;
use noisefind_diffusion::{ModelFiles, Placement};

use crate::image_reward::ImageReward;
use crate::judge::SceneJudge;
use crate::{Aesthetic, AestheticHead, ClipScore, ClipVariant, Error, Hps, HpsVersion, JpegSize};

/// The published head of the aesthetic predictor.
const AESTHETIC_HEAD: &str = "sac+logos+ava1-l14-linearMSE.pth";

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
    Clip,
    Pick,
    ImageReward,
    Hps(HpsVersion),
    Aesthetic,
    Jpeg(JpegSize),
    Judge,
}

/// Every native scorer.
pub const SCORERS: &[ScorerInfo] = &[
    ScorerInfo {
        name: "clip-score",
        rewards: "the picture fits the prompt, under any CLIPModel",
        files: &[
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
            "tokenizer.json|vocab.json",
        ],
        source: "the default model's own, or a CLIPModel folder such as openai/clip-vit-large-patch14",
        kind: Kind::Clip,
    },
    ScorerInfo {
        name: "pick-score",
        rewards: "people on a drawing site would pick the picture",
        files: &[
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
            "tokenizer.json|vocab.json",
        ],
        source: "yuvalkirstain/PickScore_v1, tokenizer and preprocessor of laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        kind: Kind::Pick,
    },
    ScorerInfo {
        name: "image-reward",
        rewards: "experts would prefer the picture for the prompt",
        files: &["ImageReward.pt|ImageReward.safetensors", "med_config.json", "vocab.txt"],
        source: "THUDM/ImageReward, and vocab.txt of google-bert/bert-base-uncased",
        kind: Kind::ImageReward,
    },
    ScorerInfo {
        name: "hps-v2",
        rewards: "people would choose the picture for the prompt",
        files: &["HPS_v2_compressed.pt", "tokenizer.json|vocab.json"],
        source: "xswu/HPSv2, and vocab.json and merges.txt of any CLIP model",
        kind: Kind::Hps(HpsVersion::V2),
    },
    ScorerInfo {
        name: "hps-v2.1",
        rewards: "people would choose the picture for the prompt",
        files: &["HPS_v2.1_compressed.pt", "tokenizer.json|vocab.json"],
        source: "xswu/HPSv2, and vocab.json and merges.txt of any CLIP model",
        kind: Kind::Hps(HpsVersion::V2_1),
    },
    ScorerInfo {
        name: "aesthetic",
        rewards: "the picture is pretty, whatever the prompt",
        files: &[
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
            AESTHETIC_HEAD,
        ],
        source: "openai/clip-vit-large-patch14, and christophschuhmann/improved-aesthetic-predictor",
        kind: Kind::Aesthetic,
    },
    ScorerInfo {
        name: "jpeg-size",
        rewards: "the picture is full of detail",
        files: &[],
        source: "",
        kind: Kind::Jpeg(JpegSize::Incompressible),
    },
    ScorerInfo {
        name: "negative-jpeg-size",
        rewards: "the picture is plain",
        files: &[],
        source: "",
        kind: Kind::Jpeg(JpegSize::Compressible),
    },
    ScorerInfo {
        name: "scene-judge",
        rewards: "1 where the picture is what the prompt says, 0 where it is not",
        files: &["config.json", "grammar.json", "model.safetensors"],
        source: "the default model's own",
        kind: Kind::Judge,
    },
];

impl ScorerInfo {
    /// The scorer of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCORERS.iter().find(|scorer| scorer.name == name)
    }

    /// Opens the scorer with the files of its folder, which scorers without weights do not need.
    ///
    /// # Errors
    /// Where the scorer needs a folder and has none, or its files are absent, damaged or do not fit each other.
    pub fn open(&self, files: Option<&ModelFiles>, placement: &Placement) -> Result<Box<dyn Scorer>, Error> {
        let needed = || {
            let file_names = self.files.join(", ");
            files.ok_or(Error::NoFolder { scorer: self.name, file_names, source_name: self.source })
        };
        Ok(match self.kind {
            Kind::Clip => Box::new(ClipScore::open(needed()?, "", ClipVariant::Cosine, placement)?),
            Kind::Pick => Box::new(ClipScore::open_pick_score(needed()?, "", placement)?),
            Kind::ImageReward => Box::new(ImageReward::open(needed()?, placement)?),
            Kind::Hps(version) => Box::new(Hps::open(needed()?, version, placement)?),
            Kind::Aesthetic => {
                let files = needed()?;
                let head = AestheticHead::open(files, AESTHETIC_HEAD)?;
                Box::new(Aesthetic::open(files, "", head, placement)?)
            }
            Kind::Jpeg(size) => Box::new(size),
            Kind::Judge => Box::new(SceneJudge::open(needed()?, "", placement)?),
        })
    }

    /// Files that `files` lacks, as they are written in [`ScorerInfo::files`].
    pub fn missing(&self, files: &ModelFiles) -> Vec<&'static str> {
        let absent = |names: &&str| !names.split('|').any(|name| files.contains(name));
        self.files.iter().copied().filter(absent).collect()
    }
}

#[cfg(test)]
mod tests {
    use noisefind_diffusion::{DeviceChoice, DtypeChoice};

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
            let message = scorer.open(Some(&empty), &placement).err().unwrap().to_string();
            assert!(message.contains("has no "), "{}: {message}", scorer.name);
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

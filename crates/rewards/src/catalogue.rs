//! Which scorers there are and what each needs: what `doctor` prints, and what messages send people to.

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
    },
    ScorerInfo {
        name: "image-reward",
        rewards: "experts would prefer the picture for the prompt",
        files: &["ImageReward.pt|ImageReward.safetensors", "med_config.json", "vocab.txt"],
        source: "THUDM/ImageReward, and vocab.txt of google-bert/bert-base-uncased",
    },
    ScorerInfo {
        name: "hps-v2",
        rewards: "people would choose the picture for the prompt",
        files: &["HPS_v2_compressed.pt", "tokenizer.json|vocab.json"],
        source: "xswu/HPSv2, and vocab.json and merges.txt of any CLIP model",
    },
    ScorerInfo {
        name: "hps-v2.1",
        rewards: "people would choose the picture for the prompt",
        files: &["HPS_v2.1_compressed.pt", "tokenizer.json|vocab.json"],
        source: "xswu/HPSv2, and vocab.json and merges.txt of any CLIP model",
    },
    ScorerInfo {
        name: "aesthetic",
        rewards: "the picture is pretty, whatever the prompt",
        files: &[
            "config.json",
            "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
            "sac+logos+ava1-l14-linearMSE.pth",
        ],
        source: "openai/clip-vit-large-patch14, and christophschuhmann/improved-aesthetic-predictor",
    },
    ScorerInfo { name: "jpeg-size", rewards: "the picture is full of detail", files: &[], source: "" },
    ScorerInfo { name: "negative-jpeg-size", rewards: "the picture is plain", files: &[], source: "" },
    ScorerInfo {
        name: "scene-judge",
        rewards: "1 where the picture is what the prompt says, 0 where it is not",
        files: &["config.json", "grammar.json", "model.safetensors"],
        source: "the default model's own",
    },
];

impl ScorerInfo {
    /// The scorer of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCORERS.iter().find(|scorer| scorer.name == name)
    }

    /// Files that `files` lacks, as they are written in [`ScorerInfo::files`].
    pub fn missing(&self, files: &noisefind_diffusion::ModelFiles) -> Vec<&'static str> {
        let absent = |names: &&str| !names.split('|').any(|name| files.contains(name));
        self.files.iter().copied().filter(absent).collect()
    }
}

#[cfg(test)]
mod tests {
    use noisefind_diffusion::ModelFiles;

    use super::*;

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

//! Where everything lies in a run folder.

use std::path::{Path, PathBuf};

/// The paths of one run.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// What a run folder may hold at its top; anything else is somebody else's.
    pub(crate) const NAMES: [&str; 21] = [
        ".lock",
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "rewards.jsonl",
        "answers.jsonl",
        "policy",
        "policy.safetensors",
        "comparison.json",
        "best-noises.safetensors",
        "images",
        "samples",
        "sampled",
        "grid.png",
        "grid.webp",
        "grid.gif",
        "grid.mp4",
        "strip.png",
        "curve.png",
        "report.html",
        "tensorboard",
    ];

    /// The layout of the run in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every value of the run, resolved; its presence makes the folder a run.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Version, device, dtype, instruction set, hashes of the weights.
    pub fn environment(&self) -> PathBuf {
        self.root.join("environment.json")
    }

    /// One record a step, one line a record.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// What the scorers said of each sample, one line a sample: the journal of an unfinished step.
    pub fn rewards(&self) -> PathBuf {
        self.root.join("rewards.jsonl")
    }

    /// What external scorers answered, so that a resumed run need not ask again.
    pub fn answers(&self) -> PathBuf {
        self.root.join("answers.jsonl")
    }

    /// The folder of the step checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("policy")
    }

    /// The state after `step` steps.
    pub fn checkpoint(&self, step: u32) -> PathBuf {
        self.checkpoints().join(format!("step-{step:06}.safetensors"))
    }

    /// The product of the run.
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy.safetensors")
    }

    /// Base against tuned, as numbers.
    pub fn comparison(&self) -> PathBuf {
        self.root.join("comparison.json")
    }

    /// The best noises seen while tuning, best first.
    pub fn best_noises(&self) -> PathBuf {
        self.root.join("best-noises.safetensors")
    }

    /// The folder of the single images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The folder of all evaluated samples, `STEP-INDEX.png`, steps from 1 and indices from 0; of clips `.webp`, `.gif` and
    /// `-strip.png`.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// The folder of what was sampled from the policy afterwards, one folder a call, `0001/seed-SEED.png`.
    pub fn sampled(&self) -> PathBuf {
        self.root.join("sampled")
    }

    /// Base row above tuned row, same seeds.
    pub fn grid(&self) -> PathBuf {
        self.root.join("grid.png")
    }

    /// The same of clips, as an animation with this ending: `webp`, `gif` or `mp4`.
    pub fn grid_animation(&self, ending: &str) -> PathBuf {
        self.root.join("grid").with_extension(ending)
    }

    /// Of clips: the frames of a few seeds side by side, base above tuned.
    pub fn strip(&self) -> PathBuf {
        self.root.join("strip.png")
    }

    /// Reward against evaluations.
    pub fn curve(&self) -> PathBuf {
        self.root.join("curve.png")
    }

    /// One self-contained page.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The folder of the event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }
}

/// The step in a checkpoint's file name.
pub(crate) fn step_of(file_name: &str) -> Option<u32> {
    file_name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

/// A prompt as part of a file name: ASCII letters and digits in lower case, words joined by `-`, at most 40 characters;
/// "prompt" where nothing is left. Where that does not tell the whole prompt, the CRC-32C of the prompt follows, so that
/// prompts in other scripts, long ones and similar ones have names of their own.
pub fn file_name_from_prompt(prompt: &str) -> String {
    let words = prompt
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase);
    let mut name = String::new();
    for word in words {
        if name.is_empty() {
            name = word.chars().take(40).collect();
        } else if name.len() + 1 + word.len() <= 40 {
            name = name + "-" + &word;
        } else {
            break;
        }
    }
    if name.replace('-', " ") == prompt {
        return name;
    }
    let readable = if name.is_empty() { "prompt" } else { &name };
    format!("{readable}-{:08x}", crc32c::crc32c(prompt.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_names_sort_and_parse_back() {
        let layout = Layout::new("run");
        assert_eq!(layout.checkpoint(50), Path::new("run/policy/step-000050.safetensors"));
        assert_eq!(step_of("step-000050.safetensors"), Some(50));
        assert_eq!(step_of("step-1000000.safetensors"), Some(1_000_000));
        assert_eq!(step_of("step-x.safetensors"), None);
    }

    #[test]
    fn prompts_become_file_names() {
        assert_eq!(file_name_from_prompt("a green dog"), "a-green-dog");
        // Checksums by the bitwise definition (Castagnoli polynomial).
        assert_eq!(file_name_from_prompt("A green dog, running!"), "a-green-dog-running-dc5a7397");
        assert_eq!(file_name_from_prompt("../../etc"), "etc-2cab6314");
        assert_eq!(file_name_from_prompt("四只熊猫"), "prompt-5028994f");
        assert_eq!(file_name_from_prompt(&"long ".repeat(30)).len(), 48);
        assert_ne!(file_name_from_prompt("四只熊猫"), file_name_from_prompt("五只熊猫"));
    }
}

//! Names of images that can be asked for. A key holds numbers only, so no key can spell a path.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// One image or clip of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageKey {
    /// A sample of the unchanged model, by seed.
    Base(u64),
    /// The same seed under the tuned policy.
    Tuned(u64),
    /// A sample that was generated and scored while tuning: step from 1, index within the step.
    Evaluated(u32, u32),
    /// One of the best samples of the run: step from 1, index within the step.
    Best(u32, u32),
    /// Generated afterwards from the policy: number of the call from 1, and seed.
    Sampled(u32, u64),
    /// Base above tuned.
    Grid,
}

impl ImageKey {
    /// Folder and file name without ending, relative to the run.
    pub fn stem(self) -> (PathBuf, String) {
        match self {
            Self::Base(seed) => ("images".into(), format!("base-{seed}")),
            Self::Tuned(seed) => ("images".into(), format!("tuned-{seed}")),
            Self::Evaluated(step, index) => ("samples".into(), format!("{step:04}-{index:02}")),
            Self::Best(step, index) => ("images".into(), format!("best-{step:04}-{index:02}")),
            Self::Sampled(call, seed) => (sampled_folder(call), format!("seed-{seed}")),
            Self::Grid => (PathBuf::new(), "grid".to_owned()),
        }
    }

    /// The key of a file of the folder `images`, named without ending.
    pub(crate) fn of_image(stem: &str) -> Option<Self> {
        let seed = |prefix| stem.strip_prefix(prefix)?.parse().ok();
        let key = match (seed("base-"), seed("tuned-"), stem.strip_prefix("best-")) {
            (Some(seed), _, _) => Self::Base(seed),
            (_, Some(seed), _) => Self::Tuned(seed),
            (_, _, Some(numbers)) => {
                let (step, index) = step_and_index(numbers)?;
                Self::Best(step, index)
            }
            _ => return None,
        };
        (key.stem().1 == stem).then_some(key)
    }

    /// The key of a file of the folder `samples`, named without ending.
    pub(crate) fn of_evaluated(stem: &str) -> Option<Self> {
        let (step, index) = step_and_index(stem)?;
        Some(Self::Evaluated(step, index)).filter(|key| key.stem().1 == stem)
    }
}

/// Where the samples of a later call lie, relative to the run.
pub(crate) fn sampled_folder(call: u32) -> PathBuf {
    PathBuf::from("sampled").join(format!("{call:04}"))
}

fn step_and_index(text: &str) -> Option<(u32, u32)> {
    let (step, index) = text.split_once('-')?;
    Some((step.parse().ok()?, index.parse().ok()?))
}

impl fmt::Display for ImageKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(seed) => write!(to, "base-{seed}"),
            Self::Tuned(seed) => write!(to, "tuned-{seed}"),
            Self::Evaluated(step, index) => write!(to, "step-{step}-{index}"),
            Self::Best(step, index) => write!(to, "best-{step}-{index}"),
            Self::Sampled(call, seed) => write!(to, "sampled-{call}-{seed}"),
            Self::Grid => write!(to, "grid"),
        }
    }
}

impl FromStr for ImageKey {
    type Err = ();

    /// Exactly what [`Display`](fmt::Display) writes: no sign, no leading zero, nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let kind = parts.next().unwrap_or_default();
        let numbers: Vec<u64> = parts.map(|part| part.parse().map_err(|_| ())).collect::<Result<_, ()>>()?;
        let small = |number: u64| u32::try_from(number).map_err(|_| ());
        let key = match (kind, numbers.as_slice()) {
            ("base", [seed]) => Self::Base(*seed),
            ("tuned", [seed]) => Self::Tuned(*seed),
            ("step", [step, index]) => Self::Evaluated(small(*step)?, small(*index)?),
            ("best", [step, index]) => Self::Best(small(*step)?, small(*index)?),
            ("sampled", [call, seed]) => Self::Sampled(small(*call)?, *seed),
            ("grid", []) => Self::Grid,
            _ => return Err(()),
        };
        if key.to_string() == text { Ok(key) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_nothing_else_is_a_key() {
        let keys = [
            ImageKey::Base(0),
            ImageKey::Tuned(u64::MAX),
            ImageKey::Evaluated(12, 7),
            ImageKey::Best(1, 0),
            ImageKey::Sampled(3, 17),
            ImageKey::Grid,
        ];
        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for text in [
            "",
            "base",
            "base-",
            "base-01",
            "base-+1",
            "base--1",
            "tuned-../x",
            "grid-1",
            "step-1",
            "images/x",
        ] {
            assert_eq!(text.parse::<ImageKey>(), Err(()), "{text}");
        }
    }

    #[test]
    fn files_have_the_key_that_names_them() {
        assert_eq!(ImageKey::of_image("base-17"), Some(ImageKey::Base(17)));
        assert_eq!(ImageKey::of_image("best-0003-05"), Some(ImageKey::Best(3, 5)));
        assert_eq!(ImageKey::of_evaluated("0003-05"), Some(ImageKey::Evaluated(3, 5)));
        for stem in ["base-017", "best-3-5", "other"] {
            assert_eq!(ImageKey::of_image(stem), None, "{stem}");
        }
        assert_eq!(ImageKey::of_evaluated("3-5"), None);
    }
}

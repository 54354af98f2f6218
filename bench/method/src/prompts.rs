//! The prompt list: one prompt a line with its category, split once by hash.

use std::path::Path;
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A prompt of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What it asks of the model.
    pub category: Category,
    /// The text.
    pub text: String,
}

/// The categories of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// A thing in a colour that it rarely has.
    Colour,
    /// Two things, with a relation or colours.
    Composition,
    /// Three, four or five of a kind.
    Count,
    /// A thing in a place.
    Location,
    /// Of clips: how a thing moves.
    Motion,
    /// Of GenEval: one thing.
    #[serde(rename = "single_object")]
    #[value(name = "single_object")]
    SingleObject,
    /// Of GenEval: two things.
    #[serde(rename = "two_object")]
    #[value(name = "two_object")]
    TwoObject,
    /// Of GenEval: two, three or four of a kind.
    Counting,
    /// Of GenEval: a thing in a colour.
    Colors,
    /// Of GenEval: two things, one beside, above or below the other.
    Position,
    /// Of GenEval: two things, each in a colour.
    #[serde(rename = "color_attr")]
    #[value(name = "color_attr")]
    ColorAttr,
}

/// Half of the list. Settings may be chosen by what happens on the development half; the held-out half is only
/// measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// The SHA-256 of the prompt ends in an even digit.
    Development,
    /// It ends in an odd one.
    HeldOut,
}

impl Category {
    /// Those of images, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Colour, Self::Composition, Self::Count, Self::Location];

    /// Those of clips, in the order of lists; in each of them things move.
    pub const CLIPS: [Self; 4] = [Self::Colour, Self::Composition, Self::Location, Self::Motion];

    /// Those of GenEval.
    pub const GENEVAL: [Self; 6] =
        [Self::SingleObject, Self::TwoObject, Self::Counting, Self::Colors, Self::Position, Self::ColorAttr];
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Colour => "colour",
            Self::Composition => "composition",
            Self::Count => "count",
            Self::Location => "location",
            Self::Motion => "motion",
            Self::SingleObject => "single_object",
            Self::TwoObject => "two_object",
            Self::Counting => "counting",
            Self::Colors => "colors",
            Self::Position => "position",
            Self::ColorAttr => "color_attr",
        })
    }
}

impl fmt::Display for Half {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Development => "development",
            Self::HeldOut => "held-out",
        })
    }
}

impl Prompt {
    /// The half that the prompt belongs to, decided by nothing but its text.
    pub fn half(&self) -> Half {
        if digest(&self.text)[31].is_multiple_of(2) { Half::Development } else { Half::HeldOut }
    }
}

/// SHA-256 of a prompt, as `printf %s PROMPT | sha256sum` prints it; also the order in which candidates are tried.
pub fn digest(prompt: &str) -> [u8; 32] {
    Sha256::digest(prompt).into()
}

/// The list that is known by name: 553 prompts for public models (arXiv 2310.11513).
const GENEVAL: &str = "geneval";

/// Reads a list: category, a tab and the prompt; further columns and lines that begin with # are left out. `geneval` is
/// the built-in list of that name, unless there is such a file.
pub fn read(path: &Path) -> Result<Vec<Prompt>> {
    let text = if path == Path::new(GENEVAL) && !path.is_file() {
        include_str!("../geneval/prompts.tsv").to_owned()
    } else {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let mut columns = line.split('\t');
            let (Some(category), Some(text)) = (columns.next(), columns.next()) else {
                bail!("{}:{}: expected category, tab, prompt, found {line:?}", path.display(), number + 1);
            };
            let category = Category::from_str(category, false)
                .map_err(|reason| anyhow::anyhow!("{}:{}: {reason}", path.display(), number + 1))?;
            Ok(Prompt { category, text: text.to_owned() })
        })
        .collect()
}

/// The prompts of a list without their categories; a file without tabs holds one a line.
pub fn texts(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(|line| line.split('\t').nth(1).unwrap_or(line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_bad_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.tsv");
        fs::write(&path, "# why\ncount\tfour pandas\t0.53\n").unwrap();
        let expected = Prompt { category: Category::Count, text: "four pandas".to_owned() };
        assert_eq!(read(&path).unwrap(), [expected]);
        fs::write(&path, "counts\tfour pandas\n").unwrap();
        let message = format!("{:#}", read(&path).unwrap_err());
        assert!(message.contains("list.tsv:1") && message.contains("counts"), "{message}");
    }

    #[test]
    fn texts_are_those_of_either_kind_of_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        fs::write(&path, "# why\ncount\tfour pandas\t0.53\n\na green dog\n").unwrap();
        assert_eq!(texts(&path).unwrap(), ["four pandas", "a green dog"]);
    }

    #[test]
    fn geneval_is_built_in() {
        let prompts = read(Path::new("geneval")).unwrap();
        let counts = Category::GENEVAL
            .map(|category| prompts.iter().filter(|prompt| prompt.category == category).count());
        // Table 1 of the paper.
        assert_eq!((prompts.len(), counts), (553, [80, 99, 80, 94, 100, 100]));
        for category in Category::GENEVAL {
            assert_eq!(Category::from_str(&category.to_string(), false), Ok(category));
            assert_eq!(serde_json::to_string(&category).unwrap(), format!("{:?}", category.to_string()));
        }
    }

    #[test]
    fn halves_are_those_of_sha256sum() {
        let half = |text: &str| Prompt { category: Category::Count, text: text.to_owned() }.half();
        // `printf %s 'four pandas' | sha256sum` ends in f4, that of "a dog on the moon" in 89.
        assert_eq!(half("four pandas"), Half::Development);
        assert_eq!(half("a dog on the moon"), Half::HeldOut);
    }
}

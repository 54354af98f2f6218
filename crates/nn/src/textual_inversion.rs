//! Textual inversion: files with the vectors of new tokens, as `load_textual_inversion` of diffusers 0.42.1 reads them.
//!
//! Gal et al., "An Image is Worth One Word", ICLR 2023.

use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::weight_file::WeightFile;

/// What the file is called in a folder or on the hub.
const USUAL_NAMES: [&str; 2] = ["learned_embeds.safetensors", "learned_embeds.bin"];

/// The names of the vectors for the first and the second text encoder of Stable Diffusion XL.
const ENCODERS: [&str; 2] = ["clip_l", "clip_g"];

/// An embedding as the user names it: `FILE` or `FILE=TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingSource {
    /// A file, or a folder or id on the hub that has one.
    pub path: String,
    /// What prompts call it; `None` stands for the name in the file.
    pub token: Option<String>,
}

impl FromStr for EmbeddingSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (path, token) = match text.rsplit_once('=').filter(|_| !Path::new(text).exists()) {
            Some((path, token)) => (path, Some(token.to_owned())),
            None => (text, None),
        };
        if path.is_empty() || token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            return Err(Error::Option {
                option: "embedding",
                found: text.to_owned(),
                expected: "FILE or FILE=TOKEN, with a text for TOKEN".into(),
            });
        }
        Ok(Self { path: path.to_owned(), token })
    }
}

/// A new token.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The file, for messages.
    pub file: String,
    /// What prompts call it.
    pub token: String,
    /// The vectors for each text encoder; `None` where it has none for it.
    encoders: [Option<Vectors>; 2],
}

/// Rows of a table of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// How many.
    pub count: usize,
    /// Numbers in each.
    pub width: usize,
    /// One vector after the other.
    pub values: Vec<f32>,
}

impl Embedding {
    /// Opens an embedding for a model with `encoders` text encoders, 1 or 2.
    ///
    /// # Errors
    /// Where the file is absent or damaged, holds something else, or does not say its name and neither does the user.
    pub fn open(source: &EmbeddingSource, encoders: usize) -> Result<Self> {
        let path = Path::new(&source.path);
        let file = if path.is_file() {
            WeightFile::open(path)?
        } else {
            let files = ModelFiles::find(&source.path)?;
            let name = USUAL_NAMES.iter().find(|name| files.contains(name)).unwrap_or(&USUAL_NAMES[0]);
            WeightFile::of(files.open(name)?)?
        };
        let refused = |reason: String| Err(Error::Embedding { file: file.name().to_owned(), reason });
        let names: Vec<&str> = file.names().collect();
        let is_split = names.iter().all(|name| ENCODERS.contains(name)) && !names.is_empty();
        let (own, vectors) = match &names[..] {
            _ if is_split => (None, ENCODERS.map(|name| Some(name).filter(|name| names.contains(name)))),
            // Trainers before diffusers call every token so, and keep its name beside it.
            ["*"] => (file.metadata("name").map(str::to_owned), [Some("*"), None]),
            [""] => (None, [Some(""), None]),
            [name] => (Some((*name).to_owned()), [Some(*name), None]),
            _ => {
                let expected = "expected the vectors of one token, or clip_l and clip_g";
                return refused(format!("{expected}, found {}", listed(&names)));
            }
        };
        if encoders < 2 && vectors[1].is_some() {
            return refused(
                "it is for the two text encoders of Stable Diffusion XL, and the model has one".into(),
            );
        }
        let Some(token) = source.token.clone().or(own) else {
            return Err(Error::Option {
                option: "embedding",
                found: source.path.clone(),
                expected: format!("{}=TOKEN, because the file does not name its token", source.path),
            });
        };
        let mut encoders = [None, None];
        for (encoder, name) in encoders.iter_mut().zip(vectors) {
            let Some(name) = name else { continue };
            let (count, width) = match file.shape(name) {
                Some(&[width]) => (1, width),
                Some(&[count, width]) => (count, width),
                found => {
                    return refused(format!(
                        "expected vectors as [count, width], found {name} {:?}",
                        found.unwrap_or_default()
                    ));
                }
            };
            /// More than fit into any prompt.
            const MOST: usize = 1000;
            if count == 0 || count > MOST {
                return refused(format!("expected 1 to {MOST} vectors, found {count}"));
            }
            let values = file.numbers(name)?.unwrap_or_default();
            *encoder = Some(Vectors { count, width, values });
        }
        Ok(Self { file: file.name().to_owned(), token, encoders })
    }

    /// The vectors for a text encoder, 0 or 1, of `width` channels; `None` where there are none.
    ///
    /// # Errors
    /// Where they have another width.
    pub fn vectors(&self, encoder: usize, width: usize) -> Result<Option<&Vectors>> {
        let vectors = self.encoders.get(encoder).and_then(Option::as_ref);
        match vectors {
            Some(found) if found.width != width => {
                let reason =
                    format!("expected vectors of {width} numbers for this model, found {}", found.width);
                Err(Error::Embedding { file: self.file.clone(), reason })
            }
            vectors => Ok(vectors),
        }
    }
}

fn listed(names: &[&str]) -> String {
    const NAMED: usize = 4;
    let more = names.len().saturating_sub(NAMED);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", names[..names.len() - more].join(", "))
}

//! The public vocabularies that scorers were trained with, for folders that hold the weights alone.

use noisefind_nn::text::Tokenizer;
use noisefind_nn::{EmbeddedFile, ModelFiles, clip_vocabulary};

use crate::Error;

static BERT: [EmbeddedFile; 1] =
    [EmbeddedFile { path: "vocab.txt", bytes: include_bytes!("../vocabularies/bert-base-uncased.txt") }];

/// `vocab.txt` of `bert-base-uncased`.
pub(crate) fn bert() -> ModelFiles {
    ModelFiles::embedded("bert-base-uncased", &BERT)
}

/// The tokenizer in `folder` of `files`, or where there is none and the encoder has as many tokens as CLIP, CLIP's own.
///
/// # Errors
/// As [`Tokenizer::open`].
pub(crate) fn clip_tokenizer(
    files: &ModelFiles,
    folder: &str,
    context_length: usize,
    vocab_size: usize,
) -> Result<Tokenizer, Error> {
    let inside = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let own = ["tokenizer.json", "vocab.json"].into_iter().any(|name| files.contains(&inside(name)));
    if own || vocab_size != clip_vocabulary::TOKENS {
        return Ok(Tokenizer::open(files, folder, context_length, vocab_size)?);
    }
    Ok(Tokenizer::open(&clip_vocabulary::files(), "", context_length, vocab_size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_reward::tokenizer::WordPiece;

    /// What transformers makes of the texts, made by `golden/rewards/tokens.py`.
    fn golden() -> Vec<(String, Vec<u32>, Vec<u32>)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewards/tokens.json");
        let rows = serde_json::from_slice(&std::fs::read(path).expect("the golden ids are there"));
        rows.expect("texts with ids of CLIP and of BERT")
    }

    #[test]
    fn ids_of_hundreds_of_odd_texts_are_those_of_transformers() {
        let folder = tempfile::tempdir().unwrap();
        let empty = ModelFiles::directory(folder.path()).unwrap();
        let clip = clip_tokenizer(&empty, "", 77, clip_vocabulary::TOKENS).unwrap();
        let bert = WordPiece::open(&empty, 30524).unwrap();
        let golden = golden();
        assert!(golden.len() >= 300);
        let mut different = Vec::new();
        for (text, of_clip, of_bert) in &golden {
            let tokens = clip.encode(text).unwrap();
            if tokens.ids[..tokens.length] != **of_clip {
                different.push(format!("CLIP {text:?}\n  {of_clip:?}\n  {:?}", &tokens.ids[..tokens.length]));
            }
            let ids = bert.encode(text).unwrap();
            if ids != **of_bert {
                different.push(format!("BERT {text:?}\n  {of_bert:?}\n  {ids:?}"));
            }
        }
        assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    }
}

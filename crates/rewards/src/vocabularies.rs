//! The two public vocabularies that most scorers were trained with, for folders that hold the weights alone.

use std::sync::LazyLock;

use noisefind_nn::text::Tokenizer;
use noisefind_nn::{EmbeddedFile, ModelFiles};
use serde_json::{Map, Value};

use crate::Error;

/// Tokens of CLIP, with the begin and the end token.
const CLIP_TOKENS: usize = 49408;

const CLIP_MERGES: &str = include_str!("../vocabularies/clip-merges.txt");

static BERT: [EmbeddedFile; 1] =
    [EmbeddedFile { path: "vocab.txt", bytes: include_bytes!("../vocabularies/bert-base-uncased.txt") }];

static CLIP_VOCABULARY: LazyLock<String> = LazyLock::new(|| Value::Object(clip_vocabulary()).to_string());

static CLIP: LazyLock<[EmbeddedFile; 2]> = LazyLock::new(|| {
    [
        EmbeddedFile { path: "vocab.json", bytes: CLIP_VOCABULARY.as_bytes() },
        EmbeddedFile { path: "merges.txt", bytes: CLIP_MERGES.as_bytes() },
    ]
});

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
    if own || vocab_size != CLIP_TOKENS {
        return Ok(Tokenizer::open(files, folder, context_length, vocab_size)?);
    }
    let public = ModelFiles::embedded("openai/CLIP", &*CLIP);
    Ok(Tokenizer::open(&public, "", context_length, vocab_size)?)
}

/// All bytes as printable letters, the same at the ends of words, what the merges make of them, begin and end.
fn clip_vocabulary() -> Map<String, Value> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..);
    let own = (0..=u8::MAX).filter(printable).map(char::from);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte)).zip('\u{100}'..).map(|(_, letter)| letter);
    let letters: Vec<String> = own.chain(others).map(String::from).collect();
    let ends = letters.iter().map(|letter| format!("{letter}</w>"));
    let merged = CLIP_MERGES.lines().map(|pair| pair.replacen(' ', "", 1));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = letters.iter().cloned().chain(ends).chain(merged).chain(special);
    tokens.zip(0u32..).map(|(token, id)| (token, id.into())).collect()
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
        let clip = clip_tokenizer(&empty, "", 77, CLIP_TOKENS).unwrap();
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

    #[test]
    fn the_vocabulary_is_complete() {
        let vocabulary = clip_vocabulary();
        assert_eq!(vocabulary.len(), CLIP_TOKENS);
        assert_eq!(
            (&vocabulary["!"], &vocabulary["dog</w>"], &vocabulary["<|endoftext|>"]),
            (&0.into(), &1929.into(), &49407.into())
        );
    }
}

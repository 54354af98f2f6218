//! CLIP's public vocabulary, for weights that are published without it.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::files::{EmbeddedFile, ModelFiles};

/// Tokens, with the begin and the end token.
pub const TOKENS: usize = 49408;

const MERGES: &str = include_str!("../vocabularies/clip-merges.txt");

static VOCABULARY: LazyLock<String> = LazyLock::new(|| Value::Object(vocabulary()).to_string());

static FILES: LazyLock<[EmbeddedFile; 2]> = LazyLock::new(|| {
    [
        EmbeddedFile { path: "vocab.json", bytes: VOCABULARY.as_bytes() },
        EmbeddedFile { path: "merges.txt", bytes: MERGES.as_bytes() },
    ]
});

/// `vocab.json` and `merges.txt`.
pub fn embedded() -> &'static [EmbeddedFile] {
    &*FILES
}

/// The same as the files of a tokenizer.
pub fn files() -> ModelFiles {
    ModelFiles::embedded("openai/CLIP", embedded())
}

/// All bytes as printable letters, the same at the ends of words, what the merges make of them, begin and end.
fn vocabulary() -> Map<String, Value> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..);
    let own = (0..=u8::MAX).filter(printable).map(char::from);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte)).zip('\u{100}'..).map(|(_, letter)| letter);
    let letters: Vec<String> = own.chain(others).map(String::from).collect();
    let ends = letters.iter().map(|letter| format!("{letter}</w>"));
    let merged = MERGES.lines().map(|pair| pair.replacen(' ', "", 1));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = letters.iter().cloned().chain(ends).chain(merged).chain(special);
    tokens.zip(0u32..).map(|(token, id)| (token, id.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_complete() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.len(), TOKENS);
        assert_eq!(
            (&vocabulary["!"], &vocabulary["dog</w>"], &vocabulary["<|endoftext|>"]),
            (&0.into(), &1929.into(), &49407.into())
        );
    }
}

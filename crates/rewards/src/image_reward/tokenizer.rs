//! BERT's tokenizer: lower case without accents, WordPiece, between `[CLS]` and `[SEP]`.
//!
//! Reference: `BertTokenizer` of transformers with the vocabulary of `bert-base-uncased`.

use noisefind_nn::ModelFiles;
use serde_json::{Map, Value, json};

use crate::{Error, vocabularies};

const FILE: &str = "vocab.txt";
/// Tokens of BERT; ImageReward has two more.
const BERT_TOKENS: usize = 30522;
/// Ids of a prompt at most, `[CLS]` and `[SEP]` included; ImageReward was trained with as many.
const LONGEST: usize = 35;

/// Turns prompts into ids.
pub(crate) struct WordPiece {
    inner: tokenizers::Tokenizer,
    begin: u32,
    end: u32,
}

impl WordPiece {
    /// Opens `vocab.txt`, one token a line, for an encoder of `vocab_size` embeddings; where there is none and the encoder
    /// is as large as BERT, BERT's own.
    pub(crate) fn open(files: &ModelFiles, vocab_size: usize) -> Result<Self, Error> {
        let public = vocabularies::bert();
        let files = if files.contains(FILE) || vocab_size < BERT_TOKENS { files } else { &public };
        let unusable = |reason: String| {
            Error::Model(noisefind_nn::Error::Tokenizer { file: files.display(FILE), reason })
        };
        let bytes = files.read(FILE)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| unusable(error.to_string()))?;
        let ids: Map<String, Value> =
            text.lines().enumerate().map(|(id, token)| (token.trim().to_owned(), id.into())).collect();
        if text.lines().count() > vocab_size {
            let found = text.lines().count();
            return Err(unusable(format!(
                "expected at most {vocab_size} tokens as the encoder has, found {found}"
            )));
        }
        let id = |token: &str| {
            let id = ids.get(token).and_then(Value::as_u64);
            id.map(|id| id as u32).ok_or_else(|| unusable(format!("expected the token {token}, found none")))
        };
        let (begin, end) = (id("[CLS]")?, id("[SEP]")?);
        id("[UNK]")?;
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().filter_map(|token| {
            let id = ids.get(token)?;
            Some(json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                        "normalized": false, "special": true}))
        });
        let description = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": special.collect::<Vec<_>>(),
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": null,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": ids},
        });
        let inner = tokenizers::Tokenizer::from_bytes(description.to_string())
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { inner, begin, end })
    }

    /// The ids of a prompt without padding; a prompt that is too long loses its end.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode(prompt, false).map_err(|error| {
            Error::Model(noisefind_nn::Error::Tokenizer {
                file: FILE.to_owned(),
                reason: format!("cannot encode {prompt:?}: {error}"),
            })
        })?;
        let words = encoding.get_ids().iter().take(LONGEST - 2).copied();
        Ok(std::iter::once(self.begin).chain(words).chain([self.end]).collect())
    }
}

//! CLIP's tokenizer: byte-level BPE between a begin and an end token, padded to the encoder's length.
//!
//! Reference: `CLIPTokenizer` of transformers, version 5.23.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use crate::error::{Error, Result};
use crate::files::{ModelFiles, in_folder};

/// Turns prompts into token ids as the model's own files say.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    begin: u32,
    end: u32,
    pad: u32,
    max_length: usize,
    /// How many tokens each of these stands for: itself, and others with numbers behind its name.
    several: BTreeMap<String, usize>,
}

/// A prompt as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Begin token, the prompt, end token, padding: `max_length` ids.
    pub ids: Vec<u32>,
    /// How many of them come before the padding.
    pub length: usize,
    /// The end of the prompt that did not fit, empty where everything did.
    pub truncated: String,
}

impl Tokenizer {
    /// Opens `<folder>/tokenizer.json`, or `vocab.json` and `merges.txt`, for an encoder of `max_length` positions (fewer
    /// where the tokenizer's config says so) and `vocab_size` embeddings.
    ///
    /// # Errors
    /// Where the files are absent, damaged, or name tokens that the encoder does not have.
    pub fn open(model: &ModelFiles, folder: &str, max_length: usize, vocab_size: usize) -> Result<Self> {
        let path = |name: &str| in_folder(folder, name);
        let (file, description) = if model.contains(&path("tokenizer.json")) {
            let mut description: Map<String, Value> = model.read_json(&path("tokenizer.json"))?;
            // Ids are never turned back into text, and the library panics over a decoder that is damaged.
            description.insert("decoder".to_owned(), Value::Null);
            (path("tokenizer.json"), Value::Object(description))
        } else {
            let vocab: Value = model.read_json(&path("vocab.json"))?;
            let merges = model.read(&path("merges.txt"))?;
            (path("vocab.json"), byte_level_bpe(vocab, &String::from_utf8_lossy(&merges)))
        };
        let unusable = |reason: String| Error::Tokenizer { file: model.display(&file), reason };
        let mut inner = tokenizers::Tokenizer::from_bytes(description.to_string())
            .map_err(|error| unusable(error.to_string()))?;
        // Length, begin and end are ours to set, since a file may carry those of another use.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| unusable(error.to_string()))?;
        add_tokens(&mut inner, model, &path)?;
        let special = SpecialTokens::read(model, &path)?;
        let id = |token: &str| match inner.token_to_id(token) {
            Some(id) if (id as usize) < vocab_size => Ok(id),
            Some(id) => Err(unusable(format!("expected ids below {vocab_size}, found {id} for {token}"))),
            None => Err(unusable(format!("expected the token {token}, found none"))),
        };
        let (begin, end, pad) = (id(&special.bos)?, id(&special.eos)?, id(&special.pad)?);
        let max_length = special.max_length.map_or(max_length, |length| length.min(max_length));
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        if largest as usize >= vocab_size {
            return Err(unusable(format!(
                "expected ids below {vocab_size} as the encoder has, found {largest}"
            )));
        }
        if max_length < 3 {
            return Err(unusable(format!("expected an encoder of at least 3 positions, found {max_length}")));
        }
        Ok(Self { inner, begin, end, pad, max_length, several: BTreeMap::new() })
    }

    /// Adds `token`, which stands for `count` tokens in a row, and gives the id of the first; the others follow it.
    ///
    /// # Errors
    /// Where the token is there already.
    pub fn add_token(&mut self, token: &str, count: usize) -> Result<u32> {
        let names: Vec<String> = (0..count).map(|at| numbered(token, at)).collect();
        if let Some(known) = names.iter().find(|name| self.inner.token_to_id(name).is_some()) {
            return Err(Error::Tokenizer {
                file: "the tokenizer".to_owned(),
                reason: format!(
                    "it has the token {known} already; give --embedding FILE=TOKEN with another name"
                ),
            });
        }
        let added: Vec<AddedToken> = names.iter().map(|name| AddedToken::from(name.clone(), false)).collect();
        self.inner.add_tokens(added).map_err(|error| Error::Tokenizer {
            file: "the tokenizer".to_owned(),
            reason: error.to_string(),
        })?;
        self.several.insert(token.to_owned(), count);
        self.inner.token_to_id(token).ok_or_else(|| Error::Tokenizer {
            file: "the tokenizer".to_owned(),
            reason: format!("{token:?} cannot be a token"),
        })
    }

    /// The prompt with the other tokens behind each that stands for several, as diffusers' `maybe_convert_prompt`.
    fn expanded<'a>(&self, prompt: &'a str) -> Result<Cow<'a, str>> {
        if self.several.is_empty() {
            return Ok(Cow::Borrowed(prompt));
        }
        let mut expanded = prompt.to_owned();
        let mut seen = Vec::new();
        for token in
            self.inner.encode(prompt, false).map_err(|error| cannot_encode(prompt, &error))?.get_tokens()
        {
            let Some(count) = self.several.get(token).filter(|_| !seen.contains(token)) else { continue };
            let all: Vec<String> = (0..*count).map(|at| numbered(token, at)).collect();
            expanded = expanded.replace(token.as_str(), &all.join(" "));
            seen.push(token.clone());
        }
        Ok(Cow::Owned(expanded))
    }

    /// The ids of a prompt; a prompt that is too long loses its end, which is reported.
    ///
    /// # Errors
    /// Where the tokenizer's files do not cover the prompt.
    pub fn encode(&self, prompt: &str) -> Result<Tokens> {
        let mut chunks = self.chunks(prompt, 1)?;
        chunks.pop().ok_or_else(|| Error::Tokenizer {
            file: "the tokenizer".to_owned(),
            reason: format!("cannot encode {prompt:?}"),
        })
    }

    /// The ids of a prompt in pieces of the encoder's length, each with begin and end token: at most `most`, of which the
    /// last reports what did not fit.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn chunks(&self, prompt: &str, most: usize) -> Result<Vec<Tokens>> {
        let prompt = self.expanded(prompt)?;
        let encoding = self.inner.encode(&*prompt, false).map_err(|error| cannot_encode(&prompt, &error))?;
        let room = self.max_length - 2;
        let all = encoding.get_ids();
        let count = all.len().div_ceil(room).clamp(1, most.max(1));
        let truncated = match encoding.get_offsets().get(count * room) {
            Some(&(start, _)) => prompt.get(start..).unwrap_or(&prompt).trim().to_owned(),
            None => String::new(),
        };
        let chunk = |at: usize| {
            let own = &all[(at * room).min(all.len())..((at + 1) * room).min(all.len())];
            let mut ids = Vec::with_capacity(self.max_length);
            ids.push(self.begin);
            ids.extend(own);
            ids.push(self.end);
            let length = ids.len();
            ids.resize(self.max_length, self.pad);
            let truncated = if at + 1 == count { truncated.clone() } else { String::new() };
            Tokens { ids, length, truncated }
        };
        Ok((0..count).map(chunk).collect())
    }

    /// The pieces that a prompt falls into, without begin and end: what the model reads of it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn pieces(&self, prompt: &str) -> Result<Vec<String>> {
        let ids = self.encode(prompt)?;
        Ok(ids.ids[1..ids.length - 1].iter().filter_map(|&id| self.inner.id_to_token(id)).collect())
    }

    /// Every token with its id.
    pub fn vocabulary(&self) -> BTreeMap<String, u32> {
        self.inner.get_vocab(true).into_iter().collect()
    }
}

/// What a token that stands for several is called: itself, and then with a number behind it.
fn numbered(token: &str, at: usize) -> String {
    if at == 0 { token.to_owned() } else { format!("{token}_{at}") }
}

fn cannot_encode(prompt: &str, error: &tokenizers::Error) -> Error {
    Error::Tokenizer {
        file: "the tokenizer".to_owned(),
        reason: format!("cannot encode {prompt:?}: {error}"),
    }
}

/// Adds the tokens that the files beside the vocabulary list: `added_tokens_decoder` of `tokenizer_config.json`, or else
/// `added_tokens.json` and the special tokens.
///
/// # Errors
/// Where a file is damaged, or lists other ids than tokens behind the vocabulary get.
fn add_tokens(
    inner: &mut tokenizers::Tokenizer,
    model: &ModelFiles,
    path: &impl Fn(&str) -> String,
) -> Result<()> {
    let read = |file: &str| -> Result<Map<String, Value>> {
        if model.contains(&path(file)) { model.read_json(&path(file)) } else { Ok(Map::new()) }
    };
    let config = read("tokenizer_config.json")?;
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    let mut listed: Vec<(Option<u64>, AddedToken)> = Vec::new();
    let file = match decoder {
        Some(decoder) => {
            let entries =
                decoder.iter().filter_map(|(id, token)| Some((id.parse().ok(), added_token(token, false)?)));
            listed.extend(entries);
            "tokenizer_config.json"
        }
        None => {
            let tokens = read("added_tokens.json")?;
            let entries =
                tokens.iter().map(|(token, id)| (id.as_u64(), AddedToken::from(token.clone(), false)));
            listed.extend(entries);
            "added_tokens.json"
        }
    };
    listed.sort_by_key(|(id, _)| *id);
    for special in [config, read("special_tokens_map.json")?] {
        for key in ["bos_token", "eos_token", "unk_token", "pad_token", "additional_special_tokens"] {
            let tokens = match special.get(key) {
                Some(Value::Array(tokens)) => tokens.iter().collect(),
                Some(token) => vec![token],
                None => Vec::new(),
            };
            listed.extend(tokens.into_iter().filter_map(|token| Some((None, added_token(token, true)?))));
        }
    }
    for (id, token) in listed {
        let is_there = inner.get_added_vocabulary().get_vocab().contains_key(&token.content);
        if is_there || token.content.is_empty() {
            continue;
        }
        let content = token.content.clone();
        inner.add_tokens([token]).map_err(|error| Error::Tokenizer {
            file: model.display(&path(file)),
            reason: error.to_string(),
        })?;
        let found = inner.token_to_id(&content).map(u64::from);
        if id.is_some() && id != found {
            return Err(Error::Tokenizer {
                file: model.display(&path(file)),
                reason: format!(
                    "expected the id {} for the token {content}, found {}",
                    found.unwrap_or(0),
                    id.unwrap_or(0)
                ),
            });
        }
    }
    Ok(())
}

/// A token as transformers writes it: its text, or an object that holds the text beside matching rules.
fn added_token(token: &Value, is_special: bool) -> Option<AddedToken> {
    let flag = |key: &str, default: bool| token.get(key).and_then(Value::as_bool).unwrap_or(default);
    let content = token.as_str().or_else(|| token.get("content")?.as_str())?;
    let special = flag("special", is_special);
    Some(
        AddedToken::from(content, special)
            .single_word(flag("single_word", false))
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .normalized(flag("normalized", !special)),
    )
}

/// The texts of the special tokens.
struct SpecialTokens {
    bos: String,
    eos: String,
    pad: String,
    max_length: Option<usize>,
}

impl SpecialTokens {
    /// `special_tokens_map.json` overrides `tokenizer_config.json`; padding is attended to, so it must be the right one.
    fn read(model: &ModelFiles, path: &impl Fn(&str) -> String) -> Result<Self> {
        let mut tokens = Self {
            bos: "<|startoftext|>".into(),
            eos: "<|endoftext|>".into(),
            pad: "<|endoftext|>".into(),
            max_length: None,
        };
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            if !model.contains(&path(file)) {
                continue;
            }
            let map: BTreeMap<String, Value> = model.read_json(&path(file))?;
            // Some files state an astronomically large number for "no limit", which is no integer.
            if let Some(length) = map.get("model_max_length").and_then(Value::as_u64) {
                tokens.max_length = Some(length as usize);
            }
            for (key, token) in [
                ("bos_token", &mut tokens.bos),
                ("eos_token", &mut tokens.eos),
                ("pad_token", &mut tokens.pad),
            ] {
                // A token is its text, or an object that holds the text beside matching rules.
                let text =
                    map.get(key).and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
                if let Some(text) = text {
                    *token = text.to_owned();
                }
            }
        }
        Ok(tokens)
    }
}

/// The description of CLIP's tokenizer around a vocabulary and its merges, in the format of `tokenizer.json`.
fn byte_level_bpe(vocab: Value, merges: &str) -> Value {
    const WORDS: &str =
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let added = ["<|startoftext|>", "<|endoftext|>"].iter().filter_map(|token| {
        let id = vocab.get(token)?;
        Some(json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true}))
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": merges},
    })
}

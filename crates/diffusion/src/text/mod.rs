//! Text encoders: one file a class, chosen by the class that `model_index.json` names.
//!
//! A class is a [`TextEncoder`] with its tokenizer. A new class is a file and a row of `CLASSES`. `TextEncoders` joins
//! the one or two of a pipeline to what a denoiser is conditioned on.

mod clip;

use std::fmt::Debug;
use std::sync::Arc;

use burn_tensor::Tensor;

use crate::denoiser::DenoiserInfo;
use crate::model_index::ModelIndex;
use noisefind_nn::device::Placement;
use noisefind_nn::error::{Error, Result};
use noisefind_nn::files::ModelFiles;
use noisefind_nn::lora::Adapters;
use noisefind_nn::text::{Tokenizer, Tokens};
use noisefind_nn::textual_inversion::{Embedding, EmbeddingSource};

/// One class of text encoders.
struct Class {
    /// Its names in `model_index.json`.
    names: &'static [&'static str],
    open: fn(&Opening<'_>) -> Result<Arc<dyn TextEncoder>>,
}

/// All classes that are implemented; the first is that of an index which names none.
const CLASSES: &[Class] = &[Class {
    names: &["CLIPTextModel", "CLIPTextModelWithProjection"],
    open: |opening| Ok(Arc::new(clip::ClipEncoder::open(opening)?)),
}];

/// What it takes to open a text encoder.
struct Opening<'a> {
    files: &'a ModelFiles,
    folder: &'static str,
    tokenizer: &'static str,
    placement: &'a Placement,
    adapters: &'a Adapters,
    /// New tokens.
    embeddings: &'a [Embedding],
    /// Which of the pipeline's text encoders it is.
    encoder: usize,
}

/// A text encoder with its tokenizer.
pub trait TextEncoder: Debug + Send + Sync {
    /// Its tokenizer.
    fn tokenizer(&self) -> &Tokenizer;

    /// Channels of the hidden states.
    fn width(&self) -> usize;

    /// Channels of the pooled text.
    fn pooled_width(&self) -> usize;

    /// Layers.
    fn layers(&self) -> usize;

    /// Encodes token sequences of one length.
    fn encode(&self, ids: &[Vec<u32>]) -> EncodedTexts;

    /// The hidden state without the last `skipped` layers, after the final norm, `[texts, tokens, width]`.
    fn normalised(&self, encoded: &EncodedTexts, skipped: usize) -> Tensor<3>;
}

/// What an encoder says about some texts.
#[derive(Clone, Debug)]
pub struct EncodedTexts {
    /// Before each layer and after the last, without norm, each `[texts, tokens, width]`.
    pub hidden_states: Vec<Tensor<3>>,
    /// The texts as a whole, `[texts, width]`.
    pub pooled: Tensor<2>,
    /// `pooled` through the encoder's projection, where it has one, `[texts, pooled_width]`.
    pub text_embeds: Option<Tensor<2>>,
}

impl EncodedTexts {
    /// The chunks of each text behind each other; a text as a whole is its first chunk.
    fn joined(self, texts: usize, chunks: usize) -> Self {
        if chunks == 1 {
            return self;
        }
        let state = |state: Tensor<3>| {
            let [rows, tokens, width] = state.dims();
            state.reshape([texts, rows / texts * tokens, width])
        };
        let first = |pooled: Tensor<2>| {
            let rows = (0..texts).map(|text| pooled.clone().narrow(0, text * chunks, 1));
            Tensor::cat(rows.collect(), 0)
        };
        Self {
            hidden_states: self.hidden_states.into_iter().map(state).collect(),
            pooled: first(self.pooled),
            text_embeds: self.text_embeds.map(first),
        }
    }
}

/// What becomes of a text that is longer than the encoders read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextLength {
    /// It loses its end, as in diffusers.
    #[default]
    Truncated,
    /// It is encoded in chunks, and the denoiser attends to all of them.
    Chunks,
}

impl TextLength {
    fn most_chunks(self) -> usize {
        /// About three thousand words, more than any prompt.
        const MOST: usize = 64;
        if self == Self::Chunks { MOST } else { 1 }
    }
}

/// The text encoders of a pipeline: one, or SDXL's two.
#[derive(Clone, Debug)]
pub(crate) struct TextEncoders {
    first: Arc<dyn TextEncoder>,
    second: Option<Arc<dyn TextEncoder>>,
}

/// Hidden states `[texts, tokens, channels]` and pooled text `[texts, channels]`.
pub(crate) struct TextConditioning {
    pub(crate) hidden_states: Tensor<3>,
    pub(crate) pooled: Tensor<2>,
}

/// Opens the text encoder in `folder`.
fn open(opening: &Opening<'_>, index: &ModelIndex) -> Result<Arc<dyn TextEncoder>> {
    let class = index.class_of(opening.folder).unwrap_or(CLASSES[0].names[0]);
    match CLASSES.iter().find(|known| known.names.contains(&class)) {
        Some(known) => (known.open)(opening),
        None => Err(Error::Config {
            file: opening.files.display(ModelIndex::FILE),
            key: opening.folder,
            found: class.to_owned(),
            expected: CLASSES.iter().flat_map(|known| known.names).copied().collect::<Vec<_>>().join(" or "),
        }),
    }
}

impl TextEncoders {
    pub(crate) fn open(
        files: &ModelFiles,
        index: &ModelIndex,
        placement: &Placement,
        adapters: &Adapters,
        embeddings: &[EmbeddingSource],
    ) -> Result<Self> {
        let has_second = index.has("text_encoder_2");
        let encoders = if has_second { 2 } else { 1 };
        let embeddings: Vec<Embedding> =
            embeddings.iter().map(|source| Embedding::open(source, encoders)).collect::<Result<_>>()?;
        let open = |encoder, folder, tokenizer| {
            let embeddings = &embeddings;
            open(&Opening { files, folder, tokenizer, placement, adapters, embeddings, encoder }, index)
        };
        let second = has_second.then(|| open(1, "text_encoder_2", "tokenizer_2"));
        Ok(Self { first: open(0, "text_encoder", "tokenizer")?, second: second.transpose()? })
    }

    /// The tokenizer that says what the model reads of a prompt.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.first.tokenizer()
    }

    /// Checks that the text is as wide as the denoiser expects.
    pub(crate) fn check_fits(&self, files: &ModelFiles, denoiser: &DenoiserInfo) -> Result<()> {
        let file = || files.display("unet/config.json");
        let found = self.first.width() + self.second.as_ref().map_or(0, |second| second.width());
        if found != denoiser.text_width {
            return Err(Error::Config {
                file: file(),
                key: "cross_attention_dim",
                found: denoiser.text_width.to_string(),
                expected: format!("{found}, the width of the text encoders"),
            });
        }
        if let Some(sizes) = denoiser.text_time {
            let pooled = self.second.as_ref().unwrap_or(&self.first);
            let expected = pooled.pooled_width() + 6 * sizes.addition_time_embed_dim;
            let found = sizes.projection_class_embeddings_input_dim;
            if found != expected {
                let folder = if self.second.is_some() { "text_encoder_2" } else { "text_encoder" };
                return Err(Error::Config {
                    file: file(),
                    key: "projection_class_embeddings_input_dim",
                    found: found.to_string(),
                    expected: format!("{expected}: the projection of {folder} and six embedded sizes"),
                });
            }
        }
        Ok(())
    }

    /// Checks that no encoder skips all of its layers.
    pub(crate) fn check_skip(&self, clip_skip: usize) -> Result<()> {
        let (first, second) = (self.first.layers(), self.second.as_ref().map(|second| second.layers()));
        let maximum = second.map_or(first, |second| first.min(second)) - 1;
        if clip_skip <= maximum {
            return Ok(());
        }
        let expected = format!("0 to {maximum}, fewer than the layers of each text encoder");
        Err(Error::Option { option: "clip-skip", found: clip_skip.to_string(), expected })
    }

    /// Encodes `texts`, of which the last is the prompt and skips `clip_skip` layers; the negative prompt skips none, as
    /// in diffusers. A text that is too long loses its end, which is added to `truncated`; or else each text is encoded in
    /// as many chunks as the longest needs, one after the other.
    ///
    /// # Errors
    /// Where a tokenizer does not cover a text, or it is too long even for chunks.
    pub(crate) fn encode(
        &self,
        texts: &[&str],
        clip_skip: usize,
        length: TextLength,
        truncated: &mut Vec<String>,
    ) -> Result<TextConditioning> {
        let encoders: Vec<&dyn TextEncoder> = [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
            .map(|encoder| &**encoder)
            .collect();
        let chunked = |encoder: &&dyn TextEncoder| -> Result<Vec<Vec<Tokens>>> {
            texts.iter().map(|text| encoder.tokenizer().chunks(text, length.most_chunks())).collect()
        };
        let mut chunked = encoders.iter().map(chunked).collect::<Result<Vec<_>>>()?;
        for end in chunked.iter().flatten().flatten().map(|tokens| &tokens.truncated) {
            if !end.is_empty() && !truncated.contains(end) {
                if length == TextLength::Chunks {
                    return Err(Error::Option {
                        option: "long-prompt",
                        found: format!("more than {} chunks, the rest being {end:?}", length.most_chunks()),
                        expected: "a shorter prompt".into(),
                    });
                }
                truncated.push(end.clone());
            }
        }
        let count = chunked.iter().flatten().map(Vec::len).max().unwrap_or(1);
        let mut run = |encoder: &dyn TextEncoder, at: usize| -> Result<EncodedTexts> {
            let empty = encoder.tokenizer().encode("")?;
            let rows = std::mem::take(&mut chunked[at]).into_iter().flat_map(|mut chunks| {
                chunks.resize(count, empty.clone());
                chunks
            });
            let ids: Vec<Vec<u32>> = rows.map(|tokens| tokens.ids).collect();
            Ok(encoder.encode(&ids).joined(texts.len(), count))
        };
        let skipping = |state: &dyn Fn(usize) -> Tensor<3>| match texts.len() - 1 {
            0 => state(clip_skip),
            prompt => {
                let rows = vec![state(0).narrow(0, 0, prompt), state(clip_skip).narrow(0, prompt, 1)];
                Tensor::cat(rows, 0)
            }
        };
        let first = run(&*self.first, 0)?;
        let Some(second_encoder) = &self.second else {
            let state = |skipped| self.first.normalised(&first, skipped);
            return Ok(TextConditioning { hidden_states: skipping(&state), pooled: first.pooled });
        };
        let second = run(&**second_encoder, 1)?;
        // Two encoders were trained with the states before their last layers, without a norm.
        let state = |skipped: usize| {
            let before = |states: &[Tensor<3>]| states[states.len() - 2 - skipped].clone();
            Tensor::cat(vec![before(&first.hidden_states), before(&second.hidden_states)], 2)
        };
        let pooled = second.text_embeds.clone().unwrap_or_else(|| second.pooled.clone());
        Ok(TextConditioning { hidden_states: skipping(&state), pooled })
    }
}

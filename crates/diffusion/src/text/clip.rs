//! CLIP's text tower, `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use burn_tensor::Tensor;

use super::{EncodedTexts, Opening, TextEncoder};
use noisefind_nn::clip::{ClipTextModel, ClipTextOutput};
use noisefind_nn::error::Result;
use noisefind_nn::text::Tokenizer;

/// The tower with its tokenizer.
#[derive(Clone, Debug)]
pub(super) struct ClipEncoder {
    tokenizer: Tokenizer,
    model: ClipTextModel,
}

impl ClipEncoder {
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self> {
        let Opening { files, folder, tokenizer, placement, adapters, embeddings, encoder } = *opening;
        let mut model = ClipTextModel::open_adapted(files, folder, placement, adapters)?;
        let config = model.config();
        let (length, width) = (config.max_position_embeddings, config.hidden_size);
        let mut tokenizer = Tokenizer::open(files, tokenizer, length, config.vocab_size)?;
        for embedding in embeddings {
            if let Some(vectors) = embedding.vectors(encoder, width)? {
                let first = tokenizer.add_token(&embedding.token, vectors.count)?;
                model.set_tokens(first, &vectors.values);
            }
        }
        Ok(Self { tokenizer, model })
    }
}

impl TextEncoder for ClipEncoder {
    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn width(&self) -> usize {
        self.model.config().hidden_size
    }

    fn pooled_width(&self) -> usize {
        let config = self.model.config();
        config.projection_dim.unwrap_or(config.hidden_size)
    }

    fn layers(&self) -> usize {
        self.model.config().num_hidden_layers
    }

    fn encode(&self, ids: &[Vec<u32>]) -> EncodedTexts {
        let ClipTextOutput { hidden_states, pooled, text_embeds, .. } = self.model.forward(ids);
        EncodedTexts { hidden_states, pooled, text_embeds }
    }

    fn normalised(&self, encoded: &EncodedTexts, skipped: usize) -> Tensor<3> {
        self.model.hidden_state_without(&encoded.hidden_states, skipped)
    }
}

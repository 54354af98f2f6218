//! CLIP's text tower, `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use burn_tensor::{Int, Tensor, TensorData};

use super::encoder::{Encoder, EncoderOptions};
use crate::config::ClipTextConfig;
use crate::device::Placement;
use crate::error::{Error, Result};
use crate::files::{ModelFiles, in_folder};
use crate::lora::{self, Adapters};
use crate::ops::{LayerNorm, Linear};
use crate::weights::{Scope, Weights};

/// The text tower.
#[derive(Clone, Debug)]
pub struct ClipTextModel {
    config: ClipTextConfig,
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    placement: Placement,
}

/// What the text tower says about a batch of token sequences.
#[derive(Clone, Debug)]
pub struct ClipTextOutput {
    /// After the last layer and the final norm, `[batch, length, hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// Before each layer and after the last, without norm, `[batch, length, hidden]`.
    pub hidden_states: Vec<Tensor<3>>,
    /// The row of `last_hidden_state` at the end-of-text token, `[batch, hidden]`.
    pub pooled: Tensor<2>,
    /// `pooled` in the space that text and images share, `[batch, projection]`, where the model projects.
    pub text_embeds: Option<Tensor<2>>,
}

impl ClipTextModel {
    /// Opens the part `folder` of a pipeline: `text_encoder` or `text_encoder_2`.
    ///
    /// # Errors
    /// Where config or weights are absent, damaged or do not fit each other.
    pub fn open(model: &ModelFiles, folder: &'static str, placement: &Placement) -> Result<Self> {
        Self::open_adapted(model, folder, placement, &Adapters::default())
    }

    /// As [`Self::open`], with adapters merged into the weights.
    ///
    /// # Errors
    /// As [`Self::open`], and where an adapter does not fit.
    pub fn open_adapted(
        model: &ModelFiles,
        folder: &'static str,
        placement: &Placement,
        adapters: &Adapters,
    ) -> Result<Self> {
        let config = ClipTextConfig::read(model, folder)?;
        let mut weights = Weights::open(model, folder, "model", placement)?;
        // Published files have the prefix `text_model.`; files saved by transformers from version 5 on do not.
        weights.rename(|name| name.strip_prefix("text_model.").unwrap_or(name).to_owned());
        if config.projection_dim.is_none() && weights.root().contains("text_projection.weight") {
            return Err(Error::Config {
                file: model.display(&in_folder(folder, "config.json")),
                key: "projection_dim",
                found: "null".into(),
                expected: "the width of text_projection.weight".into(),
            });
        }
        weights.change(adapters.changes(folder, &weights, lora::text_spellings)?);
        let tower = Self::load(&weights.root(), &weights.root(), config);
        weights.finish(&["embeddings.position_ids"])?;
        Ok(tower)
    }

    /// Loads the tower from `tower`, and its projection from `outer` where there is one.
    pub(crate) fn load(tower: &Scope<'_>, outer: &Scope<'_>, config: ClipTextConfig) -> Self {
        let hidden = config.hidden_size;
        let table = |name: &str, rows: usize| {
            let values = tower.tensor(name, &[rows, hidden]);
            let rows = if values.is_some() { rows } else { 0 };
            tower.placement().tensor(values.unwrap_or_default(), [rows, hidden])
        };
        let options = EncoderOptions {
            layers: config.num_hidden_layers,
            hidden_size: hidden,
            intermediate_size: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
            causal: true,
        };
        let projection = config.projection_dim.filter(|_| outer.contains("text_projection.weight"));
        Self {
            token_embedding: table("embeddings.token_embedding.weight", config.vocab_size),
            position_embedding: table("embeddings.position_embedding.weight", config.max_position_embeddings),
            encoder: Encoder::load(&tower.at("encoder"), &options),
            final_layer_norm: LayerNorm::load(&tower.at("final_layer_norm"), hidden, config.layer_norm_eps),
            text_projection: projection
                .map(|width| Linear::load_without_bias(&outer.at("text_projection"), hidden, width)),
            placement: tower.placement().clone(),
            config,
        }
    }

    /// Gives the tokens from the id `first` on these rows of the token table, beyond it or in place of its own.
    pub fn set_tokens(&mut self, first: u32, rows: &[f32]) {
        let hidden = self.config.hidden_size;
        let [known, _] = self.token_embedding.dims();
        let (first, count) = (first as usize, rows.len() / hidden);
        // A tower that only checks has no table.
        if first > known || count == 0 {
            return;
        }
        let before = self.token_embedding.clone().narrow(0, 0, first);
        let own = self.placement.tensor(rows.to_vec(), [count, hidden]);
        let mut parts = vec![before, own];
        if first + count < known {
            parts.push(self.token_embedding.clone().narrow(0, first + count, known - first - count));
        }
        self.token_embedding = Tensor::cat(parts, 0);
    }

    /// The tower's sizes.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Encodes a batch of token sequences of one length, at most `max_position_embeddings`.
    ///
    /// # Panics
    /// Where lengths differ or an id lies outside of the vocabulary; [`crate::text::Tokenizer`] gives neither.
    pub fn forward(&self, ids: &[Vec<u32>]) -> ClipTextOutput {
        let (batch, length) = (ids.len(), ids.first().map_or(0, Vec::len));
        let flat: Vec<i32> = ids.iter().flatten().map(|&id| id as i32).collect();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(flat, [batch * length]), &self.placement.device);
        let hidden = self.config.hidden_size;
        let tokens = self.token_embedding.clone().select(0, indices).reshape([batch, length, hidden]);
        let positions = self.position_embedding.clone().narrow(0, 0, length).unsqueeze::<3>();
        let hidden_states = self.encoder.hidden_states(tokens + positions);
        let last_hidden_state = self.final_layer_norm.forward(hidden_states[hidden_states.len() - 1].clone());
        let rows = ids.iter().enumerate().map(|(sample, ids)| {
            let row = last_hidden_state.clone().narrow(0, sample, 1).narrow(1, self.end_of_text(ids), 1);
            row.reshape([1, hidden])
        });
        let pooled: Tensor<2> = Tensor::cat(rows.collect(), 0);
        ClipTextOutput {
            text_embeds: self.text_projection.as_ref().map(|projection| projection.forward(pooled.clone())),
            pooled,
            last_hidden_state,
            hidden_states,
        }
    }

    /// What [`ClipTextOutput::last_hidden_state`] would be without the last `skipped` layers, at most as many as there are;
    /// `hidden_states` are those of [`ClipTextOutput`].
    pub fn hidden_state_without(&self, hidden_states: &[Tensor<3>], skipped: usize) -> Tensor<3> {
        let layers = self.config.num_hidden_layers;
        self.final_layer_norm.forward(hidden_states[layers - skipped].clone())
    }

    /// Where a sequence is pooled: at its first end-of-text token.
    fn end_of_text(&self, ids: &[u32]) -> usize {
        /// Early configs state this id by mistake; the tower was trained to pool at the largest id.
        const LEGACY_EOS: u32 = 2;
        let end = match self.config.eos_token_id {
            LEGACY_EOS => ids.iter().max().copied(),
            given => Some(given),
        };
        ids.iter().position(|&id| Some(id) == end).unwrap_or(0)
    }
}

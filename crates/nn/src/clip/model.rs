//! Both towers with their projections, `CLIPModel` of transformers: scores how well an image fits a text.

use burn_tensor::Tensor;

use super::text::ClipTextModel;
use super::vision::ClipVisionModel;
use crate::config::ClipConfig;
use crate::device::Placement;
use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::ops::{Linear, read_back, release_buffers};
use crate::weights::Weights;

/// Both towers.
#[derive(Clone, Debug)]
pub struct ClipModel {
    text: ClipTextModel,
    vision: ClipVisionModel,
    visual_projection: Linear,
    logit_scale: f32,
    placement: Placement,
}

impl ClipModel {
    /// Opens a `CLIPModel` folder: `config.json` and `model.safetensors` in `folder` (empty for the model's top).
    ///
    /// # Errors
    /// Where config or weights are absent, damaged or do not fit each other.
    pub fn open(model: &ModelFiles, folder: &str, placement: &Placement) -> Result<Self> {
        let config = ClipConfig::read(model, folder)?;
        let weights = Weights::open(model, folder, "model", placement)?;
        let root = weights.root();
        let mut text_config = config.text.clone();
        // The projection's width is stated at the top; the towers' own values are leftovers in many files.
        text_config.projection_dim = Some(config.projection_dim);
        let text = ClipTextModel::load(&root.at("text_model"), &root, text_config);
        let vision = ClipVisionModel::load(&root.at("vision_model"), config.vision.clone());
        let projection = root.at("visual_projection");
        let visual_projection =
            Linear::load_without_bias(&projection, config.vision.hidden_size, config.projection_dim);
        let logit_scale = root.tensor_of_any("logit_scale", &[&[], &[1]]).map_or(0.0, |values| values[0]);
        if !root.contains("text_projection.weight") {
            root.tensor("text_projection.weight", &[config.projection_dim, config.text.hidden_size]);
        }
        weights.finish(&["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"])?;
        Ok(Self { text, vision, visual_projection, logit_scale, placement: placement.clone() })
    }

    /// The text tower.
    pub fn text(&self) -> &ClipTextModel {
        &self.text
    }

    /// The vision tower.
    pub fn vision(&self) -> &ClipVisionModel {
        &self.vision
    }

    /// `exp(logit_scale)`: the factor between cosine and logit.
    pub fn temperature(&self) -> f32 {
        self.logit_scale.exp()
    }

    /// Projected embeddings of images, one row of `projection_dim` numbers each, not normalised.
    ///
    /// `pixels` is `[batch, image_size, image_size, 3]`, already normalised by the processor's mean and deviation.
    ///
    /// # Errors
    /// Where the number of pixels does not fit, or the device fails.
    pub fn image_features(&self, pixels: Vec<f32>, batch: usize) -> Result<Vec<Vec<f32>>> {
        let size = self.vision.config().image_size;
        let shape = [batch, size, size, 3];
        if pixels.len() != shape.iter().product::<usize>() {
            return Err(Error::Shape { what: "pixels", expected: shape.to_vec(), found: vec![pixels.len()] });
        }
        let pixels = self.placement.tensor(pixels, shape);
        rows(self.visual_projection.forward(self.vision.forward(pixels)))
    }

    /// Projected embeddings of token sequences of one length, one row of `projection_dim` numbers each, not normalised.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn text_features(&self, ids: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let output = self.text.forward(ids);
        rows(output.text_embeds.unwrap_or(output.pooled))
    }
}

fn rows(features: Tensor<2>) -> Result<Vec<Vec<f32>>> {
    let [_, width] = features.dims();
    release_buffers();
    Ok(read_back(features, "features")?.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
}

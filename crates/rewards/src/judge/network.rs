//! The judge's network: a plain stack of convolutions with three heads.
//!
//! Reference: `Judge` and `Reader.maps` in `pretrain/judge.py`; batch norms are folded into the convolutions.

use burn_tensor::{DType, Tensor};
use noisefind_nn::ops::{Activation, Conv2d, ConvOptions, Linear};
use noisefind_nn::weights::{Scope, Weights};
use noisefind_nn::{ModelFiles, Placement};
use serde::Deserialize;

use super::motion::ClipRules;
use super::scene::{Maps, Scene, Thresholds, Vocabulary};
use crate::Error;

/// `config.json` of a judge.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct JudgeConfig {
    pub(super) model_type: String,
    pub(super) image_size: usize,
    pub(super) mean: [f32; 3],
    pub(super) std: [f32; 3],
    nouns: Vec<String>,
    colors: Vec<String>,
    places: Vec<String>,
    /// Channels before and after each convolution.
    channels: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Pixels a cell of the maps.
    cell: usize,
    pub(super) thresholds: Thresholds,
    /// Of a judge of clips.
    pub(super) clip: Option<ClipRules>,
}

impl JudgeConfig {
    /// Reads and checks the config; `file` is its name in messages.
    pub(super) fn read(files: &ModelFiles, path: &str) -> Result<Self, Error> {
        let config: Self = files.read_json(path)?;
        let invalid = |key: &'static str, found: String, expected: &'static str| {
            Err(Error::Config { file: files.display(path), key, found, expected })
        };
        if config.model_type != "noisefind-scene-judge" {
            return invalid("model_type", config.model_type, "noisefind-scene-judge");
        }
        let layers = config.strides.len();
        let whole = layers > 0 && config.dilations.len() == layers && config.channels.len() == layers + 1;
        if !whole
            || config.channels[0] != 3
            || !config.channels.iter().all(|width| (1..=4096).contains(width))
        {
            return invalid(
                "channels",
                format!("{:?}", config.channels),
                "3 and one width a stride and dilation",
            );
        }
        let mut side = config.image_size;
        for (&stride, &dilation) in config.strides.iter().zip(&config.dilations) {
            let known = matches!((stride, dilation), (1, 1..=8) | (2, 1));
            if !known || side == 0 || !side.is_multiple_of(stride * dilation) {
                let found = format!("stride {stride}, dilation {dilation} on {side} pixels");
                return invalid("strides", found, "1, or 2 without dilation, dividing the image");
            }
            side /= stride;
        }
        if config.image_size > 4096 || side * config.cell != config.image_size {
            return invalid(
                "cell",
                config.cell.to_string(),
                "image_size divided by the product of the strides",
            );
        }
        if config.nouns.is_empty() || config.colors.is_empty() || config.places.is_empty() {
            return invalid(
                "nouns",
                "an empty list beside colors or places".to_owned(),
                "at least one name each",
            );
        }
        if let Some(rules) = config.clip.filter(|rules| !rules.are_valid()) {
            return invalid("clip", format!("{rules:?}"), "numbers above 0, and a share of at most 1");
        }
        Ok(config)
    }

    fn vocabulary(&self) -> Vocabulary {
        Vocabulary { nouns: self.nouns.clone(), colors: self.colors.clone(), places: self.places.clone() }
    }
}

/// The network with its weights.
pub(super) struct Network {
    trunk: Vec<Layer>,
    heat: Linear,
    color: Linear,
    place: Linear,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
    cell: usize,
    placement: Placement,
}

struct Layer {
    convolution: Conv2d,
    dilation: usize,
}

impl Network {
    pub(super) fn open(
        files: &ModelFiles,
        folder: &str,
        config: &JudgeConfig,
        placement: &Placement,
    ) -> Result<Self, Error> {
        let weights = Weights::open(files, folder, "model", placement)?;
        let root = weights.root();
        let layer = |at: usize| Layer::load(&root.at("trunk").at(at), config, at);
        let width = config.channels[config.strides.len()];
        let vocabulary = config.vocabulary();
        let head = |name: &str, outputs: usize| Linear::load(&root.at(name), width, outputs);
        let network = Self {
            trunk: (0..config.strides.len()).map(layer).collect(),
            heat: head("heat", vocabulary.nouns.len()),
            color: head("color", vocabulary.colors.len()),
            place: head("place", vocabulary.places.len()),
            vocabulary,
            thresholds: config.thresholds,
            cell: config.cell,
            placement: placement.clone(),
        };
        weights.finish(&[])?;
        Ok(network)
    }

    /// Reads `batch` normalised images, `[batch, side, side, 3]`.
    pub(super) fn read(&self, pixels: Vec<f32>, batch: usize, side: usize) -> Result<Vec<Scene>, Error> {
        let pixels = self.placement.tensor(pixels, [batch, side, side, 3]);
        let x = self.trunk.iter().fold(pixels, |x, layer| layer.forward(x));
        let [_, cells, _, width] = x.dims();
        let mean = x.clone().reshape([batch, cells * cells, width]).mean_dim(1);
        let heat = numbers(self.heat.forward(x.clone()))?;
        let color = numbers(self.color.forward(x))?;
        let place = numbers(self.place.forward(mean))?;
        let scene = |at: usize| {
            let part = |all: &'_ [f32]| at * (all.len() / batch)..(at + 1) * (all.len() / batch);
            let maps = Maps {
                side: cells,
                cell: self.cell,
                heat: &heat[part(&heat)],
                color: &color[part(&color)],
                place: &place[part(&place)],
            };
            maps.read(&self.vocabulary, &self.thresholds)
        };
        Ok((0..batch).map(scene).collect())
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, config: &JudgeConfig, at: usize) -> Self {
        let options =
            if config.strides[at] == 2 { ConvOptions::Halving { padding: 1 } } else { ConvOptions::Same };
        let convolution = Conv2d::load(scope, config.channels[at], config.channels[at + 1], options);
        Self { convolution, dilation: config.dilations[at] }
    }

    /// A dilated convolution is a dense one on each of the `dilation^2` images made of every `dilation`-th pixel.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let convolve = |x| self.convolution.forward_with(x, None, None, Activation::Relu);
        let d = self.dilation;
        if d == 1 {
            return convolve(x);
        }
        let [batch, height, width, channels] = x.dims();
        let (rows, columns) = (height / d, width / d);
        let phases = x.reshape([batch, rows, d, columns, d, channels]).permute([0, 2, 4, 1, 3, 5]).reshape([
            batch * d * d,
            rows,
            columns,
            channels,
        ]);
        let y = convolve(phases);
        let channels = y.dims()[3];
        y.reshape([batch, d, d, rows, columns, channels])
            .permute([0, 3, 1, 4, 2, 5])
            .reshape([batch, height, width, channels])
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    tensor.cast(DType::F32).into_data().try_into_vec().map_err(|error| {
        Error::Model(noisefind_nn::Error::Readback { what: "the judge's maps", reason: format!("{error:?}") })
    })
}

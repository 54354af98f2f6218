//! The JSON configs of a model's parts, resolved once into types that cannot be wrong.
//!
//! A key that is absent or `null` has the default of diffusers' class; a key whose mathematics is not implemented is
//! refused by name unless it holds the value that switches it off.

mod clip;
mod model_index;
mod scheduler;
mod unet;
mod vae;

pub use clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
pub use model_index::ModelIndex;
pub use scheduler::{BetaSchedule, PredictionType, SchedulerConfig, SolverKind, TimestepSpacing};
pub use unet::{TextTimeConfig, UnetBlock, UnetConfig};
pub use vae::{AutoencoderKlConfig, AutoencoderTinyConfig, VaeConfig};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::ModelFiles;

/// No published model is larger; a config beyond it is damaged, and would only exhaust the memory.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;

/// The keys of one config file.
pub(crate) struct Keys {
    file: String,
    map: Map<String, Value>,
}

impl Keys {
    pub(crate) fn read(model: &ModelFiles, path: &str) -> Result<Self> {
        Ok(Self { file: model.display(path), map: model.read_json(path)? })
    }

    pub(crate) fn of(file: String, map: Map<String, Value>) -> Self {
        Self { file, map }
    }

    /// The key's value; absent and `null` are the same.
    pub(crate) fn optional<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value.clone()) {
                Ok(parsed) => Ok(Some(parsed)),
                Err(error) => Err(self.invalid(key, value.to_string(), error.to_string())),
            },
        }
    }

    pub(crate) fn or<T: DeserializeOwned>(&self, key: &'static str, default: T) -> Result<T> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    pub(crate) fn required<T: DeserializeOwned>(&self, key: &'static str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| self.invalid(key, "absent", "a value"))
    }

    /// A positive number of channels, layers or pixels.
    pub(crate) fn size(&self, key: &'static str, default: usize, maximum: usize) -> Result<usize> {
        let size = self.or(key, default)?;
        self.check(key, size > 0 && size <= maximum, size, format!("1 to {maximum}"))?;
        Ok(size)
    }

    pub(crate) fn channels(&self, key: &'static str, default: usize) -> Result<usize> {
        self.size(key, default, MAX_CHANNELS)
    }

    pub(crate) fn layers(&self, key: &'static str, default: usize) -> Result<usize> {
        self.size(key, default, MAX_LAYERS)
    }

    /// A positive finite number.
    pub(crate) fn positive(&self, key: &'static str, default: f64) -> Result<f64> {
        let number: f64 = self.or(key, default)?;
        self.check(key, number.is_finite() && number > 0.0, number, "a positive number")?;
        Ok(number)
    }

    /// Widths of the blocks, each divisible into groups.
    pub(crate) fn block_channels(&self, default: &[usize], groups: usize) -> Result<Vec<usize>> {
        const KEY: &str = "block_out_channels";
        let widths: Vec<usize> = self.or(KEY, default.to_vec())?;
        let fits = |&width: &usize| width > 0 && width <= MAX_CHANNELS && width.is_multiple_of(groups);
        let holds = !widths.is_empty() && widths.len() <= 16 && widths.iter().all(fits);
        self.check(
            KEY,
            holds,
            format!("{widths:?}"),
            format!("1 to 16 widths, multiples of norm_num_groups ({groups})"),
        )?;
        Ok(widths)
    }

    /// Refuses each key that holds anything but one of the values beside it (or nothing).
    pub(crate) fn refuse_except(&self, accepted: &[(&'static str, &[&str])]) -> Result<()> {
        for (key, values) in accepted {
            if let Some(value) = self.map.get(*key).filter(|value| !value.is_null()) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let expected = if values.is_empty() { "null".to_owned() } else { values.join(" or ") };
                self.check(
                    key,
                    values.contains(&text.as_str()),
                    text,
                    format!("{expected}; others are not implemented"),
                )?;
            }
        }
        Ok(())
    }

    pub(crate) fn check(
        &self,
        key: &'static str,
        holds: bool,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(self.invalid(key, found, expected)) }
    }

    pub(crate) fn invalid(
        &self,
        key: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Error {
        Error::Config { file: self.file.clone(), key, found: found.to_string(), expected: expected.into() }
    }

    /// The object under a key, as keys of their own.
    pub(crate) fn object(&self, key: &'static str) -> Result<Option<Self>> {
        let map: Option<Map<String, Value>> = self.optional(key)?;
        Ok(map.map(|map| Self::of(self.file.clone(), map)))
    }
}

/// A value given once for all blocks, or block by block.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

impl OneOrMany {
    pub(crate) fn for_each_of(self, blocks: usize) -> Vec<usize> {
        match self {
            Self::One(value) => vec![value; blocks],
            Self::Many(values) => values,
        }
    }
}

//! The JSON configs of a model's parts, resolved once into types that cannot be wrong.
//!
//! A key that is absent or `null` has the default of diffusers' class; a key whose mathematics is not implemented is
//! refused by name unless it holds the value that switches it off.

mod clip;

pub use clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::ModelFiles;

/// No published model is larger; a config beyond it is damaged, and would only exhaust the memory.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;

/// The keys of one config file.
pub struct Keys {
    file: String,
    map: Map<String, Value>,
}

impl Keys {
    /// Reads a config file.
    ///
    /// # Errors
    /// Where it is absent or no JSON object.
    pub fn read(model: &ModelFiles, path: &str) -> Result<Self> {
        Ok(Self { file: model.display(path), map: model.read_json(path)? })
    }

    /// Keys that are read already; `file` names them in messages.
    pub fn of(file: String, map: Map<String, Value>) -> Self {
        Self { file, map }
    }

    /// All keys with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The key's value; absent and `null` are the same.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn optional<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value.clone()) {
                Ok(parsed) => Ok(Some(parsed)),
                Err(error) => Err(self.invalid(key, value.to_string(), error.to_string())),
            },
        }
    }

    /// Whether the key is there and `null`, which for some keys says something else than an absent one.
    pub fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// The key's value, or `default`.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn or<T: DeserializeOwned>(&self, key: &'static str, default: T) -> Result<T> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The value of a key without a default.
    ///
    /// # Errors
    /// Where it is absent, `null` or of another type.
    pub fn required<T: DeserializeOwned>(&self, key: &'static str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| self.invalid(key, "absent", "a value"))
    }

    /// A positive number of channels, layers or pixels.
    ///
    /// # Errors
    /// Where it is 0 or above `maximum`.
    pub fn size(&self, key: &'static str, default: usize, maximum: usize) -> Result<usize> {
        let size = self.or(key, default)?;
        self.check(key, size > 0 && size <= maximum, size, format!("1 to {maximum}"))?;
        Ok(size)
    }

    /// A number of channels.
    ///
    /// # Errors
    /// Where it is 0 or beyond any published model.
    pub fn channels(&self, key: &'static str, default: usize) -> Result<usize> {
        self.size(key, default, MAX_CHANNELS)
    }

    /// A number of layers.
    ///
    /// # Errors
    /// Where it is 0 or beyond any published model.
    pub fn layers(&self, key: &'static str, default: usize) -> Result<usize> {
        self.size(key, default, MAX_LAYERS)
    }

    /// A positive finite number.
    ///
    /// # Errors
    /// Where it is none.
    pub fn positive(&self, key: &'static str, default: f64) -> Result<f64> {
        let number: f64 = self.or(key, default)?;
        self.check(key, number.is_finite() && number > 0.0, number, "a positive number")?;
        Ok(number)
    }

    /// Widths of the blocks, each divisible into groups.
    ///
    /// # Errors
    /// Where there are none, or one does not divide.
    pub fn block_channels(&self, default: &[usize], groups: usize) -> Result<Vec<usize>> {
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
    ///
    /// # Errors
    /// Where one holds another value.
    pub fn refuse_except(&self, accepted: &[(&'static str, &[&str])]) -> Result<()> {
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

    /// Refuses the key's value unless `holds`.
    ///
    /// # Errors
    /// Where it does not hold.
    pub fn check(
        &self,
        key: &'static str,
        holds: bool,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(self.invalid(key, found, expected)) }
    }

    /// The error about a key's value.
    pub fn invalid(&self, key: &'static str, found: impl ToString, expected: impl Into<String>) -> Error {
        Error::Config { file: self.file.clone(), key, found: found.to_string(), expected: expected.into() }
    }

    /// The object under a key, as keys of their own.
    ///
    /// # Errors
    /// Where it is no object.
    pub fn object(&self, key: &'static str) -> Result<Option<Self>> {
        let map: Option<Map<String, Value>> = self.optional(key)?;
        Ok(map.map(|map| Self::of(self.file.clone(), map)))
    }
}

/// A value given once for all blocks, or block by block.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One for all.
    One(usize),
    /// One for each.
    Many(Vec<usize>),
}

impl OneOrMany {
    /// One for each of `blocks`.
    pub fn for_each_of(self, blocks: usize) -> Vec<usize> {
        match self {
            Self::One(value) => vec![value; blocks],
            Self::Many(values) => values,
        }
    }
}

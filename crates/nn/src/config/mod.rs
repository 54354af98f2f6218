//! The JSON configs of a model's parts, resolved once into types that cannot be wrong.
//!
//! An absent key has the default of diffusers' class. `null` is a value of its own and means what Python's `None` means in
//! that place: nothing where a key may be without a value, false for a switch, an error elsewhere. A key whose mathematics
//! is not implemented is refused by name unless it holds a value that switches it off.

mod clip;
mod value;

pub use clip::{ClipConfig, ClipTextConfig, ClipVisionConfig};
pub use value::{ConfigValue, OneOrMany};

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

    /// The file, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All keys with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The key's value, or nothing where it is absent or `null`: for keys whose default is `None`.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn optional<T: ConfigValue>(&self, key: &'static str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::of(value).map(Some).ok_or_else(|| self.invalid(key, value, T::EXPECTED)),
        }
    }

    /// Whether the key is there and `null`.
    pub fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// The key's value, or `default` where it is absent.
    ///
    /// # Errors
    /// Where the value is `null` or of another type.
    pub fn or<T: ConfigValue>(&self, key: &'static str, default: T) -> Result<T> {
        if self.is_null(key) {
            return Err(self.invalid(key, "null", T::EXPECTED));
        }
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// A switch: whether the value holds in a condition, as Python tells, which is not so for `null`, 0 and what is empty.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.map.get(key) {
            None => default,
            Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(values)) => !values.is_empty(),
            Some(Value::Object(values)) => !values.is_empty(),
        }
    }

    /// The value of a key without a default.
    ///
    /// # Errors
    /// Where it is absent, `null` or of another type.
    pub fn required<T: ConfigValue>(&self, key: &'static str) -> Result<T> {
        let found = if self.is_null(key) { "null" } else { "absent" };
        self.optional(key)?.ok_or_else(|| self.invalid(key, found, T::EXPECTED))
    }

    /// Refuses each of these keys where it is `null`: nothing here needs their values, but the library does.
    ///
    /// # Errors
    /// Where one is `null`.
    pub fn refuse_null(&self, keys: &[&'static str]) -> Result<()> {
        keys.iter().try_for_each(|key| self.check(key, !self.is_null(key), "null", "a value"))
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

    /// A finite number from 0 on, such as what stands under the square root of a norm beside the variance.
    ///
    /// # Errors
    /// Where it is none.
    pub fn epsilon(&self, key: &'static str, default: f64) -> Result<f32> {
        let number: f64 = self.or(key, default)?;
        self.check(key, number.is_finite() && number >= 0.0, number, "a number from 0 on")?;
        Ok(number as f32)
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

    /// Refuses each key that holds anything but one of the values beside it; an absent key is none of them. `null` is
    /// accepted where it is listed, or where the list is empty.
    ///
    /// # Errors
    /// Where one holds another value.
    pub fn refuse_except(&self, accepted: &[(&'static str, &[&str])]) -> Result<()> {
        for (key, values) in accepted {
            let Some(value) = self.map.get(*key) else { continue };
            let values = if values.is_empty() { &["null"] } else { *values };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let expected = format!("{}; others are not implemented", values.join(" or "));
            self.check(key, values.contains(&text.as_str()), text, expected)?;
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

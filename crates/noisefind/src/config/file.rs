//! Config files: TOML whose keys are the names of flags, with `_` for `-`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;

use crate::config::TuneOptions;
use crate::error::{Error, Result};

/// Keys of earlier versions, each with the key that it stands for.
const RENAMED: [(&str, &str); 2] = [("watch", "holdout"), ("kept_noises", "best_noises")];

impl TuneOptions {
    /// Reads a config file; `config.toml` of a run is one.
    ///
    /// # Errors
    /// Where it cannot be read, is not TOML, or has a key that is not an option.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Understands the text of a config file that was read from `path`.
    ///
    /// # Errors
    /// As [`Self::read`]; the message names the line.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let refused = |at: usize, reason: String| {
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            Error::Config { path: path.to_owned(), reason: format!("line {line}: {reason}") }
        };
        let table: BTreeMap<String, Spanned<toml::Value>> =
            toml::from_str(text).map_err(|error: toml::de::Error| {
                let at = error.span().map_or(0, |span| span.start);
                let line = text.get(..at).unwrap_or(text).matches('\n').count();
                let found = text.lines().nth(line).unwrap_or_default();
                refused(at, format!("{found:?} is not TOML, expected `key = value`, with texts in quotes"))
            })?;
        let mut options = Self::default();
        for (key, value) in table {
            let at = value.span().start;
            let value = json_value(value.into_inner())
                .map_err(|number| refused(at, format!("{key} is {number}, expected a finite number")))?;
            options.set_checked(&key, &value).map_err(|reason| refused(at, reason))?;
        }
        Ok(options)
    }

    /// Takes a setting by its key, also by that of an earlier version.
    fn set_checked(&mut self, key: &str, value: &Value) -> std::result::Result<(), String> {
        let key = RENAMED.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| new);
        self.set(key, value).unwrap_or_else(|| {
            let known = Self::keys();
            let closest = known
                .iter()
                .max_by(|one, two| strsim::jaro_winkler(one, key).total_cmp(&strsim::jaro_winkler(two, key)));
            let closest = closest.filter(|closest| strsim::jaro_winkler(closest, key) > 0.8);
            let guess = closest.map(|closest| format!("; did you mean {closest}?")).unwrap_or_default();
            Err(format!("there is no setting {key}{guess}"))
        })
    }
}

impl TryFrom<Map<String, Value>> for TuneOptions {
    type Error = String;

    fn try_from(settings: Map<String, Value>) -> std::result::Result<Self, String> {
        let mut options = Self::default();
        settings.iter().try_for_each(|(key, value)| options.set_checked(key, value))?;
        Ok(options)
    }
}

/// A value of TOML as one of JSON, which has no infinities and no NaN.
fn json_value(value: toml::Value) -> std::result::Result<Value, f64> {
    Ok(match value {
        toml::Value::Float(number) if !number.is_finite() => return Err(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::from(value),
        toml::Value::String(text) => Value::from(text),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(values) => {
            Value::Array(values.into_iter().map(json_value).collect::<std::result::Result<_, _>>()?)
        }
        toml::Value::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| json_value(value).map(|value| (key, value)));
            Value::Object(entries.collect::<std::result::Result<_, _>>()?)
        }
    })
}

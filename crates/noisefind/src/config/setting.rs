//! Types of settings: how each is read from a config file, and what a user is told who wrote something else.

use std::path::PathBuf;

use noisefind_core::config::{MethodConfig, ResultPolicy};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::generation::NoiseRng;
use crate::config::reward::{RewardScale, RewardTerm};

/// A type of settings.
pub(crate) trait Setting: DeserializeOwned {
    /// What a config file has to give, after "expected".
    const EXPECTED: &'static str;

    /// Understands what a config file gives.
    fn parse(key: &str, value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone())
            .map_err(|_| format!("{key} is {value}, expected {}", Self::EXPECTED))
    }
}

/// Reads the setting `key`; null stands for a setting that is not given.
pub(crate) fn read<T: Setting>(key: &str, value: &Value) -> Result<Option<T>, String> {
    if value.is_null() { Ok(None) } else { T::parse(key, value).map(Some) }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

impl Setting for f64 {
    const EXPECTED: &'static str = "a number";
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path in quotes";
}

impl Setting for String {
    const EXPECTED: &'static str = "a text in quotes";
}

impl Setting for NoiseRng {
    const EXPECTED: &'static str = "\"philox\", \"torch\" or \"torch-batch\"";
}

impl Setting for RewardScale {
    const EXPECTED: &'static str = "\"standardised\" or \"raw\"";
}

impl Setting for ResultPolicy {
    const EXPECTED: &'static str = "\"best\" or \"newest\"";
}

impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a text or a list of texts";

    fn parse(key: &str, value: &Value) -> Result<Self, String> {
        let texts = match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(values) => {
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        texts.ok_or_else(|| format!("{key} is {value}, expected {}", Self::EXPECTED))
    }
}

impl Setting for Vec<RewardTerm> {
    const EXPECTED: &'static str = Vec::<String>::EXPECTED;

    fn parse(key: &str, value: &Value) -> Result<Self, String> {
        let texts = Vec::<String>::parse(key, value)?;
        texts.iter().map(|text| text.parse().map_err(|reason| format!("{key}: {reason}"))).collect()
    }
}

impl Setting for MethodConfig {
    const EXPECTED: &'static str = "a table with `name` and the settings of that method";

    fn parse(key: &str, value: &Value) -> Result<Self, String> {
        let refused = || format!("{key} is {value}, expected {}", Self::EXPECTED);
        let table = value.as_object().ok_or_else(refused)?;
        let name = table.get("name").ok_or_else(refused)?;
        let alone = |more: Option<(&String, &Value)>| {
            let entries = [("name".to_owned(), name.clone())].into_iter();
            let entries = entries.chain(more.map(|(key, value)| (key.clone(), value.clone())));
            serde_json::from_value::<Self>(Value::Object(entries.collect()))
        };
        if alone(None).is_err() {
            return Err(format!("{key}.name is {name}, which is not the name of a method"));
        }
        match table.iter().find(|entry| entry.0 != "name" && alone(Some(*entry)).is_err()) {
            Some((setting, found)) => Err(format!(
                "{key}.{setting} is {found}, which is not a setting of the method {name} or not a value of it"
            )),
            None => serde_json::from_value(value.clone()).map_err(|_| refused()),
        }
    }
}

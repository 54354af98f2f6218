//! What models and scorers that are programs are told, and how long they may take.

use std::time::Duration;

use noisefind_external::ExternalOptions;
use serde_json::{Map, Value};

use crate::config::GenerationConfig;

/// What stands before a command that is a model or a scorer.
pub(crate) const EXTERNAL: &str = "exec:";

/// Settings that are ours and not the program's.
const OURS: [&str; 5] = ["model", "device", "dtype", "start_timeout_seconds", "request_timeout_seconds"];

/// How patient to be with a program.
pub(crate) fn patience(config: &GenerationConfig) -> ExternalOptions {
    ExternalOptions {
        start_timeout: Duration::from_secs_f64(config.start_timeout_seconds),
        request_timeout: Duration::from_secs_f64(config.request_timeout_seconds),
        ..ExternalOptions::default()
    }
}

/// How a generator should draw, by the names of the flags.
pub(crate) fn drawing_options(config: &GenerationConfig) -> Map<String, Value> {
    let Ok(Value::Object(mut options)) = serde_json::to_value(config) else { return Map::new() };
    options.retain(|name, _| !OURS.contains(&name.as_str()));
    options
}

//! Models and scorers that are external processes.

use std::time::Duration;

use noisefind_external::ExternalOptions;

use crate::config::LoadingConfig;

/// What stands before a command that is a model or a scorer.
pub(crate) const EXTERNAL: &str = "exec:";

/// How long to wait for an external process.
pub(crate) fn timeouts(config: &LoadingConfig) -> ExternalOptions {
    let defaults = ExternalOptions::default();
    let seconds = |given: Option<f64>, default| given.map_or(default, Duration::from_secs_f64);
    ExternalOptions {
        start_timeout: seconds(config.start_timeout_seconds, defaults.start_timeout),
        request_timeout: seconds(config.request_timeout_seconds, defaults.request_timeout),
        ..defaults
    }
}

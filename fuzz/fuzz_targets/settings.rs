//! Config files.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use noisefind::config::TuneOptions;

fuzz_target!(|text: &str| {
    let _ = TuneOptions::parse(Path::new("config.toml"), text);
});

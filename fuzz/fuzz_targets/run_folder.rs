//! Policies, tensors and records of runs, which may come from somebody else.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use noisefind::record::MetricsLine;
use noisefind_fuzz::Folder;
use noisefind_rundir::{PolicyFile, read_tensors, records};

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let path = folder.write("policy.safetensors", bytes);
    let _ = PolicyFile::read(&path);
    let _ = read_tensors(&path);
    let _ = records::<MetricsLine>(Path::new("metrics.jsonl"), bytes);
});

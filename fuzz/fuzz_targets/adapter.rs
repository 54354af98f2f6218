//! Adapter files in every naming.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noisefind_fuzz::Folder;
use noisefind_nn::LoraSource;
use noisefind_nn::lora::Adapters;

fuzz_target!(|bytes: &[u8]| {
    let path = Folder::new();
    let path = path.write("adapter.safetensors", bytes).display().to_string();
    let _ = Adapters::open(&[LoraSource { path, weight: 1.0 }], &["unet", "text_encoder"].map(str::to_owned));
});

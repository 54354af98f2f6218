//! safetensors and PyTorch files: told apart by their content, as in a model folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noisefind_fuzz::{Folder, placement};
use noisefind_nn::weights::Weights;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    for name in ["model.safetensors", "model.bin"] {
        folder.write(name, bytes);
        if let Ok(weights) = Weights::open_file(&folder.files(), name, &placement()) {
            let names: Vec<String> = weights.names().map(str::to_owned).collect();
            for name in names {
                let shape = weights.shape(&name).expect("it is listed").to_vec();
                let _ = weights.root().tensor(&name, &shape);
            }
        }
    }
});

//! Tokenizers: `tokenizer.json`, or a vocabulary whose merges are whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noisefind_fuzz::Folder;
use noisefind_nn::text::Tokenizer;

const MERGES: &[u8] = b"#version: 0.2\na b\nab c</w>\n";

fuzz_target!(|bytes: &[u8]| {
    for files in [&[("tokenizer.json", bytes)][..], &[("vocab.json", bytes), ("merges.txt", MERGES)]] {
        let folder = Folder::new();
        for (name, bytes) in files {
            folder.write(name, bytes);
        }
        if let Ok(tokenizer) = Tokenizer::open(&folder.files(), "", 77, 49408) {
            let _ = tokenizer.encode("A green dog's <|endoftext|> \u{1f600}");
        }
    }
});

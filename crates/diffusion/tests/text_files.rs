//! Added tokens, textual-inversion files and long prompts against transformers and diffusers; made by
//! `golden/diffusion/text_files.py`.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use common::{Golden, assert_close, formula, golden_folder, tiny};
use noisefind_core::noise::{Noise, NoiseShape, SampleKey};
use noisefind_diffusion::{
    DiffusionModel, EmbeddingSource, GenerationOptions, LoadOptions, ModelFiles, TextLength,
};
use noisefind_nn::text::Tokenizer;

const LONG: &str = "a green dog and a red cat on the moon a green dog and a red cat on the moon a green dog and a red cat \
                    on the moon with a blue hat";

#[derive(serde::Deserialize)]
struct Added {
    name: String,
    folder: String,
    files: BTreeMap<String, String>,
    texts: Vec<(String, Vec<u32>)>,
}

#[test]
fn tokens_that_are_added_to_a_vocabulary_are_read() {
    let bytes = fs::read(golden_folder().join("text_files/added.json")).expect("the golden file is there");
    let setups: Vec<Added> = serde_json::from_slice(&bytes).expect("the golden file is valid");
    assert_eq!(setups.len(), 3);
    for setup in setups {
        let folder = tempfile::tempdir().expect("a temporary folder");
        common::copy(&golden_folder().join(&setup.folder), folder.path());
        for (file, content) in &setup.files {
            fs::write(folder.path().join(file), content).expect("the temporary folder is writable");
        }
        let files = ModelFiles::directory(folder.path()).expect("it is a folder");
        let tokenizer = Tokenizer::open(&files, "", 77, 1000).expect("it opens");
        for (text, ids) in &setup.texts {
            let found = tokenizer.encode(text).expect("it is encoded");
            assert_eq!(&found.ids[..found.length], ids, "{}: {text:?}", setup.name);
        }
        // The encoder has to have a row for each.
        let rows = if setup.files.is_empty() { 523 } else { 526 };
        assert!(Tokenizer::open(&files, "", 77, rows).is_err());
    }
}

fn file(name: &str) -> String {
    golden_folder().join("text_files").join(name).display().to_string()
}

fn embedding(name: &str, token: Option<&str>) -> EmbeddingSource {
    EmbeddingSource { path: file(name), token: token.map(str::to_owned) }
}

fn opened(family: &str, embeddings: Vec<EmbeddingSource>) -> noisefind_diffusion::Result<DiffusionModel> {
    DiffusionModel::open(tiny(family), &LoadOptions { embeddings, ..common::F32 })
}

/// The latents after two steps.
fn latents(model: &DiffusionModel, prompt: &str, negative: &str, text_length: TextLength) -> Vec<f32> {
    let options = GenerationOptions {
        num_inference_steps: 2,
        guidance_scale: 5.0,
        negative_prompt: Some(negative.to_owned()),
        text_length,
        ..Default::default()
    };
    let prompt = model.prepare(prompt, &options).expect("it is prepared");
    let values: Vec<f32> = formula::tensor("noise", &[1, 4, 8, 8]).iter().map(|value| value * 14.0).collect();
    let key = SampleKey { seed: 1, iteration: 0, index: 0 };
    let noise = Noise::new(key, NoiseShape::image(4, 8, 8), values).expect("the sizes agree");
    model.generate_latents(&prompt, &[noise]).expect("it generates")[0].values.clone()
}

#[test]
fn embeddings_agree_with_diffusers() {
    let golden = Golden::read("text_files");
    let embeddings = vec![
        embedding("several.safetensors", None),
        embedding("one.bin", None),
        embedding("older.pt", Some("<new>")),
    ];
    let model = opened("sd1", embeddings).expect("they fit");
    let found = latents(&model, "a <cat> and a <dog> <new>", "<cat>", TextLength::Truncated);
    assert_close("one text encoder", &found, golden.values("sd1.embedding"), 2e-4);
    let model = opened("sdxl", vec![embedding("xl.safetensors", Some("<cat>"))]).expect("they fit");
    let found = latents(&model, "a <cat>", "a dog", TextLength::Truncated);
    assert_close("two text encoders", &found, golden.values("sdxl.embedding"), 2e-4);
}

#[test]
fn embeddings_that_do_not_fit_say_why() {
    for (family, source, expected) in [
        (
            "sdxl",
            embedding("xl.safetensors", None),
            "xl.safetensors=TOKEN, because the file does not name its token",
        ),
        (
            "sd1",
            embedding("xl.safetensors", Some("<x>")),
            "it is for the two text encoders of Stable Diffusion XL",
        ),
        ("sd1", embedding("one.bin", Some("d")), "has the token d already"),
        (
            "sdxl",
            EmbeddingSource {
                path: golden_folder().join("adapters/kohya.safetensors").display().to_string(),
                token: None,
            },
            "expected the vectors of one token, or clip_l and clip_g, found lora_te_text_model",
        ),
        (
            "sd1",
            EmbeddingSource { path: "no/such/file.pt".into(), token: None },
            "no/such/file.pt is not a model folder",
        ),
    ] {
        let message = opened(family, vec![source]).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("wide.safetensors");
    formula::write(&path, [("<wide>", vec![2, 24])]);
    let source = EmbeddingSource { path: path.display().to_string(), token: None };
    let message = opened("sd1", vec![source]).expect_err("it is too wide").to_string();
    assert!(message.contains("expected vectors of 16 numbers for this model, found 24"), "{message}");
    let parse = |text: &str| text.parse::<EmbeddingSource>();
    assert_eq!(parse("a.pt=<b>").expect("well formed").token.as_deref(), Some("<b>"));
    assert_eq!(parse("a.pt").expect("well formed"), EmbeddingSource { path: "a.pt".into(), token: None });
    assert!(parse("a.pt=").is_err() && parse("=b").is_err());
}

#[test]
fn long_prompts_are_cut_off_or_read_in_chunks() {
    let golden = Golden::read("text_files");
    for family in ["sd1", "sdxl"] {
        let model = opened(family, Vec::new()).expect("it opens");
        for (name, length) in [("long", TextLength::Chunks), ("cut", TextLength::Truncated)] {
            let found = latents(&model, LONG, "a blue cat", length);
            let what = format!("{family}.{name}");
            assert_close(&what, &found, golden.values(&what), 3e-4);
        }
        let options = |text_length| GenerationOptions { text_length, ..Default::default() };
        let cut = model.prepare(LONG, &options(TextLength::Truncated)).expect("it is prepared");
        assert!(!cut.truncated().is_empty());
        let whole = model.prepare(LONG, &options(TextLength::Chunks)).expect("it is prepared");
        assert!(whole.truncated().is_empty());
        let endless = "dog ".repeat(5000);
        let message =
            model.prepare(&endless, &options(TextLength::Chunks)).expect_err("it is too long").to_string();
        assert!(message.starts_with("long-prompt is more than 64 chunks"), "{message}");
    }
}

/// Copies a model folder into the layout of the hub's cache.
#[test]
fn a_cache_folder_stands_for_its_snapshot() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("models--owner--tiny");
    let snapshot = |commit: &str| cache.join("snapshots").join(commit);
    let open = || ModelFiles::directory(&cache);
    common::copy(&golden_folder().join("sd1"), &snapshot("abc"));
    let found = |files: ModelFiles| files.folder().map(PathBuf::from);
    assert_eq!(found(open().expect("one snapshot")), Some(snapshot("abc")));
    common::copy(&golden_folder().join("sd1"), &snapshot("def"));
    let message = open().expect_err("two snapshots").to_string();
    assert!(message.contains("expected one snapshot or refs/main, found abc, def"), "{message}");
    fs::create_dir(cache.join("refs")).expect("the temporary folder is writable");
    fs::write(cache.join("refs/main"), "def\n").expect("the temporary folder is writable");
    let files = open().expect("the branch says which");
    assert!(files.notes().iter().any(|note| note.contains("def")), "{:?}", files.notes());
    assert_eq!(found(files), Some(snapshot("def")));
}

//! Models by their id: from a hub that runs inside of this test, from the cache it fills, and without either.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::hub::{COMMIT, FakeHub, ID};
use common::{F32, golden_folder};
use noisefind_diffusion::{DiffusionModel, HubSettings, ModelFiles};

/// How to ask the hub, with the token that it wants.
fn settings_of(hub: &FakeHub, cache: &Path) -> HubSettings {
    HubSettings {
        cache: cache.to_owned(),
        endpoint: hub.endpoint.clone(),
        token: Some("secret".into()),
        offline: false,
    }
}

#[test]
fn a_model_comes_from_the_hub_once_and_then_from_the_cache() {
    let hub = FakeHub::start(golden_folder().join("sdxl"), "secret");
    let cache = tempfile::tempdir().expect("a temporary folder");
    let settings = settings_of(&hub, cache.path());
    let files = ModelFiles::hub(ID, &settings).expect("the hub has it");
    assert_eq!((files.name(), files.commit()), (ID, Some(COMMIT)));
    assert_eq!(hub.downloads(), BTreeSet::new(), "nothing was read yet");
    DiffusionModel::open(files, &F32).expect("it opens");

    let downloads = hub.downloads();
    assert!(downloads.contains("unet/diffusion_pytorch_model-00002-of-00002.safetensors"), "{downloads:?}");
    assert!(downloads.contains("tokenizer_2/vocab.json"), "{downloads:?}");
    let snapshot = cache.path().join(format!("models--owner--tiny/snapshots/{COMMIT}"));
    assert!(snapshot.join("unet/config.json").is_file());
    let reference = cache.path().join("models--owner--tiny/refs/main");
    assert_eq!(fs::read_to_string(reference).expect("it was written"), COMMIT);

    let before = hub.requests.lock().expect("nobody panicked").len();
    let again = ModelFiles::hub(ID, &settings).expect("the hub has it");
    DiffusionModel::open(again, &F32).expect("it opens");
    let after = hub.requests.lock().expect("nobody panicked").len();
    assert_eq!(after, before + 1, "only the commit was asked for");

    for unplugged in [
        HubSettings { offline: true, ..settings.clone() },
        HubSettings { endpoint: "http://127.0.0.1:1".into(), ..settings },
    ] {
        let files = ModelFiles::hub(ID, &unplugged).expect("the cache has it");
        DiffusionModel::open(files, &F32).expect("it opens");
    }
}

#[test]
fn only_needed_files_are_downloaded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    common::copy(&golden_folder().join("sd1"), folder.path());
    let unet = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    fs::copy(&unet, unet.with_file_name("diffusion_pytorch_model.fp16.safetensors")).expect("it is writable");
    fs::write(folder.path().join("v1-5-pruned.safetensors"), "4 GB").expect("it is writable");
    fs::create_dir(folder.path().join("safety_checker")).expect("it is writable");
    fs::write(folder.path().join("safety_checker/model.safetensors"), "1 GB").expect("it is writable");
    let hub = FakeHub::start(folder.path().to_owned(), "secret");
    let cache = tempfile::tempdir().expect("a temporary folder");
    let files = ModelFiles::hub(ID, &settings_of(&hub, cache.path())).expect("the hub has it");
    DiffusionModel::open(files, &F32).expect("it opens");
    let expected = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    assert_eq!(hub.downloads(), expected.map(str::to_owned).into());
}

/// What other programs leave in the cache opens without a hub.
#[test]
fn a_cache_that_others_filled_opens_offline() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let model = cache.path().join("models--owner--tiny");
    common::copy(&golden_folder().join("sd1"), &model.join("snapshots").join(COMMIT));
    fs::create_dir(model.join("refs")).expect("it is writable");
    fs::write(model.join("refs/main"), COMMIT).expect("it is writable");
    let settings = HubSettings {
        cache: cache.path().to_owned(),
        endpoint: "http://127.0.0.1:1".into(),
        token: None,
        offline: true,
    };
    let files = ModelFiles::hub(ID, &settings).expect("the cache has it");
    DiffusionModel::open(files, &F32).expect("it opens");

    fs::remove_file(model.join("snapshots").join(COMMIT).join("vae/config.json")).expect("it exists");
    let files = ModelFiles::hub(ID, &settings).expect("the cache has it");
    let error = DiffusionModel::open(files, &F32).expect_err("a file is missing").to_string();
    assert_eq!(error, "owner/tiny has no vae/config.json; a complete model folder is needed");
}

#[test]
fn what_the_hub_does_not_give_is_explained() {
    let hub = FakeHub::start(golden_folder().join("sd1"), "another secret");
    let cache = tempfile::tempdir().expect("a temporary folder");
    let settings = settings_of(&hub, cache.path());
    let refusal = |id: &str, settings: &HubSettings| {
        ModelFiles::hub(id, settings).expect_err("it is refused").to_string()
    };
    let message = refusal(ID, &settings);
    assert!(
        message.starts_with("cannot get the model owner/tiny, which is no folder here: http://127.0.0.1:"),
        "{message}"
    );
    assert!(message.ends_with("accept its terms there and set HF_TOKEN"), "{message}");

    let hub = FakeHub::start(golden_folder().join("sd1"), "secret");
    let message = refusal("owner/other", &settings_of(&hub, cache.path()));
    assert!(message.ends_with("has no such model"), "{message}");

    let message = refusal(ID, &HubSettings { endpoint: "http://127.0.0.1:1".into(), ..settings.clone() });
    assert!(message.contains("http://127.0.0.1:1 could not be reached ("), "{message}");
    assert!(message.ends_with("which the folder of a model does not need"), "{message}");

    let message = refusal(ID, &HubSettings { offline: true, ..settings });
    let expected =
        format!("HF_HUB_OFFLINE is set, and the cache {} does not hold it", cache.path().display());
    assert!(message.ends_with(&expected), "{message}");
}

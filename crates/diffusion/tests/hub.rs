//! Models by their id: from a hub that runs inside of this test, from the cache it fills, and without either.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{F32, golden_folder};
use noisefind_diffusion::{DiffusionModel, HubSettings, ModelFiles};
use serde_json::json;

const ID: &str = "owner/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one model; it answers what `hf-hub` asks and remembers it.
struct FakeHub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    /// Serves `folder` to whoever sends `token`.
    fn start(folder: PathBuf, token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a connection"), &folder, token, &seen);
            }
        });
        Self { endpoint, requests }
    }

    fn settings(&self, cache: &Path) -> HubSettings {
        HubSettings {
            cache: cache.to_owned(),
            endpoint: self.endpoint.clone(),
            token: Some("secret".into()),
            offline: false,
        }
    }

    /// The files that were downloaded.
    fn downloads(&self) -> BTreeSet<String> {
        let requests = self.requests.lock().expect("nobody panicked");
        let file = |path: &String| Some(path.split_once(&format!("/resolve/{COMMIT}/"))?.1.to_owned());
        requests.iter().filter_map(file).collect()
    }
}

fn answer(mut stream: TcpStream, folder: &Path, token: &str, seen: &Mutex<Vec<String>>) {
    let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
    let lines: Vec<String> =
        lines.map(|line| line.expect("text")).take_while(|line| !line.is_empty()).collect();
    let path = lines[0].split(' ').nth(1).expect("a path").to_owned();
    let header = |name: &str| {
        let found = lines.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        found.map(|line| line[name.len() + 1..].trim().to_owned())
    };
    seen.lock().expect("nobody panicked").push(path.clone());
    let mut respond = |status: &str, more: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap_or_default();
    };
    if header("authorization") != Some(format!("Bearer {token}")) {
        return respond("401 Unauthorized", "", b"");
    }
    if path == format!("/api/models/{ID}/revision/main") {
        let mut files = Vec::new();
        list(folder, "", &mut files);
        let siblings: Vec<_> = files.iter().map(|file| json!({"rfilename": file})).collect();
        let info = json!({"sha": COMMIT, "siblings": siblings});
        return respond("200 OK", "Content-Type: application/json\r\n", info.to_string().as_bytes());
    }
    let file = path.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/"));
    let Some((file, bytes)) = file.and_then(|file| Some((file, fs::read(folder.join(file)).ok()?))) else {
        return respond("404 Not Found", "", b"");
    };
    let range = header("range").expect("hf-hub asks for ranges");
    let (start, end) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("a range");
    let start: usize = start.parse().expect("a number");
    let end = end.parse().map_or(bytes.len(), |end: usize| (end + 1).min(bytes.len()));
    let more = format!(
        "Content-Range: bytes {start}-{}/{}\r\nETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\n",
        end.max(1) - 1,
        bytes.len(),
        file.replace(['/', '.'], "-"),
    );
    respond("206 Partial Content", &more, &bytes[start..end]);
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

#[test]
fn a_model_comes_from_the_hub_once_and_then_from_the_cache() {
    let hub = FakeHub::start(golden_folder().join("sdxl"), "secret");
    let cache = tempfile::tempdir().expect("a temporary folder");
    let settings = hub.settings(cache.path());
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
    let files = ModelFiles::hub(ID, &hub.settings(cache.path())).expect("the hub has it");
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
    let settings = hub.settings(cache.path());
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
    let message = refusal("owner/other", &hub.settings(cache.path()));
    assert!(message.ends_with("has no such model"), "{message}");

    let message = refusal(ID, &HubSettings { endpoint: "http://127.0.0.1:1".into(), ..settings.clone() });
    assert!(message.contains("http://127.0.0.1:1 could not be reached ("), "{message}");
    assert!(message.ends_with("which the folder of a model does not need"), "{message}");

    let message = refusal(ID, &HubSettings { offline: true, ..settings });
    let expected =
        format!("HF_HUB_OFFLINE is set, and the cache {} does not hold it", cache.path().display());
    assert!(message.ends_with(&expected), "{message}");
}

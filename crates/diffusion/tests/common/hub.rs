//! A hub inside of a test. The tests of the program use it too, so it knows nothing of this crate.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;

/// The one model that the hub has.
pub const ID: &str = "owner/tiny";
/// Its commit.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one model; it answers what `hf-hub` asks and remembers it.
pub struct FakeHub {
    /// Its address.
    pub endpoint: String,
    /// The paths that were asked for.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    /// Serves `folder` to whoever sends `token`.
    pub fn start(folder: PathBuf, token: &'static str) -> Self {
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

    /// The files that were downloaded.
    pub fn downloads(&self) -> BTreeSet<String> {
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

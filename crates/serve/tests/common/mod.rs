//! A server of its own for each test, asked with bytes as they are.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the message it should have")]
// Each test uses some of it.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use noisefind_serve::{Options, Server, stop_signal};

/// A server on a free port, which ends with this value.
pub struct Running {
    pub address: SocketAddr,
    stop: Box<dyn Fn()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What stands in the URL for the tests.
pub fn token() -> String {
    "token-of-the-tests".to_owned()
}

impl Running {
    pub fn start(runs: &Path, program: PathBuf) -> Self {
        let options = Options {
            runs: runs.to_owned(),
            host: "127.0.0.1".parse().unwrap(),
            port: 0,
            allowed_hosts: Vec::new(),
            token: Some(token()),
            program,
        };
        let (stop, stopped) = stop_signal();
        let (told, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(options).await.unwrap();
                told.send(server.address()).unwrap();
                server.run(stopped).await;
            });
        });
        Self { address: address.recv().unwrap(), stop: Box::new(stop), thread: Some(thread) }
    }

    /// A connection that gives up after a while.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends `bytes` and returns the whole answer; what cannot be sent or received is left out.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        let mut answer = Vec::new();
        // A server may refuse before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The answer to a well-formed request.
    pub fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.address
        );
        Answer::of(&self.exchange(request.as_bytes()))
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "", "")
    }

    /// A request that may start work.
    pub fn post(&self, target: &str, body: &str) -> Answer {
        let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", token());
        self.ask("POST", target, &headers, body)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer in parts.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: bytes[end..].to_vec() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head, String::from_utf8_lossy(&self.body)))
    }
}

/// A small run as the program leaves it, with one image.
pub fn make_run(root: &Path, name: &str) -> PathBuf {
    let run = root.join(name);
    std::fs::create_dir_all(run.join("images")).unwrap();
    std::fs::write(
        run.join("config.toml"),
        "prompt = \"a green dog\"\nmodel = \"emoji-64\"\nevaluations = 32\n",
    )
    .unwrap();
    let line = |step: u32| {
        format!(
            "{{\"step\":{step},\"evaluations\":{},\"rewards\":[0.5,null],\"reward_mean\":0.5}}\n",
            16 * step
        )
    };
    std::fs::write(run.join("metrics.jsonl"), line(1) + &line(2)).unwrap();
    std::fs::write(run.join("comparison.json"), "{\"gain_sigmas\":1.5}").unwrap();
    std::fs::write(run.join("images/base-1.png"), png()).unwrap();
    run
}

/// A PNG of one pixel.
pub fn png() -> Vec<u8> {
    let hex = "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c6360606000000004000173\
               1e4d320000000049454e44ae426082";
    let digits = hex.bytes().filter(u8::is_ascii_hexdigit).collect::<Vec<_>>();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

//! Work in progress and live events, whatever other clients do.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the message it should have")]
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Running, make_run};

/// A program that reports `steps` steps, with much to say in between, and stops politely when it is asked to.
fn program(folder: &Path, steps: u32, pause: &str) -> PathBuf {
    let path = folder.join("program.sh");
    let script = format!(
        "#!/bin/sh\ntrap 'echo saved >&2; exit 130' TERM\n\
         echo '{{\"event\":\"started\",\"evaluations\":{steps},\"evaluations_done\":0}}' >&2\n\
         i=0; while [ $i -lt {steps} ]; do i=$((i+1)); j=0\n\
         while [ $j -lt 40 ]; do j=$((j+1)); echo 'a line that somebody has to read, or the program waits for ever' >&2; done\n\
         echo \"{{\\\"event\\\":\\\"stepped\\\",\\\"evaluations\\\":$i}}\" >&2; sleep {pause}; done\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The events of one client, read line by line.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(server: &Running, headers: &str) -> Self {
        let mut stream = server.connect();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.address).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event of that kind: id and data.
    fn next(&mut self, kind: &str) -> (String, serde_json::Value) {
        let (mut id, mut this, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the events ended");
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.trim().to_owned();
            } else if let Some(value) = line.strip_prefix("event: ") {
                this = value.trim().to_owned();
            } else if let Some(value) = line.strip_prefix("data: ") {
                data = value.trim().to_owned();
            } else if line.trim().is_empty() && this == kind {
                return (id, serde_json::from_str(&data).unwrap());
            }
        }
    }
}

fn wait_for(server: &Running, state: &str) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let jobs = server.get("/api/jobs").json();
        if jobs[0]["state"] == state {
            return jobs[0].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{jobs}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const START: &str = "{\"kind\":\"start\",\"prompt\":\"a green dog\"}";

#[test]
fn a_hundred_slow_and_half_open_clients_do_not_stop_work_in_progress() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    for number in 0..200 {
        make_run(&runs, &format!("run-{number}"));
    }
    let server = Running::start(&runs, program(folder.path(), 30, "0.1"));
    let mut clients = Vec::new();
    for number in 0..100 {
        let mut stream = server.connect();
        match number % 4 {
            // Half a request.
            0 => stream.write_all(b"GET /api/runs HTTP/1.1\r\nHost: ").unwrap(),
            // A form that never comes.
            1 => write!(
                stream,
                "POST /api/command HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{{",
                server.address
            )
            .unwrap(),
            // Events that are never read.
            2 => write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap(),
            // A long list that is never read.
            _ => write!(stream, "GET /api/runs HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap(),
        }
        clients.push(stream);
    }
    let mut events = Events::open(&server, "");
    events.next("begin");
    let began = Instant::now();
    assert_eq!(server.post("/api/jobs", START).status, 201);
    let mut slowest = Duration::ZERO;
    let mut last = 0;
    while last < 30 {
        let (_, jobs) = events.next("jobs");
        last = jobs[0]["done"].as_u64().unwrap();
        let asked = Instant::now();
        if last % 5 == 0 {
            assert_eq!(server.get("/api/jobs").status, 200);
            slowest = slowest.max(asked.elapsed());
        }
    }
    let job = wait_for(&server, "done");
    assert_eq!((job["done"].as_u64(), job["total"].as_u64()), (Some(30), Some(30)));
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    println!("30 steps of 0.1 s took {:?} beside 100 clients; slowest answer {slowest:?}", began.elapsed());
    drop(clients);
}

#[test]
fn work_is_done_one_at_a_time_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    std::fs::create_dir(&runs).unwrap();
    let server = Running::start(&runs, program(folder.path(), 600, "0.1"));
    assert_eq!(server.post("/api/jobs", START).status, 201);
    let refused = server.post("/api/jobs", START);
    assert_eq!(refused.status, 409);
    assert!(refused.json()["error"].as_str().unwrap().contains("one piece of work"));
    // Another server on the same folder knows it too.
    let other = Running::start(&runs, "/bin/true".into());
    assert_eq!(other.post("/api/jobs", START).status, 409);
    let id = wait_for(&server, "running")["id"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let bearer = format!("Authorization: Bearer {}\r\n", common::token());
    assert_eq!(server.ask("DELETE", &format!("/api/jobs/{id}"), &bearer, "").status, 204);
    let job = wait_for(&server, "cancelled");
    assert!(job["lines"].as_array().unwrap().iter().any(|line| line == "saved"), "{job}");
    assert_eq!(other.post("/api/jobs", START).status, 201);
}

#[test]
fn work_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.sh");
    std::fs::write(&path, "#!/bin/sh\necho 'error: no such thing' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Running::start(folder.path(), path);
    assert_eq!(server.post("/api/jobs", START).status, 201);
    assert_eq!(wait_for(&server, "failed")["lines"][0], "error: no such thing");
    let absent = Running::start(folder.path(), folder.path().join("absent"));
    assert!(absent.post("/api/jobs", START).json()["error"].as_str().unwrap().contains("cannot be started"));
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let run = make_run(folder.path(), "one");
    let server = Running::start(folder.path(), "/bin/false".into());
    let mut first = Events::open(&server, "");
    let (begin, _) = first.next("begin");
    let add = |step: u32| {
        let line = format!("{{\"step\":{step},\"evaluations\":{}}}\n", 16 * step);
        let mut file = std::fs::File::options().append(true).open(run.join("metrics.jsonl")).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    add(3);
    let (seen, runs) = first.next("runs");
    assert_eq!(runs[0]["evaluations"], 48);
    add(4);
    first.next("runs");
    drop(first);
    let mut again = Events::open(&server, &format!("Last-Event-ID: {seen}\r\n"));
    assert_eq!(again.next("runs").1[0]["evaluations"], 64);
    assert_ne!(begin, seen);
    // An id of another server means nothing: everything is to be read anew.
    let mut foreign = Events::open(&server, "Last-Event-ID: 00000000-7\r\n");
    foreign.next("reset");
}

#[test]
fn images_are_made_small_once_and_may_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    make_run(folder.path(), "one");
    let server = Running::start(folder.path(), "/bin/false".into());
    let id = server.get("/api/runs").json()[0]["id"].as_str().unwrap().to_owned();
    let image = server.get(&format!("/api/runs/{id}/images/base-1?size=thumbnail&v=1"));
    assert_eq!((image.status, image.body), (200, common::png()));
    assert!(image.head.contains("immutable") && image.head.contains("content-type: image/png"));
    assert_eq!(server.get(&format!("/api/runs/{id}/images/base-2")).status, 404);
}

#[test]
fn slow_readers_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path(), "/bin/false".into());
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

//! Crafted requests: nothing outside the folder of the runs is told, and nothing panics.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the message it should have")]
#![cfg(unix)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Answer, Running, make_run, token};

/// Stands in every file that must not be told.
const SECRET: &str = "canary-3f9a1c";

/// What may stand where a name is expected.
fn payloads(outside: &Path) -> Vec<String> {
    let absolute = outside.join("secret.txt").display().to_string();
    let name = outside.file_name().unwrap().to_string_lossy().into_owned();
    let mut all = vec![
        format!("../{name}/secret.txt"),
        format!("..%2f{name}%2fsecret.txt"),
        format!("%2e%2e%2f{name}%2fsecret.txt"),
        format!("%2e%2e/{name}/secret.txt"),
        format!("..%252f{name}%252fsecret.txt"),
        format!("..%5c{name}%5csecret.txt"),
        format!("..\\{name}\\secret.txt"),
        format!("....//{name}/secret.txt"),
        format!("%c0%ae%c0%ae/{name}/secret.txt"),
        format!("%uff0e%uff0e/{name}"),
        absolute.clone(),
        absolute.replace('/', "%2f"),
        format!("file://{absolute}"),
        format!("/{absolute}"),
        "/etc/passwd".to_owned(),
        "%2fetc%2fpasswd".to_owned(),
        "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "good%00.png".to_owned(),
        "%00".to_owned(),
        "good/images/base-1.png%00/../../../etc/passwd".to_owned(),
        "\\\\server\\share\\secret".to_owned(),
        "%5c%5cserver%5cshare".to_owned(),
        "C:\\Windows\\win.ini".to_owned(),
        "C:%5cWindows%5cwin.ini".to_owned(),
        "CON".to_owned(),
        "links".to_owned(),
        "escape".to_owned(),
        "escape/secret.txt".to_owned(),
        "base-1/../../config.toml".to_owned(),
        "base-00001".to_owned(),
        "base-99999999999999999999999".to_owned(),
        "sampled-1-1".to_owned(),
        "tuned--1".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "~root".to_owned(),
        "%".to_owned(),
        "%zz".to_owned(),
        "%ff%fe".to_owned(),
        "🎨".to_owned(),
        "%f0%9f%8e%a8".to_owned(),
        "<script>alert(1)</script>".to_owned(),
        "%0d%0aSet-Cookie:%20x=1".to_owned(),
        "${jndi:ldap://x}".to_owned(),
        "'; DROP TABLE runs; --".to_owned(),
        "a".repeat(300),
        "a".repeat(9_000),
        "../".repeat(2_000),
        "%2e%2e%2f".repeat(1_000),
        "a".repeat(40_000),
    ];
    all.extend((0..8).map(|depth| format!("{}etc/passwd", "../".repeat(depth))));
    all
}

/// Runs that lead out, wait, or are torn.
fn make_traps(runs: &Path, outside: &Path) {
    let secret = outside.join("secret.txt");
    let links = make_run(runs, "links");
    for file in
        ["metrics.jsonl", "comparison.json", "environment.json", "policy.safetensors", "images/tuned-1.png"]
    {
        let _ = std::fs::remove_file(links.join(file));
        symlink(&secret, links.join(file)).unwrap();
    }
    symlink(outside, links.join("samples")).unwrap();
    symlink(outside, links.join("sampled")).unwrap();
    symlink(outside, runs.join("escape")).unwrap();
    let config = runs.join("config-link");
    std::fs::create_dir(&config).unwrap();
    symlink(&secret, config.join("config.toml")).unwrap();
    let torn = make_run(runs, "torn");
    std::fs::write(torn.join("metrics.jsonl"), "{\"step\":1,\"evaluations\":16}\n{\"step\":2,\"eval")
        .unwrap();
    std::fs::write(torn.join("comparison.json"), "{\"gain").unwrap();
    std::fs::write(torn.join("images/base-1.png"), &common::png()[..40]).unwrap();
    std::fs::write(torn.join("policy.safetensors"), [255; 64]).unwrap();
    std::fs::write(torn.join("config.toml"), [0xff, 0xfe, 0]).unwrap();
    let pipes = make_run(runs, "pipes");
    for file in ["metrics.jsonl", "images/base-1.png"] {
        std::fs::remove_file(pipes.join(file)).unwrap();
        let made = std::process::Command::new("mkfifo").arg(pipes.join(file)).status().unwrap();
        assert!(made.success());
    }
    let deep = "d/".repeat(60);
    std::fs::create_dir_all(runs.join("deep").join(deep)).unwrap();
}

struct Tally {
    sent: usize,
    leaks: Vec<String>,
    failed: Vec<String>,
}

impl Tally {
    fn look(&mut self, request: &str, answer: &[u8]) -> Answer {
        self.sent += 1;
        let shown = request.chars().take(160).collect::<String>();
        if String::from_utf8_lossy(answer).contains(SECRET) || answer.windows(5).any(|five| five == b"root:")
        {
            self.leaks.push(shown.clone());
        }
        let answer = Answer::of(answer);
        if answer.status == 0 || answer.status >= 500 {
            self.failed.push(format!("{} {shown}", answer.status));
        }
        answer
    }
}

#[test]
fn a_thousand_crafted_requests_tell_nothing_and_break_nothing() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    let parent = tempfile::tempdir().unwrap();
    let (runs, outside) = (parent.path().join("runs"), parent.path().join("outside"));
    std::fs::create_dir_all(&runs).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    for name in ["secret.txt", "config.toml", "0001-00.png", "base-1.png"] {
        std::fs::write(outside.join(name), format!("prompt = \"{SECRET}\"\n")).unwrap();
    }
    make_run(&runs, "good");
    make_traps(&runs, &outside);
    let server = Running::start(&runs, "/bin/false".into());
    let mut tally = Tally { sent: 0, leaks: Vec::new(), failed: Vec::new() };

    // Everything that can be asked for is asked for first, traps included.
    let listed = server.get("/api/runs").json();
    let ids = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    assert_eq!(ids.len(), 4, "{listed}");
    let good = listed.as_array().unwrap().iter().find(|run| run["name"] == "good").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut targets = Vec::new();
    for id in &ids {
        targets.push(format!("/api/runs/{id}"));
        for key in ["base-1", "tuned-1", "step-1-0", "best-1-0", "sampled-1-1", "grid"] {
            for size in ["", "?size=thumbnail", "?size=strip", "?size=full&size=x"] {
                targets.push(format!("/api/runs/{id}/images/{key}{size}"));
            }
        }
    }
    for payload in payloads(&outside) {
        for place in [
            "/{}",
            "/assets/{}",
            "/assets/0/{}",
            "/assets/{}/app.js",
            "/run/{}",
            "/api/runs/{}",
            "/api/runs/{}/images/base-1",
            "/api/jobs/{}",
            "/api/events?last={}",
        ] {
            if !place.contains("events") {
                targets.push(place.replace("{}", &payload));
            }
        }
        targets.push(format!("/api/runs/{good}/images/{payload}"));
        targets.push(format!("/api/runs/{good}/images/base-1?size={payload}"));
        targets.push(format!("/api/runs/{good}/{payload}"));
    }
    for target in &targets {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
        let answer = tally.look(&request, &server.exchange(request.as_bytes()));
        assert_ne!(answer.status, 201, "{request}");
    }
    // Other methods, with the same names as paths and as forms.
    for (at, payload) in payloads(&outside).iter().enumerate() {
        let quoted = serde_json::to_string(payload).unwrap();
        for body in [
            format!("{{\"kind\":\"sample\",\"run\":{quoted},\"count\":1}}"),
            format!("{{\"kind\":\"resume\",\"run\":{quoted}}}"),
            format!("{{\"kind\":\"start\",\"prompt\":\"a\",\"model\":{quoted}}}"),
            payload.clone(),
        ] {
            let length = body.len();
            for (target, secret) in
                [("/api/jobs", "wrong"), ("/api/command", "wrong"), ("/api/jobs", token().as_str())]
            {
                let request = format!(
                    "POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\
                     Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
                    server.address
                );
                let answer = tally.look(&request, &server.exchange(request.as_bytes()));
                assert_ne!(answer.status, 201, "{request}");
            }
        }
        let method = ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "FOO"][at % 8];
        let request = format!(
            "{method} /api/runs/{payload} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.address
        );
        tally.look(&request, &server.exchange(request.as_bytes()));
    }
    assert!(tally.sent >= 1000, "{}", tally.sent);
    assert_eq!(tally.leaks, Vec::<String>::new());
    assert_eq!(tally.failed, Vec::<String>::new());
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    // And it still answers.
    assert_eq!(server.get("/api/runs").json().as_array().unwrap().len(), 4);
    println!("{} crafted requests, 0 leaks, 0 panics", tally.sent);
}

#[test]
fn only_named_hosts_are_answered_on_every_method_and_path() {
    let runs = tempfile::tempdir().unwrap();
    make_run(runs.path(), "good");
    let server = Running::start(runs.path(), "/bin/false".into());
    let own = server.address.to_string();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        for target in [
            "/",
            "/api/runs",
            "/api/events",
            "/api/jobs",
            "/assets/0/app.js",
            "/nowhere",
            "*",
            "http://evil.example/",
        ] {
            for hosts in [
                "evil.example",
                &format!("{own}.evil.example"),
                "localhost",
                &format!("{own}\r\nHost: evil.example"),
                "",
            ] {
                let request =
                    format!("{method} {target} HTTP/1.1\r\nHost: {hosts}\r\nConnection: close\r\n\r\n");
                let answer = Answer::of(&server.exchange(request.as_bytes()));
                assert!(matches!(answer.status, 421 | 400), "{request}{}", answer.status);
            }
        }
    }
    let without = Answer::of(&server.exchange(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"));
    assert!(matches!(without.status, 421 | 400), "{}", without.status);
    let absolute =
        format!("GET http://evil.example/api/runs HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::of(&server.exchange(absolute.as_bytes())).status, 421);
    assert_eq!(server.get("/api/runs").status, 200);
}

#[test]
fn every_answer_forbids_what_is_inline_or_foreign() {
    let runs = tempfile::tempdir().unwrap();
    let server = Running::start(runs.path(), "/bin/false".into());
    for target in ["/", "/run/0123456789abcdef", "/assets/0/app.js", "/api/runs", "/nowhere"] {
        let head = server.get(target).head;
        let policy = head.lines().find(|line| line.starts_with("content-security-policy:")).unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
}

#[test]
fn work_needs_the_token_and_our_own_page() {
    let runs = tempfile::tempdir().unwrap();
    let server = Running::start(runs.path(), "/bin/true".into());
    let form = "{\"kind\":\"start\",\"prompt\":\"a green dog\"}";
    let json = "Content-Type: application/json\r\n";
    let bearer = format!("Authorization: Bearer {}\r\n", token());
    assert_eq!(server.ask("POST", "/api/jobs", json, form).status, 401);
    let foreign = format!("{json}{bearer}Origin: http://evil.example\r\n");
    assert_eq!(server.ask("POST", "/api/jobs", &foreign, form).status, 403);
    assert_eq!(server.ask("POST", "/api/jobs", &bearer, form).status, 415);
    assert_eq!(server.ask("DELETE", "/api/jobs/1", "", "").status, 401);
    // The token in the address is none: it would stand in logs and histories.
    assert_eq!(server.ask("POST", &format!("/api/jobs?token={}", token()), json, form).status, 401);
    let shown = server.ask("POST", "/api/command", json, form);
    assert!(shown.json()["command"].as_str().unwrap().ends_with("-- 'a green dog'"));
    let own = format!("{json}{bearer}Origin: http://{}\r\n", server.address);
    assert_eq!(server.ask("POST", "/api/jobs", &own, form).status, 201);
}

#[test]
fn an_address_that_others_can_reach_shows_nothing_without_the_token() {
    use noisefind_serve::{Options, Server};
    let runs = tempfile::tempdir().unwrap();
    let options = |token: Option<&str>| Options {
        runs: runs.path().to_owned(),
        host: "0.0.0.0".parse().unwrap(),
        port: 0,
        allowed_hosts: Vec::new(),
        token: token.map(str::to_owned),
        program: "/bin/false".into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (token, expected) in [(None, "needs --token"), (Some("short"), "at least 16")] {
        let message = runtime.block_on(Server::bind(options(token))).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let server = runtime.block_on(Server::bind(options(Some(&token())))).unwrap();
    let port = server.address().port();
    let (_stop, stopped) = noisefind_serve::stop_signal();
    runtime.spawn(server.run(stopped));
    let ask = |target: &str, headers: &str| {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{headers}\r\n");
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
        Answer::of(&answer)
    };
    let bearer = format!("Authorization: Bearer {}\r\n", token());
    assert_eq!(
        (ask("/", "").status, ask("/api/runs", "").status, ask("/api/jobs", "").status),
        (200, 401, 401)
    );
    assert_eq!(
        (ask("/api/runs", &bearer).status, ask("/api/runs", "Cookie: noisefind=x\r\n").status),
        (200, 401)
    );
}

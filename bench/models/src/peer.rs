//! The Python process that measures PyTorch, one repetition at a time, while we wait.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bench_common::Failure;
use serde_json::{Value, json};

use crate::ours::Folders;

/// The program, relative to the root of the repository, where measuring programs are started.
const SCRIPT: &str = "bench/models/peer.py";

/// A running `peer.py`; it ends when its input does.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Version of PyTorch, and what else it says of itself.
    pub version: String,
}

impl Peer {
    /// Starts it with so many threads.
    pub fn start(python: &str, threads: usize, folders: &Folders) -> Result<Self, Failure> {
        let mut child = Command::new(python)
            .args([SCRIPT, "serve", &threads.to_string()])
            .args([&folders.model, &folders.sd15, &folders.video])
            .env("OMP_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{python} {SCRIPT}: {error}; name another with --python"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or("the peer has no output")?);
        let mut peer = Self { child, input, output: BufReader::new(output), version: String::new() };
        peer.version = peer.answer()?["version"].as_str().unwrap_or_default().to_owned();
        Ok(peer)
    }

    /// Opens a model for `case` in one of the variants and warms it up.
    pub fn prepare(&mut self, case: &str, variant: &str) -> Result<(), Failure> {
        self.ask(&json!({"prepare": case, "variant": variant})).map(drop)
    }

    /// Seconds of one call, the mean over as many as make a repetition.
    pub fn measure(&mut self, variant: &str) -> Result<f64, Failure> {
        let answer = self.ask(&json!({"measure": variant}))?;
        answer["seconds"].as_f64().ok_or_else(|| format!("the peer answered {answer}").into())
    }

    /// Forgets every model.
    pub fn forget(&mut self) -> Result<(), Failure> {
        self.ask(&json!({"forget": true})).map(drop)
    }

    fn ask(&mut self, request: &Value) -> Result<Value, Failure> {
        let input = self.input.as_mut().ok_or("the peer's input is closed")?;
        writeln!(input, "{request}")?;
        input.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("{SCRIPT} ended; what it said last stands above").into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        // It has nothing left to do; whether it ends well says nothing about what was measured.
        let _ = self.child.wait();
    }
}

//! One child process that talks in lines, held so that nothing of it outlives us.
//!
//! The child runs in its own process group, so that Ctrl-C reaches it only through us. The group is led by a
//! watchdog: a shell that waits for its input to end and then kills the group. Its input is a pipe that only
//! this process holds, so the kernel closes it however we end, `kill -9` included, and whatever the child
//! has started in its group goes with it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line that is read; a process that says more is broken.
const LINE_LIMIT: u64 = 1 << 20;
/// Unread answers that are kept; a process that says more has to wait.
const QUEUED_LINES: usize = 16;
/// Lines of standard error that are kept for messages.
const STDERR_LINES: usize = 8;
/// Bytes of one line of standard error that are kept.
const STDERR_LINE_LIMIT: u64 = 500;

/// What came out of the child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A line, without its end.
    Line(String),
    /// Nothing within the time.
    Nothing,
    /// The end of its output.
    End,
}

/// A running child.
pub(crate) struct Process {
    child: Child,
    watchdog: Child,
    requests: Option<SyncSender<String>>,
    answers: Receiver<String>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_ended: Receiver<()>,
}

impl Process {
    /// Starts `command` through the shell.
    ///
    /// # Errors
    /// Whatever the system says when there is no shell or no memory.
    pub(crate) fn start(command: &str) -> std::io::Result<Self> {
        let (watchdog, child) = spawn(command)?;
        let mut process = Self {
            child,
            watchdog,
            requests: None,
            answers: sync_channel(0).1,
            stderr: Arc::default(),
            stderr_ended: sync_channel(0).1,
        };
        process.connect();
        Ok(process)
    }

    /// Gives each of the three pipes its thread, because a pipe has no time-out of its own.
    fn connect(&mut self) {
        if let Some(stdin) = self.child.stdin.take() {
            let (requests, queue) = sync_channel(1);
            self.requests = Some(requests);
            thread::spawn(move || write_lines(stdin, queue));
        }
        if let Some(stdout) = self.child.stdout.take() {
            let (queue, answers) = sync_channel(QUEUED_LINES);
            self.answers = answers;
            thread::spawn(move || read_lines(stdout, LINE_LIMIT, |line| queue.send(line).is_ok()));
        }
        if let Some(stderr) = self.child.stderr.take() {
            let kept = Arc::clone(&self.stderr);
            let (ended, stderr_ended) = sync_channel(1);
            self.stderr_ended = stderr_ended;
            thread::spawn(move || {
                read_lines(stderr, STDERR_LINE_LIMIT, |line| {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push_back(line);
                    let surplus = kept.len().saturating_sub(STDERR_LINES);
                    kept.drain(..surplus);
                    true
                });
                drop(ended);
            });
        }
    }

    /// Sends one line; a child that no longer reads shows itself in [`Process::hear`].
    pub(crate) fn say(&self, line: String) {
        if let Some(requests) = &self.requests {
            // A full queue means that the last request was not even read, and the time-out will say so.
            let _ = requests.try_send(line);
        }
    }

    /// Waits for one line until `deadline`.
    pub(crate) fn hear(&self, deadline: Instant) -> Heard {
        match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Heard::Line(line),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// A line that is already there, without waiting.
    pub(crate) fn overhear(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }

    /// The last lines of standard error, to be appended to a message; empty where there were none.
    pub(crate) fn last_words(&self) -> String {
        // A dying child's last words are often still on their way.
        let _ = self.stderr_ended.recv_timeout(Duration::from_millis(200));
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|line| !line.trim().is_empty()).map(|line| format!("\n  stderr: {line}")).collect()
    }

    /// How the child ended, in words, for a child whose output has ended.
    pub(crate) fn ending(&mut self) -> String {
        match wait(&mut self.child, Duration::from_secs(1)) {
            Some(status) => format!("ended with {status}"),
            None => "closed its output".to_owned(),
        }
    }

    /// Ends the child: its input is closed, it has `grace` to leave by itself, then its group is killed.
    pub(crate) fn stop(&mut self, grace: Duration) {
        self.requests = None;
        let _ = wait(&mut self.child, grace);
        end(&mut self.watchdog);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// The watchdog, and the child in the watchdog's group.
#[cfg(unix)]
fn spawn(command: &str) -> std::io::Result<(Child, Child)> {
    use std::os::unix::process::CommandExt;
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", "read -r _; kill -s KILL 0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(watchdog.id().cast_signed())
        .spawn()
        .inspect_err(|_| end(&mut watchdog))?;
    Ok((watchdog, child))
}

/// Without process groups nothing would stop a child's children, so there is no half-working variant.
#[cfg(not(unix))]
fn spawn(_command: &str) -> std::io::Result<(Child, Child)> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "external processes need a Unix system"))
}

/// Closes the watchdog's input, upon which it kills its group and itself.
fn end(watchdog: &mut Child) {
    drop(watchdog.stdin.take());
    let _ = watchdog.wait();
}

/// Polls, because the standard library cannot wait with a limit.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Err(_) => return None,
            Ok(None) if Instant::now() >= deadline => return None,
            Ok(None) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn write_lines(mut stdin: ChildStdin, queue: Receiver<String>) {
    for line in queue {
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n")).is_err() {
            return;
        }
    }
}

/// Hands over line by line, never holding more than `limit` bytes: a longer line comes in pieces.
fn read_lines(pipe: impl Read, limit: u64, mut take: impl FnMut(String) -> bool) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match pipe.by_ref().take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if !take(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()) {
                    return;
                }
            }
        }
    }
}

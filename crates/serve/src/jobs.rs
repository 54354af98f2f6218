//! Work in progress: the program as a child, one at a time, whatever becomes of the clients that look at it.
//!
//! While a child works it holds a lock in the folder of the runs as its standard input. So a server that is started after
//! another one was killed knows that work still goes on, and a child needs no server to finish.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;

use crate::command::{Command, Program};
use crate::error::Refusal;
use crate::state::State;

/// Finished jobs that are remembered.
const REMEMBERED: usize = 16;
/// Lines of what a child says that are kept.
const LINES: usize = 12;
/// Most bytes of a line that are kept.
const LINE_LENGTH: usize = 1000;
/// How long work may take to save itself when the server ends.
const STOP_SECONDS: u64 = 120;

/// The file that says by its lock that work goes on.
pub(crate) const LOCK: &str = ".noisefind-work.lock";

/// The work of this server.
pub(crate) struct Jobs {
    pub program: Program,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    last: u64,
    jobs: VecDeque<Job>,
    /// The process that works now.
    process: Option<u32>,
}

/// One piece of work as clients see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Job {
    pub id: u64,
    pub kind: &'static str,
    pub title: String,
    pub run: String,
    pub command: String,
    pub state: JobState,
    /// Samples done and to do.
    pub done: u64,
    pub total: u64,
    /// What is being done, such as "tuning" or "comparing".
    pub phase: &'static str,
    /// The last lines that the program wrote for people.
    pub lines: VecDeque<String>,
    /// Seconds since 1970.
    pub started: f64,
    pub ended: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    Running,
    Stopping,
    Done,
    Cancelled,
    Failed,
}

impl JobState {
    fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// A line of `--progress json`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Progress {
    Started { evaluations: u64, evaluations_done: u64 },
    Evaluated,
    Stepped { evaluations: u64 },
    Sampled { done: u64, total: u64 },
    Warned { warning: String },
}

impl Jobs {
    pub fn new(program: Program) -> Self {
        Self { program, all: Mutex::default() }
    }

    /// All jobs that are remembered, the newest first.
    pub fn list(&self) -> Vec<Job> {
        self.all().jobs.iter().rev().cloned().collect()
    }

    /// Starts `command`.
    pub fn start(state: &Arc<State>, command: &Command) -> Result<Job, Refusal> {
        let jobs = &state.jobs;
        // Held until the child runs, so that two requests cannot both find the place free.
        let mut all = jobs.all();
        let lock = lock(&jobs.program.runs)?;
        let mut child = spawn(&jobs.program.path, command, lock)?;
        all.last += 1;
        all.process = child.id();
        let job = Job {
            id: all.last,
            kind: command.kind,
            title: command.title.clone(),
            run: command.run.clone(),
            command: command.line(),
            state: JobState::Running,
            done: 0,
            total: 0,
            phase: "starting",
            lines: VecDeque::new(),
            started: now(),
            ended: None,
        };
        all.jobs.push_back(job.clone());
        if all.jobs.len() > REMEMBERED {
            all.jobs.pop_front();
        }
        drop(all);
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(follow(state.clone(), job.id, child, errors));
        }
        state.events.tell("jobs", &jobs.list());
        Ok(job)
    }

    /// Asks the job to stop and save; the second time it is ended at once.
    pub fn cancel(state: &State, id: u64) -> Result<(), Refusal> {
        let mut all = state.jobs.all();
        let process = all.process;
        let job = all.jobs.iter_mut().find(|job| job.id == id).ok_or_else(|| Refusal::not_found("job"))?;
        if job.state.is_over() {
            return Err(Refusal::new(StatusCode::CONFLICT, "this job is over"));
        }
        let politely = job.state == JobState::Running;
        job.state = JobState::Stopping;
        drop(all);
        if let Some(process) = process {
            signal(process, politely);
        }
        state.events.tell("jobs", &state.jobs.list());
        Ok(())
    }

    /// Asks the work in progress to stop and waits until it has saved itself.
    pub async fn stop(&self) {
        let Some(process) = self.all().process else { return };
        signal(process, true);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(STOP_SECONDS);
        while self.all().process.is_some() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.all().jobs.iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock that goes to the child.
fn lock(runs: &Path) -> Result<File, Refusal> {
    let path = runs.join(LOCK);
    let failed = |error: std::io::Error| {
        let reason = format!("work cannot be started: {} cannot be written: {error}", path.display());
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    };
    let file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let reason = "other work goes on; one piece of work is done at a time";
            Err(Refusal::new(StatusCode::CONFLICT, reason))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn spawn(program: &Path, command: &Command, lock: File) -> Result<Child, Refusal> {
    let mut child = tokio::process::Command::new(program);
    // Our own flags come first, because what follows "--" is no flag.
    let (name, rest) =
        command.arguments.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
    child.arg(name).args(&command.reporting).args(rest);
    child.stdin(Stdio::from(lock)).stdout(Stdio::null()).stderr(Stdio::piped());
    // A Ctrl-C in the terminal of the server reaches the child once, through the server.
    #[cfg(unix)]
    child.process_group(0);
    child.spawn().map_err(|error| {
        let reason = format!("{} cannot be started: {error}", program.display());
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    })
}

/// Reads what the child says until it ends. Clients are told, and never waited for.
async fn follow(state: Arc<State>, id: u64, mut child: Child, errors: impl AsyncRead + Unpin) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ => break,
        }
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE_LENGTH)]).trim().to_owned();
        if !text.is_empty() {
            state.jobs.change(id, |job| job.hear(&text));
            state.events.tell("jobs", &state.jobs.list());
        }
    }
    let ended = child.wait().await;
    let mut all = state.jobs.all();
    all.process = None;
    if let Some(job) = all.jobs.iter_mut().find(|job| job.id == id) {
        job.ended = Some(now());
        job.state = match ended {
            Ok(status) if status.success() => JobState::Done,
            _ if job.state == JobState::Stopping => JobState::Cancelled,
            Ok(status) if status.code() == Some(130) => JobState::Cancelled,
            _ => JobState::Failed,
        };
    }
    drop(all);
    state.events.tell("jobs", &state.jobs.list());
}

impl Job {
    fn hear(&mut self, text: &str) {
        let warning = match serde_json::from_str(text) {
            Ok(Progress::Started { evaluations, evaluations_done }) => {
                (self.phase, self.done, self.total) = ("tuning", evaluations_done, evaluations);
                return;
            }
            Ok(Progress::Evaluated) => {
                self.done += 1;
                return;
            }
            Ok(Progress::Stepped { evaluations }) => {
                self.done = evaluations;
                return;
            }
            Ok(Progress::Sampled { done, total }) => {
                let phase = if self.kind == "sample" { "sampling" } else { "comparing" };
                (self.phase, self.done, self.total) = (phase, done, total);
                return;
            }
            Ok(Progress::Warned { warning }) => warning,
            Err(_) => text.to_owned(),
        };
        self.lines.push_back(warning);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }
}

/// Asks a process to stop, or ends it.
#[cfg(unix)]
fn signal(process: u32, politely: bool) {
    use rustix::process::{Pid, Signal, kill_process};
    // What is started in the background, as by `nohup`, ignores the signal of Ctrl-C, and so do its children.
    let signal = if politely { Signal::TERM } else { Signal::KILL };
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It may just have ended.
        let _ = kill_process(pid, signal);
    }
}

/// There is no polite way here; what a run has done is saved after every step.
#[cfg(not(unix))]
fn signal(process: u32, _politely: bool) {
    let _ = std::process::Command::new("taskkill").args(["/F", "/PID", &process.to_string()]).status();
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

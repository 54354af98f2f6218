//! Our side of the line protocol: hello, ready, and one numbered request at a time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::Error;
use crate::ExternalOptions;
use crate::process::{Heard, Process};

/// How long a process may take to leave by itself once its input is closed.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait before a request is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// A running external process, restarted after a crash or a time-out.
pub(crate) struct Client {
    role: &'static str,
    command: String,
    options: ExternalOptions,
    folder: TempDir,
    process: Option<Process>,
    last_id: u64,
}

/// Why one attempt gave no answer.
enum Failure {
    /// Trying again may help: the process died, or says so itself.
    Transient(Error),
    /// The process breaks the protocol, and would again.
    Final(Error),
}

impl Client {
    /// Starts the process and waits until it is ready; gives the fields of its first answer.
    pub(crate) fn start(
        role: &'static str,
        command: &str,
        options: ExternalOptions,
    ) -> Result<(Self, Map<String, Value>), Error> {
        let folder = private_folder()?;
        let mut client =
            Self { role, command: command.to_owned(), options, folder, process: None, last_id: 0 };
        let ready = client.connect()?;
        Ok((client, ready))
    }

    /// The command as the user gave it.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    /// The private folder through which files travel; it is emptied after each answer.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Forgets the files of the last request, so that the folder never holds more than one request's.
    pub(crate) fn empty_folder(&self) -> Result<(), Error> {
        let path = self.folder.path();
        for entry in fs::read_dir(path).map_err(Error::file(path))? {
            let entry = entry.map_err(Error::file(path))?.path();
            let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(Error::file(entry))?;
        }
        Ok(())
    }

    /// Sends the request and gives the fields of its answer, restarting and resending where that may help.
    pub(crate) fn ask(&mut self, request: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(request) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => {
                    self.process = None;
                    return Err(error);
                }
                Err(Failure::Transient(error)) => error,
            };
            if attempt >= self.options.attempts {
                return Err(error);
            }
            attempt += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// A protocol violation in words, with the process's last words; the process is not used again.
    pub(crate) fn violation(&mut self, problem: impl Into<String>) -> Error {
        let stderr = self.process.take().map(|process| process.last_words()).unwrap_or_default();
        Error::External { role: self.role, command: self.command.clone(), problem: problem.into(), stderr }
    }

    fn attempt(&mut self, request: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        if self.process.is_none() {
            self.connect().map_err(Failure::Final)?;
        }
        self.last_id += 1;
        let id = self.last_id;
        let mut line = request.clone();
        line.insert("id".to_owned(), id.into());
        let heard = match &self.process {
            Some(process) => match process.overhear() {
                Some(line) => Heard::Line(line),
                None => {
                    process.say(Value::Object(line).to_string());
                    process.hear(Instant::now() + self.options.request_timeout)
                }
            },
            None => Heard::End,
        };
        let answer = match heard {
            Heard::Line(line) => parse(&line).map_err(|problem| Failure::Final(self.violation(problem)))?,
            Heard::End => {
                let ending = self.process.as_mut().map_or_else(String::new, Process::ending);
                return Err(Failure::Transient(self.violation(format!("{ending} before it answered"))));
            }
            Heard::Nothing => return Err(Failure::Transient(self.timed_out())),
        };
        match answer.get("id").and_then(Value::as_u64) {
            Some(found) if found == id => {}
            found => {
                let found = found.map_or_else(|| "no id".to_owned(), |found| format!("id {found}"));
                let problem = format!("answered with {found} where id {id} was asked");
                return Err(Failure::Final(self.violation(problem)));
            }
        }
        let Some(error) = answer.get("error") else { return Ok(answer) };
        let said = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
        let again = answer.get("retry").and_then(Value::as_bool).unwrap_or(false);
        let stderr = self.process.as_ref().map(Process::last_words).unwrap_or_default();
        let problem = format!("reported: {said}");
        let error = Error::External { role: self.role, command: self.command.clone(), problem, stderr };
        Err(if again { Failure::Transient(error) } else { Failure::Final(error) })
    }

    fn timed_out(&mut self) -> Error {
        // A late answer would be taken for the next request's, so the process does not live on.
        let stderr = self.process.take().map(|process| process.last_words()).unwrap_or_default();
        Error::ExternalTimeout {
            role: self.role,
            command: self.command.clone(),
            limit: self.options.request_timeout,
            attempts: self.options.attempts,
            stderr,
        }
    }

    fn connect(&mut self) -> Result<Map<String, Value>, Error> {
        let not_started = |problem: String, stderr: String| Error::NotStarted {
            role: self.role,
            command: self.command.clone(),
            problem,
            stderr,
        };
        let mut process =
            Process::start(&self.command).map_err(|error| not_started(error.to_string(), String::new()))?;
        let folder = self.folder.path();
        process.say(
            json!({"hello": "noisefind", "protocol": 1, "role": self.role, "folder": folder}).to_string(),
        );
        let problem = match process.hear(Instant::now() + self.options.start_timeout) {
            Heard::Line(line) => match parse(&line) {
                Ok(ready) if ready.get("ready") == Some(&Value::Bool(true)) => {
                    self.process = Some(process);
                    return Ok(ready);
                }
                Ok(ready) => match ready.get("error").and_then(Value::as_str) {
                    Some(error) => format!("it reported: {error}"),
                    None => format!("expected {{\"ready\":true}}, found {}", shortened(&line)),
                },
                Err(problem) => format!("it {problem}"),
            },
            Heard::End => format!("it {} before it was ready", process.ending()),
            Heard::Nothing => {
                format!("it was not ready within {} s", self.options.start_timeout.as_secs_f64())
            }
        };
        Err(not_started(problem, process.last_words()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.stop(GRACE);
        }
    }
}

/// A folder that only this user can look into, because prompts and images are nobody else's business.
fn private_folder() -> Result<TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("noisefind-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().map_err(Error::file(std::env::temp_dir()))
}

/// Reads a JSON object, with the not-a-numbers of Python's `json` taken for null.
fn parse(line: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(line)
        .or_else(|_| serde_json::from_str(&without_nan(line)))
        .map_err(|_| format!("wrote a line that is not a JSON object: {}", shortened(line)))
}

/// Replaces `NaN`, `Infinity` and `-Infinity` outside of strings by `null`.
fn without_nan(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let (mut inside_string, mut escaped) = (false, false);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
        if let (Some(word), false) = (word, inside_string) {
            text.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        if first == '"' && !escaped {
            inside_string = !inside_string;
        }
        escaped = first == '\\' && !escaped;
        text.push(first);
        rest = &rest[first.len_utf8()..];
    }
    text
}

/// The start of a line, for messages.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 120;
    let start: String = line.chars().take(SHOWN).collect();
    if start.len() < line.len() { format!("`{start}…`") } else { format!("`{start}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_of_python_is_null_but_not_inside_a_string() {
        let line = r#"{"id":1,"rewards":[NaN,-Infinity,Infinity,1.5],"note":"NaN \\\" NaN"}"#;
        let fields = parse(line).unwrap();
        assert_eq!(fields["rewards"], json!([null, null, null, 1.5]));
        assert_eq!(fields["note"], json!("NaN \\\" NaN"));
    }

    #[test]
    fn a_long_line_is_shown_shortened() {
        assert_eq!(shortened("abc"), "`abc`");
        assert_eq!(shortened(&"é".repeat(200)), format!("`{}…`", "é".repeat(120)));
    }
}

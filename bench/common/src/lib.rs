//! What the measuring programs share: arguments, threads, clocks, reports.

mod clock;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use clock::{Clock, calls_for, median, median_seconds};
use serde_json::Value;

/// Any error; a measuring program ends on the first.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The command line: `--threads N`, `--json FILE`, the program's own options with a value each, and words.
#[derive(Debug)]
pub struct Arguments {
    /// Threads that compute; 1 unless given.
    pub threads: usize,
    /// What is neither an option nor its value.
    pub words: Vec<String>,
    json: Option<PathBuf>,
    values: BTreeMap<&'static str, String>,
}

impl Arguments {
    /// The command line of this process, for a program with the options `own` (written with their dashes).
    ///
    /// # Errors
    /// Where an option is unknown or has no value, or the number of threads is none.
    pub fn of_process(own: &[&'static str]) -> Result<Self, Failure> {
        Self::parse(std::env::args().skip(1), own)
    }

    fn parse(mut arguments: impl Iterator<Item = String>, own: &[&'static str]) -> Result<Self, Failure> {
        let mut parsed = Self { threads: 1, words: Vec::new(), json: None, values: BTreeMap::new() };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            if let Some(option) = own.iter().find(|option| **option == argument) {
                parsed.values.insert(option, value()?);
                continue;
            }
            match argument.as_str() {
                "--threads" => parsed.threads = value()?.parse()?,
                "--json" => parsed.json = Some(value()?.into()),
                other if other.starts_with("--") => {
                    let known = [&["--threads", "--json"], own].concat().join(", ");
                    return Err(format!("unknown option {other}, expected one of {known}").into());
                }
                _ => parsed.words.push(argument),
            }
        }
        Ok(parsed)
    }

    /// The value of one of the program's own options, or `otherwise`.
    ///
    /// # Errors
    /// Where it cannot be understood.
    pub fn value<T>(&self, option: &str, otherwise: T) -> Result<T, Failure>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        let Some(text) = self.values.get(option) else { return Ok(otherwise) };
        text.parse().map_err(|error| format!("{option} is {text:?}: {error}").into())
    }

    /// Whether an operation of that name is asked for: the first word is a part of it, or there is none.
    pub fn asks_for(&self, name: &str) -> bool {
        self.words.first().is_none_or(|word| name.contains(word))
    }

    /// Does `work` where everything runs inside a pool of the threads asked for, so that with one thread the measured
    /// thread is the one that works.
    ///
    /// # Errors
    /// Where the threads cannot be started, and whatever `work` reports.
    pub fn in_pool<R: Send>(&self, work: impl FnOnce() -> Result<R, Failure> + Send) -> Result<R, Failure> {
        rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?.install(work)
    }

    /// Writes the report where `--json` asks for it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn report(&self, report: &Value) -> Result<(), Failure> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, report))
    }
}

/// Writes a report as indented JSON.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_json(path: &Path, report: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, Failure> {
        Arguments::parse(line.split(' ').map(str::to_owned), &["--images"])
    }

    #[test]
    fn options_have_values_and_words_are_left() {
        let arguments = parse("conv --threads 2 --images 3").unwrap();
        assert_eq!((arguments.threads, arguments.value("--images", 8).unwrap()), (2, 3));
        assert!(arguments.asks_for("conv batch=1") && !arguments.asks_for("linear"));
        assert_eq!(parse("--json x").unwrap().value("--images", 8).unwrap(), 8);
        for (line, problem) in [
            ("--image 3", "unknown option --image"),
            ("--threads", "--threads needs a value"),
            ("--threads two", "invalid digit"),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
        let message = parse("--images all").unwrap().value("--images", 8).unwrap_err().to_string();
        assert!(message.starts_with("--images is \"all\": "), "{message}");
    }
}

//! How long work looks to whoever started it: a person at a terminal, a log, or another program.

#[cfg(feature = "terminal-images")]
mod images;
#[cfg(feature = "terminal-images")]
mod inline;
mod json;
mod terminal;

use std::sync::OnceLock;

use clap::ValueEnum;
use noisefind::core::media::Media;
use noisefind::core::noise::SampleKey;
use noisefind::core::ports::Reward;
use noisefind::observer::{Found, Header, Observer};
use noisefind::record::MetricsLine;

use json::JsonLines;
use terminal::Terminal;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    // A bar, with the samples of each step above it where the terminal shows images; lines where there is no terminal.
    Auto,
    // A bar without images.
    Bar,
    // A line each tenth of the work.
    Lines,
    // One JSON object a line.
    Json,
}

static SHOWN: OnceLock<Shown> = OnceLock::new();

/// Decides how the progress of this process is shown; the first decision holds.
pub fn show(shown: Shown) {
    let _ = SHOWN.set(shown);
}

/// What all long commands hand to the library.
pub enum Progress {
    /// For people.
    Terminal(Box<Terminal>),
    /// For programs.
    Json(JsonLines),
}

impl Progress {
    /// Progress that has nothing to show yet.
    pub fn new() -> Self {
        match SHOWN.get().copied().unwrap_or(Shown::Auto) {
            Shown::Json => Self::Json(JsonLines),
            shown => Self::Terminal(Box::new(Terminal::new(shown))),
        }
    }

    /// Leaves the terminal as it was.
    pub fn finish(&self) {
        if let Self::Terminal(terminal) = self {
            terminal.finish();
        }
    }

    fn observer(&mut self) -> &mut dyn Observer {
        match self {
            Self::Terminal(terminal) => &mut **terminal,
            Self::Json(lines) => lines,
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, header: &Header) {
        self.observer().started(header);
    }

    fn prompt(&mut self, at: usize, total: usize, prompt: &str, found: Found) {
        self.observer().prompt(at, total, prompt, found);
    }

    fn warned(&mut self, warning: &str) {
        self.observer().warned(warning);
    }

    fn sampled(&mut self, key: SampleKey, media: &Media, reward: Option<&Reward>) {
        self.observer().sampled(key, media, reward);
    }

    fn stepped(&mut self, line: &MetricsLine) {
        self.observer().stepped(line);
    }

    fn generated(&mut self, done: usize, total: usize) {
        self.observer().generated(done, total);
    }

    fn interrupted(&self) -> bool {
        crate::interrupt::requested()
    }
}

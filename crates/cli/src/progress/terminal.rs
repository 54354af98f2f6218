//! Progress for people: a bar on a terminal, plain lines elsewhere; always on stderr.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use noisefind::core::media::Media;
use noisefind::core::noise::SampleKey;
use noisefind::core::ports::Reward;
use noisefind::observer::{Found, Header, Observer};
use noisefind::record::MetricsLine;

use super::Shown;
use crate::output::say;

/// Shows the work to a person.
pub struct Terminal {
    bar: ProgressBar,
    phase: Phase,
    /// What the last step gave, or what is generated.
    what: String,
    evaluations: usize,
    evaluations_done: usize,
    /// Evaluations and time when this process began, so that a resumed run shows its own speed.
    began: (usize, Instant),
    /// Tenths of the work that were told in plain lines.
    told: usize,
    shows_bar: bool,
    /// How the terminal shows images, where it does, and those that it did not show yet.
    #[cfg(feature = "terminal-images")]
    images: Option<(super::inline::Protocol, Vec<Media>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Tuning,
    Sampling,
}

impl Terminal {
    /// A display before the work begins.
    pub fn new(shown: Shown) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            phase: Phase::Sampling,
            what: String::new(),
            evaluations: 0,
            evaluations_done: 0,
            began: (0, Instant::now()),
            told: 0,
            shows_bar: shown != Shown::Lines,
            #[cfg(feature = "terminal-images")]
            images: super::images::protocol()
                .filter(|_| shown == Shown::Auto)
                .map(|protocol| (protocol, Vec::new())),
        }
    }

    /// Leaves the terminal as it was.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows a row of samples above the bar.
    #[cfg(feature = "terminal-images")]
    fn show_images(&mut self) {
        if let Some((protocol, images)) = &mut self.images {
            self.bar.suspend(|| super::images::show(*protocol, images));
            images.clear();
        }
    }

    fn begin(&mut self, phase: Phase, total: usize, done: usize) {
        self.bar.finish_and_clear();
        let target = if self.shows_bar { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        self.bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = ProgressStyle::with_template("{bar:28} {pos}/{len}  {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.phase = phase;
        self.began = (done, Instant::now());
        self.told = 0;
    }

    /// Moves the bar, or says a line each tenth of the work where there is no terminal.
    fn advance(&mut self, done: usize, total: usize) {
        let rate = (done - self.began.0.min(done)) as f64 / self.began.1.elapsed().as_secs_f64().max(1e-9);
        let left = (total.saturating_sub(done)) as f64 / rate.max(1e-9);
        let message = format!("{}{}  {} left", self.what, speed(rate), seconds(left));
        if !self.bar.is_hidden() {
            self.bar.set_message(message);
            self.bar.set_position(done as u64);
            return;
        }
        let tenth = 10 * done / total.max(1);
        if tenth > self.told {
            self.told = tenth;
            let word = if self.phase == Phase::Tuning { "evaluated" } else { "generated" };
            say(&format!("{word} {done}/{total}  {message}"));
        }
    }
}

impl Observer for Terminal {
    fn started(&mut self, header: &Header) {
        let shape = header.noise_shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        say(&format!("prompt   {}", header.prompt));
        say(&format!(
            "model    {}, noise {shape}, on {} in {}, {} threads",
            header.model, header.device, header.dtype, header.threads
        ));
        let again = match header.evaluations_done {
            0 => String::new(),
            done => format!(", {done} of them done before"),
        };
        say(&format!(
            "reward   {} by {}, {} evaluations{again}",
            header.reward, header.method, header.evaluations
        ));
        if !header.held_out.is_empty() {
            say(&format!("held-out {}", header.held_out.join(", ")));
        }
        if !header.prior.is_empty() {
            let runs = header.prior.iter().map(|run| format!("{} ({:.2})", run.prompt, run.similarity));
            say(&format!("prior    {}", runs.collect::<Vec<_>>().join(", ")));
        }
        say(&format!("run      {}", header.run));
        self.evaluations = header.evaluations;
        self.evaluations_done = header.evaluations_done;
        self.what.clear();
        self.begin(Phase::Tuning, header.evaluations, header.evaluations_done);
    }

    fn prompt(&mut self, at: usize, total: usize, prompt: &str, found: Found) {
        self.finish();
        let what = match found {
            Found::Nothing => "starts",
            Found::Begun => "goes on",
            Found::Finished => "was finished before",
        };
        say(&format!("prompt {at} of {total} {what}: {prompt}"));
    }

    fn warned(&mut self, warning: &str) {
        self.bar.suspend(|| say(&format!("warning: {warning}")));
    }

    fn stepped(&mut self, line: &MetricsLine) {
        let record = &line.record;
        let number =
            |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.3}"));
        let sigmas =
            |sigmas: Option<f64>| sigmas.map(|sigmas| format!(" ({sigmas:+.1} sigma)")).unwrap_or_default();
        let held_out = line.held_out.iter().map(|one| {
            format!("{} {}{}  ", one.scorer, number(one.reward_mean), sigmas(one.standardised_gain))
        });
        let what = format!(
            "reward {}{}  best {}  {}KL {:.1} nats  ",
            number(record.reward_mean),
            sigmas(record.standardised_gain),
            number(record.best_reward),
            held_out.collect::<String>(),
            record.kl_nats,
        );
        #[cfg(feature = "terminal-images")]
        self.show_images();
        self.what = what;
        self.evaluations_done = record.evaluations;
        self.advance(record.evaluations, self.evaluations);
    }

    fn sampled(&mut self, _key: SampleKey, media: &Media, _reward: Option<&Reward>) {
        #[cfg(feature = "terminal-images")]
        if let Some((_, images)) = &mut self.images {
            images.push(media.clone());
            if images.len() == super::images::COLUMNS {
                self.show_images();
            }
        }
        #[cfg(not(feature = "terminal-images"))]
        let _ = media;
        if self.phase == Phase::Tuning {
            self.evaluations_done += 1;
            self.advance(self.evaluations_done, self.evaluations);
        }
    }

    fn generated(&mut self, done: usize, total: usize) {
        if self.phase == Phase::Tuning || self.bar.length() != Some(total as u64) {
            self.begin(Phase::Sampling, total, done);
            self.what = "fresh samples  ".to_owned();
        }
        self.advance(done, total);
    }
}

fn speed(samples_a_second: f64) -> String {
    if samples_a_second >= 1.0 || samples_a_second <= 0.0 {
        format!("{samples_a_second:.1} samples/s")
    } else {
        format!("{} a sample", seconds(1.0 / samples_a_second))
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 90.0 => format!("{short:.0} s"),
        long if long < 5400.0 => format!("{:.0} min", long / 60.0),
        longer => format!("{:.1} h", longer / 3600.0),
    }
}

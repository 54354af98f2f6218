//! How long a run takes.

use std::time::Instant;

use noisefind_core::run::StopReason;

use crate::observer::Observer;

/// The time that a run took and may take.
pub(super) struct Clock {
    /// Seconds of the resumed parts.
    elapsed_before: f64,
    started: Instant,
    max_seconds: Option<f64>,
}

impl Clock {
    /// A clock that starts now, after `elapsed_before` seconds.
    pub(super) fn start(elapsed_before: f64, max_seconds: Option<f64>) -> Self {
        Self { elapsed_before, started: Instant::now(), max_seconds }
    }

    /// Seconds of all parts.
    pub(super) fn elapsed_seconds(&self) -> f64 {
        self.elapsed_before + self.started.elapsed().as_secs_f64()
    }

    /// Why the run should stop now, after a step or between two samples.
    pub(super) fn stop_reason(&self, observer: &dyn Observer) -> Option<StopReason> {
        if observer.interrupted() {
            return Some(StopReason::Interrupted);
        }
        let is_over = self.max_seconds.is_some_and(|limit| self.elapsed_seconds() >= limit);
        is_over.then_some(StopReason::SecondsUsed)
    }
}

//! How time is taken.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// Shortest time of one repetition, so that the clock's steps do not matter.
const REPETITION_SECONDS: f64 = 0.02;

/// A clock: the thread's own processor time with one thread, which other programs on the core do not disturb; the time on
/// the wall with several.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// One thread.
    Processor(ThreadTime),
    /// Several.
    Wall(Instant),
}

impl Clock {
    /// Starts the clock for work on so many threads.
    pub fn start(threads: usize) -> Self {
        if threads == 1 { Self::Processor(ThreadTime::now()) } else { Self::Wall(Instant::now()) }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        match self {
            Self::Processor(start) => start.elapsed(),
            Self::Wall(start) => start.elapsed(),
        }
    }
}

/// Median seconds of one call over an odd number of `repetitions`, after a warm-up.
pub fn median_seconds(threads: usize, repetitions: usize, mut call: impl FnMut()) -> f64 {
    call();
    let start = Clock::start(threads);
    call();
    let calls = calls_for(start.elapsed().as_secs_f64(), REPETITION_SECONDS);
    let mut times: Vec<f64> = (0..repetitions)
        .map(|_| {
            let start = Clock::start(threads);
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() / calls as f64
        })
        .collect();
    median(&mut times)
}

/// How many calls of `seconds` each fill a repetition of at least `repetition_seconds`.
pub fn calls_for(seconds: f64, repetition_seconds: f64) -> usize {
    (repetition_seconds / seconds.max(1e-9)).ceil() as usize
}

/// The middle of an odd number of values, which are sorted for it.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

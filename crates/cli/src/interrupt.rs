//! Ctrl-C: the first asks the work to stop at the next safe point, the second stops the program.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C (or a polite kill) only sets a flag.
pub fn listen() {
    listen_for("stopping after this batch; press Ctrl-C again to stop at once");
}

/// As [`listen`], with what the user is told.
pub fn listen_for(told: &'static str) {
    // Where no handler can be installed Ctrl-C kills, and the run folder survives that too.
    let _ = ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        crate::output::say(told);
    });
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

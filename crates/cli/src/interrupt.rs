//! Ctrl-C, a hang-up and a polite kill: the first asks the work to stop at the next safe point, the second stops the
//! program.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on the first signal only sets a flag. A signal that was ignored when the program started stays ignored, as
/// `nohup` and shells with jobs in the background expect.
pub fn listen() {
    listen_for("stopping after this sample; press Ctrl-C again to stop at once");
}

/// As [`listen`], with what the user is told.
pub fn listen_for(told: &'static str) {
    // Where no handler can be installed a signal kills, and the run folder survives that too.
    let _ = install(move || {
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

#[cfg(unix)]
fn install(arrived: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = signal_hook::iterator::Signals::new(heard)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        signals.forever().for_each(|_| arrived());
    })?;
    Ok(())
}

/// Whether whoever started the program asked the system not to deliver `signal` to it.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library does not tell how a signal is handled")]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer for the new action only asks for the present one, which sigaction writes to `action` when it
    // returns 0.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn install(arrived: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(arrived)
}

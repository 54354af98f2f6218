//! The operations that a model runs, one by one and with their times, for programs that say where the time goes.

use std::cell::RefCell;
use std::time::Duration;

/// What one call of an operation on the CPU computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its kind, such as `conv 3x3`.
    pub kind: &'static str,
    /// The sizes that its time depends on.
    pub shape: String,
    /// Multiplications and additions of its matrix products; 0 where memory alone is the limit.
    pub flops: usize,
    /// Bytes of its operands, each read or written once.
    pub bytes: usize,
}

/// An operation and how long it took.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was computed.
    pub operation: Operation,
    /// By the clock of the recording.
    pub elapsed: Duration,
}

/// A recording in progress.
struct Recording {
    clock: Box<dyn Fn() -> Duration>,
    calls: Vec<Call>,
}

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Runs `work` and records every operation that this thread starts on the kernels meanwhile, in order. `clock` gives the
/// time since any fixed moment.
pub fn record<R>(clock: impl Fn() -> Duration + 'static, work: impl FnOnce() -> R) -> (R, Vec<Call>) {
    RECORDING.set(Some(Recording { clock: Box::new(clock), calls: Vec::new() }));
    let result = work();
    (result, RECORDING.take().map(|recording| recording.calls).unwrap_or_default())
}

/// Runs the body of an operation, which is described only if somebody records.
pub(super) fn recorded<R>(describe: impl FnOnce() -> Operation, body: impl FnOnce() -> R) -> R {
    let now = || RECORDING.with_borrow(|recording| recording.as_ref().map(|recording| (recording.clock)()));
    let Some(start) = now() else { return body() };
    let result = body();
    let end = now().unwrap_or(start);
    let call = Call { operation: describe(), elapsed: end.saturating_sub(start) };
    RECORDING.with_borrow_mut(|recording| {
        if let Some(recording) = recording {
            recording.calls.push(call);
        }
    });
    result
}

//! Looks at the folder of the runs while somebody listens, and tells what changed.

use std::sync::Arc;
use std::time::Duration;

use crate::state::State;

/// Between two looks. Polling works on every file system, network ones included.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks for ever.
pub(crate) async fn watch(state: Arc<State>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if state.events.has_listeners() {
            let looking = state.clone();
            // A look that panicked is tried again at the next turn.
            let _ = tokio::task::spawn_blocking(move || look(&looking)).await;
        }
    }
}

/// One look.
pub(crate) fn look(state: &State) {
    // Where the folder cannot be read now, it may be at the next turn.
    let Ok((changed, gone)) = state.catalogue().refresh() else { return };
    if !changed.is_empty() {
        state.events.tell("runs", &changed);
    }
    if !gone.is_empty() {
        state.events.tell("gone", &gone);
    }
}

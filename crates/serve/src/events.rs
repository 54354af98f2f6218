//! What happens, numbered, so that a client that lost its connection goes on where it was.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

/// Events that are remembered for clients that come back.
const REMEMBERED: usize = 512;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Counts up by one; begins anew when the server starts.
    pub number: u64,
    /// `runs`, `gone` or `jobs`.
    pub kind: &'static str,
    /// JSON.
    pub data: String,
}

/// Everything that happened lately.
pub(crate) struct Events {
    /// Differs from start to start, so that numbers of an earlier one mean nothing.
    epoch: String,
    log: Mutex<Log>,
    sender: broadcast::Sender<Happened>,
}

#[derive(Default)]
struct Log {
    last: u64,
    recent: VecDeque<Happened>,
}

/// What a client gets first.
pub(crate) struct Beginning {
    /// Whether it must read everything anew because what it missed is not known.
    pub reset: bool,
    /// The number from which it goes on.
    pub last: u64,
    /// What it missed.
    pub missed: Vec<Happened>,
    /// What comes.
    pub receiver: broadcast::Receiver<Happened>,
}

impl Events {
    pub fn new(epoch: String) -> Self {
        Self { epoch, log: Mutex::default(), sender: broadcast::channel(REMEMBERED).0 }
    }

    /// The id of an event as clients see it.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// Tells everybody. Nobody can hold it up: who is too slow is told to read anew.
    pub fn tell(&self, kind: &'static str, data: &impl Serialize) {
        let Ok(data) = serde_json::to_string(data) else { return };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.last += 1;
        let happened = Happened { number: log.last, kind, data };
        log.recent.push_back(happened.clone());
        if log.recent.len() > REMEMBERED {
            log.recent.pop_front();
        }
        // Nobody may be listening.
        let _ = self.sender.send(happened);
    }

    /// Begins after the event `last_id`, where it is still known what came after it.
    pub fn begin(&self, last_id: Option<&str>) -> Beginning {
        // The lock is held while the receiver is made, so nothing is told twice or not at all.
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let number = last_id
            .and_then(|id| id.rsplit_once('-'))
            .filter(|(epoch, _)| *epoch == self.epoch)
            .and_then(|(_, number)| number.parse::<u64>().ok());
        let oldest = log.recent.front().map_or(log.last + 1, |event| event.number);
        match number.filter(|number| *number <= log.last && number + 1 >= oldest) {
            Some(number) => {
                let missed = log.recent.iter().filter(|event| event.number > number).cloned().collect();
                Beginning { reset: false, last: log.last, missed, receiver }
            }
            None => Beginning { reset: last_id.is_some(), last: log.last, missed: Vec::new(), receiver },
        }
    }

    /// Whether anybody listens.
    pub fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_gets_what_was_missed_or_starts_anew() {
        let events = Events::new("one".to_owned());
        (1..=3).for_each(|number| events.tell("runs", &number));
        let missed = |id: Option<&str>| {
            let beginning = events.begin(id);
            (beginning.reset, beginning.missed.iter().map(|event| event.number).collect::<Vec<_>>())
        };
        assert_eq!(missed(None), (false, vec![]));
        assert_eq!(missed(Some("one-1")), (false, vec![2, 3]));
        assert_eq!(missed(Some("one-3")), (false, vec![]));
        for unknown in ["two-1", "one-9", "one-x", "", "one-18446744073709551615"] {
            assert_eq!(missed(Some(unknown)), (true, vec![]), "{unknown}");
        }
        (0..2 * REMEMBERED).for_each(|number| events.tell("runs", &number));
        assert_eq!(missed(Some("one-1")), (true, vec![]));
    }
}

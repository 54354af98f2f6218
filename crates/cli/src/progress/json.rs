//! Progress for other programs: one JSON object a line on stderr.
//!
//! `{"event":"started","evaluations":160,"evaluations_done":0,"run":"runs/…"}`, then `evaluated` with `reward` for each
//! sample, `stepped` with `evaluations`, `sampled` with `done` and `total`, and `warned` with `warning`, as they come. Errors stay lines for people.

use noisefind::core::media::Media;
use noisefind::core::noise::SampleKey;
use noisefind::core::ports::Reward;
use noisefind::observer::{Found, Header, Observer};
use noisefind::record::MetricsLine;
use serde_json::{Value, json};

use crate::output::say;

/// Writes the lines.
pub struct JsonLines;

fn line(value: &Value) {
    say(&value.to_string());
}

impl Observer for JsonLines {
    fn started(&mut self, header: &Header) {
        line(&json!({
            "event": "started",
            "evaluations": header.evaluations,
            "evaluations_done": header.evaluations_done,
            "run": header.run,
        }));
    }

    fn prompt(&mut self, at: usize, total: usize, prompt: &str, _found: Found) {
        line(&json!({ "event": "prompt", "at": at, "total": total, "prompt": prompt }));
    }

    fn warned(&mut self, warning: &str) {
        line(&json!({ "event": "warned", "warning": warning }));
    }

    fn sampled(&mut self, key: SampleKey, _media: &Media, reward: Option<&Reward>) {
        // Fresh samples are counted by `generated`.
        if key.iteration != SampleKey::FRESH {
            line(&json!({ "event": "evaluated", "reward": reward.and_then(Reward::given) }));
        }
    }

    fn stepped(&mut self, metrics: &MetricsLine) {
        let record = &metrics.record;
        line(&json!({
            "event": "stepped",
            "evaluations": record.evaluations,
            "reward_mean": record.reward_mean,
            "kl_nats": record.kl_nats,
        }));
    }

    fn generated(&mut self, done: usize, total: usize) {
        line(&json!({ "event": "sampled", "done": done, "total": total }));
    }
}

//! Any program as a scorer or a generator: JSON lines over its standard input and output, files beside them.
//!
//! We start the command once, say `{"hello":"noisefind","protocol":1,"role":…,"folder":…}` and wait for a
//! line with `"ready":true`. Requests are numbered and come one at a time:
//!
//! | role | request | answer |
//! | --- | --- | --- |
//! | scorer | `{"id":8,"prompt":"…","media":["….png",…]}` | `{"id":8,"rewards":[0.31,null,…]}` |
//! | generator | `{"id":7,"prompt":"…","noise":"….safetensors","keys":[[seed,iteration,index],…],"options":{…}}` | `{"id":7,"media":["….png",…]}` |
//!
//! A clip is a list of its frames' images in the place of one image. `{"id":8,"error":"…"}` reports a
//! failure, and with `"retry":true` asks for the request once more. A process that dies or does not answer in
//! time is restarted and asked again; a line that is no JSON object, a wrong number or a wrong count is an
//! error at once, because it would happen again.

mod client;
mod error;
mod generator;
mod process;
mod scorer;

use std::time::Duration;

pub use error::Error;
pub use generator::ExternalGenerator;
pub use scorer::ExternalScorer;

/// How patient we are with an external process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalOptions {
    /// Limit from the start until the process is ready (it may load gigabytes).
    pub start_timeout: Duration,
    /// Limit of one request.
    pub request_timeout: Duration,
    /// How many times a request is sent before it has failed; at least 1.
    pub attempts: u32,
}

impl Default for ExternalOptions {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(600),
            request_timeout: Duration::from_secs(300),
            attempts: 2,
        }
    }
}

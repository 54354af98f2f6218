//! Tune, sample and compare noise policies: the facade that other programs depend on.
//!
//! The library prints nothing and never exits: results are typed values, progress goes to an
//! [`observer::Observer`], and everything that lasts goes to a run folder.

mod artifacts;
pub mod config;
mod diagnose;
mod error;
mod evaluate;
pub mod images;
pub mod machine;
mod models;
pub mod observer;
pub mod record;
mod run;

pub use config::reward;
pub use diagnose::{doctor, inspect, readiness, self_test};
pub use error::{Error, Result};
pub use evaluate::{comparison, draw, rivals, score};
pub use images as pictures;
pub use models::{hashes, registry};
pub use noisefind_core as core;
pub use noisefind_rundir as rundir;
pub use run::{compare, prompts, sample, tune};

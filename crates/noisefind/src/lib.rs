//! Tune, sample and compare noise policies: the facade that other programs depend on.
//!
//! The library prints nothing and never exits: results are typed values, progress goes to an
//! [`observer::Observer`], and everything that lasts goes to a run folder.

mod best;
pub mod compare;
pub mod comparison;
pub mod config;
mod diversity;
pub mod doctor;
pub mod draw;
mod embedded;
mod error;
pub mod fake;
mod finish;
mod hash;
pub mod hashes;
pub mod inspect;
pub mod machine;
mod noise_file;
pub mod observer;
pub mod pictures;
mod programs;
pub mod prompts;
pub mod readiness;
pub mod record;
pub mod registry;
mod report;
pub mod reward;
pub mod rivals;
pub mod sample;
pub mod score;
mod scorers;
pub mod self_test;
mod session;
pub mod tune;
mod words;

pub use error::{Error, Result};
pub use noisefind_core as core;
pub use noisefind_rundir as rundir;

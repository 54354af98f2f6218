//! Tune, sample and compare noise policies: the facade that other programs depend on.
//!
//! The library prints nothing and never exits: results are typed values, progress goes to an
//! [`observer::Observer`], and everything that lasts goes to a run folder.
//!
//! Settings that the caller leaves open take the model's values or the defaults:
//!
//! ```
//! use noisefind::config::TuneOptions;
//! use noisefind::registry::ModelSource;
//!
//! let options = TuneOptions { prompt: Some("a green dog".to_owned()), seed: Some(7), ..TuneOptions::default() };
//! let config = options.resolve(&ModelSource::of(&options.generation)?.defaults()?)?;
//! assert_eq!(config.generation.num_inference_steps, Some(4));
//! assert_eq!(config.run.evaluations, 160);
//! # Ok::<(), noisefind::Error>(())
//! ```
//!
//! A whole run, from prompt to samples, is `examples/tune_and_sample.rs`:
//!
//! ```no_run
//! use noisefind::config::TuneOptions;
//! use noisefind::rundir::IfOccupied;
//! use noisefind::tune::{TuneRequest, tune};
//!
//! let options = TuneOptions { prompt: Some("a green dog".to_owned()), ..TuneOptions::default() };
//! let request = TuneRequest::New { options: Box::new(options), out: None, if_occupied: IfOccupied::Refuse };
//! let tuned = tune(&request, &mut ())?;
//! println!("{:?}", tuned.policy);
//! # Ok::<(), noisefind::Error>(())
//! ```

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
pub use evaluate::{baselines, comparison, evaluator, score};
pub use models::embedded::NAMES as BUILT_IN_MODELS;
pub use models::{hashes, registry, scorers};
pub use noisefind_core as core;
pub use noisefind_rundir as rundir;
pub use run::{ask_tell, compare, prior, prompts, sample, tune, verify};

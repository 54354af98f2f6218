//! The method: a policy over a diffusion model's initial noise, learnt from a black-box reward.
//!
//! Reference: Chen et al., "FIND: Fine-tuning Initial Noise Distribution with Policy Optimization for
//! Diffusion Models", ACM MM 2024, arXiv 2407.19453. This crate knows no files, no clock and no model;
//! the world enters through the two traits of [`ports`].
//!
//! The data flow: a [`run::Run`] is asked for noises of its [`policy`], a [`rollout`] generates media from them and
//! scores each, and the run is told the rewards, from which its [`method`] learns.

pub mod adamw;
pub mod config;
mod error;
pub mod evaluation;
pub mod gaussian;
pub mod media;
pub mod method;
pub mod noise;
pub mod policy;
pub mod ports;
mod range;
pub mod rng;
pub mod rollout;
pub mod run;
pub mod state;
pub mod statistics;
mod stop_reason;
pub mod threshold;

pub use error::{Error, Result};

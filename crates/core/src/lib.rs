//! The method: a Gaussian policy over a diffusion model's initial noise, learnt from a black-box reward.
//!
//! Reference: Chen et al., "FIND: Fine-tuning Initial Noise Distribution with Policy Optimization for
//! Diffusion Models", ACM MM 2024, arXiv 2407.19453. This crate knows no files, no clock and no model;
//! the world enters through the two traits of [`ports`].

pub mod adamw;
pub mod advantage;
pub mod calibrator;
pub mod config;
pub mod diagnostics;
mod error;
pub mod evaluation;
pub mod fakes;
pub mod gaussian;
pub mod kl_budget;
pub mod landscape;
mod linear_system;
pub mod media;
mod method;
pub mod noise;
pub mod objective;
pub mod policy;
pub mod ports;
pub mod progress;
pub mod random_search;
pub mod record;
pub mod rng;
pub mod run;
pub mod state;
pub mod statistics;
pub mod step;
pub mod watch;

pub use error::{Error, Result};

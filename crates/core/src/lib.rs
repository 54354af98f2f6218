//! The method: a Gaussian policy over a diffusion model's initial noise, learnt from a black-box reward.
//!
//! Reference: Chen et al., "FIND: Fine-tuning Initial Noise Distribution with Policy Optimization for
//! Diffusion Models", ACM MM 2024, arXiv 2407.19453. This crate knows no files, no clock and no model;
//! the world enters through the two traits of [`ports`].

mod error;
pub mod evaluation;
pub mod gaussian;
pub mod media;
pub mod noise;
pub mod policy;
pub mod ports;
pub mod rng;

pub use error::{Error, Result};

//! Generating and scoring outside of tuning, and the statistics over it.

pub mod baselines;
pub mod comparison;
pub(crate) mod diversity;
pub mod evaluator;
pub mod score;

//! Generating and scoring outside of tuning, and the statistics over it.

pub mod comparison;
mod diversity;
pub mod draw;
pub mod rivals;
pub mod score;

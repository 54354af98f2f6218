//! What people look at: single pictures, the grid of base above tuned, the curve of the reward.

pub mod canvas;
mod curve;
mod frames;
mod grid;
mod png;

pub use curve::{Curve, curve};
pub(crate) use frames::{read_frames, save_frames};
pub use grid::{Cell, Row, grid};
pub use png::picture;

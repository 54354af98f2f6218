//! What people look at: single images and clips, the grid of base above tuned, the curve of the reward.

pub mod canvas;
mod curve;
mod frames;
mod grid;
pub(crate) mod mp4;
mod png;

pub use curve::{Curve, curve};
pub(crate) use frames::{animations, read_frames, save_frames};
pub(crate) use grid::grid_clip;
pub use grid::{Cell, Row, grid};
pub use png::image;

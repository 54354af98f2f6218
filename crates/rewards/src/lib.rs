//! Scorers and judges: pictures and a prompt in, rewards out.
//!
//! A scorer implements [`noisefind_core::ports::Scorer`]. [`Cached`], [`Screened`] and [`Weighted`] wrap any of
//! them.

mod aesthetic;
mod cached;
mod catalogue;
mod clip_score;
mod error;

mod features;
mod hps;
pub mod image_reward;
mod jpeg_size;
pub mod judge;
mod linear_stack;
pub mod preprocess;
pub mod resize;
mod screened;
#[cfg(test)]
mod testing;
mod vocabularies;
mod weighted;

pub use aesthetic::{Aesthetic, AestheticHead};
pub use cached::Cached;
pub use catalogue::{SCORERS, ScorerInfo};
pub use clip_score::{ClipScore, ClipVariant};
pub use error::Error;
pub use hps::{Hps, HpsVersion};
pub use jpeg_size::{JpegSize, jpeg_bytes};
pub use screened::Screened;
pub use weighted::{Part, Standard, Weighted};

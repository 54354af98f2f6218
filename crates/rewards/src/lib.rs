//! Scorers and judges: pictures and a prompt in, rewards out.
//!
//! A scorer implements [`noisefind_core::ports::Scorer`]. [`Cached`] and [`Screened`] wrap any of them, and [`RewardSum`]
//! makes one reward of several.

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
mod reward_sum;
mod screened;
#[cfg(test)]
mod testing;
mod vocabularies;

pub use aesthetic::{Aesthetic, AestheticHead};
pub use cached::Cached;
pub use catalogue::{SCORERS, ScorerInfo};
pub use clip_score::{ClipScore, ClipVariant};
pub use error::Error;
pub use hps::{Hps, HpsVersion};
pub use jpeg_size::{JpegSize, jpeg_bytes};
pub use reward_sum::{RewardSum, Term};
pub use screened::Screened;

//! Scorers and judges: images and a prompt in, rewards out.
//!
//! A scorer implements [`noisefind_core::ports::Scorer`]. [`Cached`] and [`Screened`] wrap any of them, and [`RewardSum`]
//! makes one reward of several.

mod aesthetic;
mod cached;
mod catalogue;
mod cleaning;
mod clip_score;
mod dynamic_degree;
mod error;

mod features;
mod hps;
pub mod image_reward;
mod jpeg_size;
pub mod judge;
mod linear_stack;
mod open_clip;
mod opencv;
pub mod preprocess;
mod reduced;
pub mod resize;
mod reward_sum;
mod screened;
mod temporal_consistency;
#[cfg(test)]
mod testing;
mod viclip;
mod vocabularies;

pub use aesthetic::{Aesthetic, AestheticHead};
pub use cached::Cached;
pub use catalogue::{SCORERS, ScorerInfo};
pub use clip_score::{ClipScore, ClipVariant};
pub use dynamic_degree::DynamicDegree;
pub use error::Error;
pub use hps::{Hps, HpsVersion};
pub use jpeg_size::{JpegSize, jpeg_bytes};
pub use reduced::Reduced;
pub use reward_sum::{RewardSum, Term};
pub use screened::Screened;
pub use temporal_consistency::TemporalConsistency;
pub use viclip::ViClip;

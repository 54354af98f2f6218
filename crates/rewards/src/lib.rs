//! Scorers and judges: pictures and a prompt in, rewards out.
//!
//! A scorer implements [`noisefind_core::ports::Scorer`]. [`Cached`], [`Screened`] and [`Weighted`] wrap any of
//! them.

mod cached;
mod error;
pub mod external;
pub mod resize;
mod screened;
#[cfg(test)]
mod testing;
mod weighted;

pub use cached::Cached;
pub use error::Error;
pub use screened::Screened;
pub use weighted::{Part, Standard, Weighted};

//! Scorers and judges: pictures and a prompt in, rewards out.

mod error;
pub mod external;
pub mod resize;

pub use error::Error;

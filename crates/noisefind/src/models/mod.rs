//! Models, scorers and judges by name, and what identifies their weights.

pub mod embedded;
pub(crate) mod external;
pub mod fake;
mod hash;
pub mod hashes;
pub mod registry;
mod scorers;
mod vocabulary;

pub(crate) use hash::sha256;

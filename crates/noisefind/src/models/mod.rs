//! Models, scorers and judges by name, and what identifies their weights.

pub mod embedded;
pub(crate) mod external;
#[cfg(any(test, feature = "test-doubles"))]
pub(crate) mod fake;
mod hash;
pub mod hashes;
pub(crate) mod memory;
pub mod registry;
pub mod scorers;
mod test_double;
mod vocabulary;

pub(crate) use hash::sha256;

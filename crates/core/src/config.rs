//! All settings in one place; each belongs to the module that it steers.

pub use crate::method::{FindConfig, FindPart, MethodConfig, PaperConfig, RandomSearchConfig, Spread};
pub use crate::run::{ResultPolicy, RunConfig};

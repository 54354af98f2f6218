//! Other methods, under the same budget and the same seeds. They live here because no program needs them; that they fit
//! shows that the trait of the methods is open.

mod released;
mod snes;

pub use released::{PairedReward, Released};
pub use snes::SeparableNes;

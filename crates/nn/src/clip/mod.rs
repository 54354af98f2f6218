//! CLIP's towers, which diffusion models use for prompts and scorers for images.
//!
//! Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; tensor names
//! as in transformers.

mod encoder;
mod model;
mod text;
mod vision;

pub use encoder::{Encoder, EncoderOptions};
pub use model::ClipModel;
pub use text::{ClipTextModel, ClipTextOutput};
pub use vision::ClipVisionModel;

//! What people see of a run: the run folder read into views, small copies of images, the embedded page and `report.html`.
//!
//! Everything is read through [`folder::Folder`], which cannot leave the folder it was opened for, and every file of a
//! run is foreign: it may be torn, absent, of another version or made by somebody else. Nothing here writes, and nothing
//! here knows a model.

pub mod assets;
mod catalogue;
mod comparison;
mod error;
pub mod folder;
mod image_key;
mod images;
pub mod records;
mod report;
mod run;
mod thumbnail;

pub use catalogue::{Catalogue, RunId, RunState, Summary};
pub use comparison::{ComparisonView, Estimate, Row};
pub use error::{Error, Result};
pub use image_key::ImageKey;
pub use images::{ImageFiles, ImageSize, read_image};
pub use report::report;
pub use run::{
    Commands, Pair, PendingSample, RunView, Sampled, ScoredImage, Step, StepImages, quote, read_run,
};
pub use thumbnail::{Encoded, strip, thumbnail};

//! The run folder: the interface between the program that tunes and everything that watches it.
//!
//! Append-only, self-describing, readable while it is written, and safe after a kill at any moment:
//! every file but `metrics.jsonl` appears whole or not at all, and readers of `metrics.jsonl` accept a torn
//! last line. This crate knows files and nothing else: no tensor library, no model, no method.

mod activity;
mod atomic;
mod claim;
mod error;
mod events;
mod layout;
mod lines;
mod policy;
mod reader;
mod records;
mod tensors;
mod writer;

pub use activity::is_being_written;
pub use atomic::{remove_if_there, write_atomic};
pub use claim::{Claim, make_free_folder};
pub use error::{Error, Result};
pub use events::{Event, EventFile, EventValue};
pub use layout::{Layout, file_name_from_prompt};
pub use policy::{PolicyFile, Provenance};
pub use reader::RunReader;
pub use records::records;
pub use tensors::{Tensor, TensorFile, read_tensors};
pub use writer::{IfOccupied, Resumed, RunWriter};

//! The files that a run leaves for people and for other programs, beside its log and its checkpoints.

pub(crate) mod best;
pub(crate) mod finish;
pub(crate) mod noise_file;
pub(crate) mod samples;

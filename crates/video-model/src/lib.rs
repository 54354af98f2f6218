//! The files of `emoji-64-video`, the default video model: paths inside its folder, and bytes.

/// Path and content of each file, by path; what is not here is in `emoji-64`. Empty where the model was not there when the
/// crate was built.
pub static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

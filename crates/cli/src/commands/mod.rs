//! One file a command: its flags, and what it does with the library.

pub mod compare;
pub mod doctor;
pub mod inspect;
pub mod manual;
pub mod sample;
pub mod score;
#[cfg(feature = "serve")]
pub mod serve;
pub mod tune;

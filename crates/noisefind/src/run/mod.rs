//! The work of each command: tune, tune a list of prompts, sample, verify samples, compare.

pub mod ask_tell;
mod clock;
pub mod compare;
mod journal;
pub mod prior;
mod prompt_list;
pub mod prompts;
pub mod sample;
mod session;
#[cfg(test)]
mod tests;
pub mod tune;
pub mod verify;

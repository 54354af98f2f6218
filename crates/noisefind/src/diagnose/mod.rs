//! What is ready on this machine, and what is inside a run, a policy or a model.

pub mod doctor;
pub mod inspect;
pub mod readiness;
pub mod self_test;

//! Scorers and judges: pictures and a prompt in, rewards out

//! Frozen diffusion models, opened from their public folder layout

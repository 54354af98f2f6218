//! What a denoiser's output means.

use std::fmt;

/// What the denoiser's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `sqrt(a) noise - sqrt(1 - a) sample` (Salimans and Ho 2022).
    VPrediction,
    /// The velocity of a rectified flow, noise minus sample (Esser et al. 2024).
    Flow,
    /// The raw network of Karras et al. (2022), whose output is combined with the sample by the scheduler.
    Edm,
}

impl PredictionType {
    /// The config's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Sample => "sample",
            Self::VPrediction => "v_prediction",
            Self::Flow => "flow_prediction",
            Self::Edm => "edm",
        }
    }

    /// Factors of sample and output in the predicted clean sample, where the sample is `signal` times the clean one plus
    /// `noise` times unit noise.
    pub(super) fn clean(self, signal: f64, noise: f64) -> [f64; 2] {
        match self {
            Self::Epsilon => [1.0 / signal, -noise / signal],
            Self::Sample | Self::Edm => [0.0, 1.0],
            Self::VPrediction => [signal, -noise],
            Self::Flow => [1.0, -noise],
        }
    }

    /// Factors of sample and output in the predicted noise.
    pub(super) fn epsilon(self, signal: f64, noise: f64) -> [f64; 2] {
        match self {
            Self::Epsilon => [0.0, 1.0],
            Self::Sample | Self::Edm => [1.0 / noise, -signal / noise],
            Self::VPrediction => [noise, signal],
            Self::Flow => [1.0, 1.0 - noise],
        }
    }

    /// As [`Self::clean`], for a sample that is the clean one plus `sigma` times unit noise, whose input to the denoiser
    /// is scaled to unit variance.
    pub(super) fn clean_of_sigma(self, sigma: f64) -> [f64; 2] {
        match self {
            Self::VPrediction => {
                let square = sigma * sigma + 1.0;
                [1.0 / square, -sigma / square.sqrt()]
            }
            other => other.clean(1.0, sigma),
        }
    }
}

impl fmt::Display for PredictionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

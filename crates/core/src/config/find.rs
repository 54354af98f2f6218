//! Settings of `find`, and its parts by name.

use serde::{Deserialize, Serialize};

use super::{at_least_one, positive, share};
use crate::error::Result;

/// Settings of `find`; each is a building block that can be turned off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindConfig {
    /// Whether good places are those with the best neighbourhoods, told from all evaluations near them, or the noise
    /// with the highest reward.
    pub landscape: bool,
    /// Largest number of Gaussians, each around a good place of its own; without landscape there is one.
    pub gaussians: usize,
    /// How much of the noise at a good place the mean is: more succeeds more often, and varies less.
    pub share: f64,
    /// How sigma follows the mean.
    pub spread: Spread,
    /// Hard bound on the divergence to `N(0, I)` in nats; absent: 1.2 for each number of the noise.
    pub kl_budget_nats: Option<f64>,
    /// Most recent evaluations whose noises are kept and learnt from.
    pub history_evaluations: usize,
}

impl Default for FindConfig {
    fn default() -> Self {
        Self {
            landscape: true,
            gaussians: 4,
            share: 0.92,
            spread: Spread::Uniform,
            kl_budget_nats: None,
            history_evaluations: 512,
        }
    }
}

/// A part of `find` that can be turned off, to see what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindPart {
    /// Good places are those with the best neighbourhoods; without: the noise with the highest reward.
    Landscape,
    /// There are several Gaussians, each around a good place of its own; without: one.
    SeveralGaussians,
    /// The spread shrinks as the mean grows, so that `|z|` stays near `sqrt(d)`; without: `sigma = 1`.
    VariancePreservation,
}

/// How the spread of the policy follows its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// `sigma = 1`.
    Unit,
    /// `sigma_i^2 = 1 - mu_i^2`, at least 0.01: `E z_i^2 = 1` for each number of the noise.
    PerElement,
    /// One `sigma^2 = 1 - |mu|^2 / d`, at least 0.01: `E |z|^2 = d`.
    Uniform,
}

impl FindConfig {
    /// These settings with `part` turned off.
    pub fn without(self, part: FindPart) -> Self {
        match part {
            FindPart::Landscape => Self { landscape: false, ..self },
            FindPart::SeveralGaussians => Self { gaussians: 1, ..self },
            FindPart::VariancePreservation => Self { spread: Spread::Unit, ..self },
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("gaussians", self.gaussians)?;
        at_least_one("history_evaluations", self.history_evaluations)?;
        share("share", self.share)?;
        positive("kl_budget_nats", self.kl_budget_nats.unwrap_or(1.0))
    }
}

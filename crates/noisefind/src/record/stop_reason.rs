//! Why a run ended.

use serde::{Deserialize, Serialize};

/// Why tuning stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The budget of evaluations is used up.
    EvaluationsUsed,
    /// The mean reward stopped rising.
    Plateau,
    /// A held-out scorer fell while the reward was climbed.
    HeldOutFell,
    /// The budget of seconds is used up.
    SecondsUsed,
    /// The observer asked to stop.
    Interrupted,
}

impl StopReason {
    /// As `--json` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EvaluationsUsed => "evaluations-used",
            Self::Plateau => "plateau",
            Self::HeldOutFell => "held-out-fell",
            Self::SecondsUsed => "seconds-used",
            Self::Interrupted => "interrupted",
        }
    }

    /// The reason of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        let all =
            [Self::EvaluationsUsed, Self::Plateau, Self::HeldOutFell, Self::SecondsUsed, Self::Interrupted];
        all.into_iter().find(|reason| reason.name() == name)
    }

    /// In a sentence that begins with "stopped because".
    pub fn why(self) -> &'static str {
        match self {
            Self::EvaluationsUsed => "the budget is used up",
            Self::Plateau => "the reward stopped rising",
            Self::HeldOutFell => "a held-out scorer fell; the policy is the best from before the fall",
            Self::SecondsUsed => "the time is used up",
            Self::Interrupted => "it was interrupted",
        }
    }
}

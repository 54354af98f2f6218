//! Why a run is over.

use serde::{Deserialize, Serialize};

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The budget of evaluations is used up.
    EvaluationsUsed,
    /// The base already succeeds, so the policy stays `N(0, I)`.
    BaseSucceeds,
    /// Fresh samples of the policy are known to succeed often enough.
    PolicySucceeds,
    /// The mean reward stopped rising.
    Plateau,
    /// A held-out scorer fell while the reward was optimised.
    HeldOutFell,
    /// Too many rewards in a row were missing.
    RewardsMissing,
    /// The budget of seconds is used up; the caller's decision, a run knows no clock.
    SecondsUsed,
    /// The user asked to stop; the caller's decision.
    Interrupted,
}

impl StopReason {
    const ALL: [Self; 8] = [
        Self::EvaluationsUsed,
        Self::BaseSucceeds,
        Self::PolicySucceeds,
        Self::Plateau,
        Self::HeldOutFell,
        Self::RewardsMissing,
        Self::SecondsUsed,
        Self::Interrupted,
    ];

    /// The name in records and in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EvaluationsUsed => "evaluations-used",
            Self::BaseSucceeds => "base-succeeds",
            Self::PolicySucceeds => "policy-succeeds",
            Self::Plateau => "plateau",
            Self::HeldOutFell => "held-out-fell",
            Self::RewardsMissing => "rewards-missing",
            Self::SecondsUsed => "seconds-used",
            Self::Interrupted => "interrupted",
        }
    }

    /// The reason of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// In a sentence that begins with "stopped because".
    pub fn why(self) -> &'static str {
        match self {
            Self::EvaluationsUsed => "the budget is used up",
            Self::BaseSucceeds => {
                "the base already succeeds, so the policy stays N(0, I); `sample --verify` leaves out what fails"
            }
            Self::PolicySucceeds => "fresh samples of the policy succeed as often as was asked for",
            Self::Plateau => "the reward stopped rising",
            Self::HeldOutFell => "a held-out scorer fell; the policy is the best from before the fall",
            Self::RewardsMissing => "too many rewards in a row are missing",
            Self::SecondsUsed => "the time is used up",
            Self::Interrupted => "it was interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_are_those_of_serde() {
        for reason in StopReason::ALL {
            assert_eq!(StopReason::named(reason.name()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("{:?}", reason.name()));
        }
        assert_eq!(StopReason::named("bored"), None);
    }
}

//! Everything that a run needs to go on after a stop.

use serde::{Deserialize, Serialize};

use crate::noise::NoiseShape;
use crate::run::{Progress, RunConfig};
use crate::state::{MethodHeader, NamedTensor};

/// A run between two steps: `header` for the metadata, `tensors` for the arrays. Loading it and going on gives
/// the same bits as never having stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The small part.
    pub header: RunHeader,
    /// The large part; the current policy is `mu` and `sigma`, the method's tensors begin with `method.`.
    pub tensors: Vec<NamedTensor>,
}

/// The part of a [`RunState`] that is no array. The position of the random streams is the iteration in
/// `progress`: streams are keyed by it and have no other memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The settings of the run.
    pub config: RunConfig,
    /// Shape of the noise.
    pub shape: NoiseShape,
    /// Counters and running figures.
    pub progress: Progress,
    /// The small part of the method's state.
    pub method: MethodHeader,
}

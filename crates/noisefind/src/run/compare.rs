//! Base against tuned on fresh seeds, for a finished run.

use std::path::Path;

use noisefind_rundir::RunReader;

use crate::config::{GenerationConfig, TuneOptions};
use crate::error::Result;
use crate::evaluate::baselines::{self, Baseline};
use crate::evaluate::comparison::{Arms, Comparison, Cost};
use crate::observer::Observer;
use crate::record::{MetricsLine, SavedBase};
use crate::run::sample::{policy_for, read_policy, warn_about_policy};
use crate::run::session::Session;

/// What differs from the comparison at the end of tuning.
#[derive(Clone, Debug, Default)]
pub struct CompareRequest {
    /// Fresh samples an arm; `None`: as in the run's config.
    pub samples: Option<u32>,
    /// Seed of the first sample; `None`: those of the run's own final comparison.
    pub seed: Option<u64>,
    /// Judge; `None`: as in the run's config.
    pub judge: Option<String>,
    /// Held-out scorers; `None`: as in the run's config.
    pub holdout: Option<Vec<String>>,
    /// Model and settings; where these are silent, the run's own.
    pub generation: GenerationConfig,
    /// What else a user could have done with the run's evaluations.
    pub baselines: Vec<Baseline>,
}

/// Compares the policy of the run in `root` with the model as it is; writes nothing. `None` where the observer
/// interrupted.
///
/// # Errors
/// Where `root` holds no finished run, or its model or scorer cannot be opened.
pub fn compare(
    root: &Path,
    request: &CompareRequest,
    observer: &mut dyn Observer,
) -> Result<Option<Comparison>> {
    let reader = RunReader::open(root)?;
    let file = read_policy(root)?;
    let recorded = TuneOptions::parse(&reader.layout().config(), reader.config())?;
    let changed = TuneOptions {
        samples: request.samples,
        judge: request.judge.clone(),
        holdout: request.holdout.clone(),
        ..request.generation.clone().into()
    };
    let mut session = Session::open(&changed.or_recorded(recorded), None)?;
    if let Some(checkpoint) = reader.last_checkpoint::<SavedBase>()? {
        session.use_base(checkpoint.metadata.base)?;
    }
    let policy = policy_for(&file, session.noise_shape(), session.config.generation.model())?;
    warn_about_policy(&file, &session.source, &session.config.prompt, observer)?;
    let seeds = match request.seed {
        Some(first) => (0..u64::from(session.config.samples)).map(|at| first.wrapping_add(at)).collect(),
        None => session.fresh_seeds(),
    };
    let cost = Cost {
        kl_nats: policy.kl_nats(),
        evaluations: file.provenance.evaluations,
        elapsed_seconds: reader.metrics::<MetricsLine>()?.last().map_or(0.0, |line| line.elapsed_seconds),
    };
    let budget = (session.config.run.seed, cost.evaluations);
    let arms = session.compare(&policy, &seeds, cost, observer, [&mut (), &mut ()])?;
    let Some(Arms { base, mut comparison, .. }) = arms else { return Ok(None) };
    for baseline in &request.baselines {
        let result = match baseline {
            Baseline::BestOf(n) => Some(baselines::best_of(*n, &base)),
            Baseline::RandomSearch => {
                let mut evaluator = session.evaluator();
                baselines::random_search(&mut evaluator, policy.shape(), budget, &base, observer)?
            }
        };
        let Some(result) = result else { return Ok(None) };
        comparison.baselines.push(result);
    }
    Ok(Some(comparison))
}

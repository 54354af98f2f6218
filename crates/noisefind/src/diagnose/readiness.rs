//! Which devices, models and scorers can be used now, and what the others lack.

use noisefind_core::ports::Scorer;
use noisefind_diffusion::DeviceChoice;
use noisefind_rewards::SCORERS;
use serde::Serialize;

use crate::config::{GenerationConfig, ModelDefaults};
use crate::error::Result;
use crate::models::registry::ModelSource;

/// A model or scorer by name, and whether it can be used now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Readiness {
    /// As for `--model` or `--reward`.
    pub name: String,
    /// Whether everything it needs is there.
    pub ready: bool,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Where models can run: what this program was built for and finds.
pub fn devices() -> Vec<String> {
    let known = [
        DeviceChoice::Cpu,
        DeviceChoice::Cuda(0),
        DeviceChoice::Rocm,
        DeviceChoice::Vulkan,
        DeviceChoice::Metal,
        DeviceChoice::WebGpu,
    ];
    known.into_iter().filter(|device| device.open().is_ok()).map(|device| device.to_string()).collect()
}

impl Readiness {
    /// The default model, or the one that the user named.
    pub fn of_model(source: &Result<ModelSource>, name: &str) -> Self {
        let found = source.as_ref().map_err(ToString::to_string).and_then(|source| match source.report() {
            Ok(report) if report.problems.is_empty() => Ok(()),
            Ok(report) => Err(report.problems.join("; ")),
            Err(error) => Err(error.to_string()),
        });
        Self { name: name.to_owned(), ready: found.is_ok(), missing: found.err() }
    }

    /// Every scorer, as far as it can be told without the folder that some need.
    ///
    /// # Errors
    /// Where the model's recommendations cannot be read.
    pub fn of_scorers(source: &ModelSource, config: &GenerationConfig) -> Result<Vec<Self>> {
        let ModelDefaults { reward, judge, .. } = source.defaults()?;
        let own = reward.into_iter().chain(judge).collect::<Vec<_>>();
        let others = SCORERS.iter().filter(|scorer| !own.iter().any(|name| name == scorer.name));
        let others = others.map(|scorer| Self {
            name: scorer.name.to_owned(),
            ready: scorer.files.is_empty(),
            missing: (!scorer.files.is_empty()).then(|| {
                format!(
                    "give {}:DIR, a folder with {} ({})",
                    scorer.name,
                    scorer.files.join(", "),
                    scorer.source
                )
            }),
        });
        let opened = own.iter().map(|name| Self::of_opened(name, &source.open_scorer(name, config, None)));
        Ok(opened.chain(others).collect())
    }

    /// A scorer that somebody tried to open.
    pub fn of_opened(name: &str, opened: &Result<Box<dyn Scorer>>) -> Self {
        let missing = opened.as_ref().err().map(ToString::to_string);
        Self { name: name.to_owned(), ready: missing.is_none(), missing }
    }

    /// Whether this is about the scorer that `reward` (`NAME` or `NAME:DIR`) names.
    pub fn names(&self, reward: &str) -> bool {
        reward.split(':').next() == Some(&self.name)
    }
}

//! What pipelines of diffusers change about a model while they load it.
//!
//! Reference: `StableDiffusionPipeline.__init__`, diffusers 0.42.1; the pipelines of Stable Diffusion XL, latent consistency
//! models and text-to-video change nothing.

use serde_json::{Value, json};

use crate::denoiser::{self, DenoiserInfo};
use crate::model_index::{ModelIndex, PipelineClass};
use crate::scheduler::SchedulerFile;
use noisefind_nn::error::Result;
use noisefind_nn::files::ModelFiles;

/// Changes the scheduler's values as the pipeline does; a line for each change is added to `notes`.
pub(super) fn repair_scheduler(index: &ModelIndex, scheduler: &mut SchedulerFile, notes: &mut Vec<String>) {
    if index.pipeline != PipelineClass::StableDiffusion {
        return;
    }
    let mut change = |key: &str, wrong: &dyn Fn(&Value) -> bool, right: Value| {
        if let Some(found) = scheduler.value(key).filter(wrong) {
            notes.push(format!("the scheduler's {key} is {found} and taken as {right}, as diffusers does"));
            scheduler.repair(key, right);
        }
    };
    change("steps_offset", &|value| value.as_f64() != Some(1.0), json!(1));
    change("clip_sample", &|value| *value == json!(true), json!(false));
}

/// Raises the size of denoisers that were saved before version 0.9 with a size that nobody trained them for.
///
/// # Errors
/// Where the denoiser's config is absent or damaged.
pub(super) fn repair_sample_size(
    index: &ModelIndex,
    model: &ModelFiles,
    denoiser: &mut DenoiserInfo,
    notes: &mut Vec<String>,
) -> Result<()> {
    const SMALLEST: usize = 64;
    const SINCE: [u64; 3] = [0, 9, 0];
    if index.pipeline != PipelineClass::StableDiffusion {
        return Ok(());
    }
    let keys = denoiser::keys(model)?;
    let version = keys.optional::<String>("_diffusers_version")?;
    // A list of two sizes is left alone.
    let size = keys.optional::<Value>("sample_size")?.and_then(|size| size.as_u64());
    if let (Some(version), Some(size)) = (version, size)
        && version_of(&version) < SINCE
        && size < SMALLEST as u64
    {
        notes.push(format!(
            "the denoiser's sample_size is {size} and taken as {SMALLEST}, as diffusers does for folders of version {version}"
        ));
        denoiser.sample_size = Some([SMALLEST; 2]);
    }
    Ok(())
}

/// The first three numbers of a version.
fn version_of(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version_of("0.6.0"), [0, 6, 0]);
        assert_eq!(version_of("0.10.0.dev0"), [0, 10, 0]);
        assert_eq!(version_of("0.9"), [0, 9, 0]);
        assert!(version_of("0.8.1") < [0, 9, 0] && version_of("0.9.0.dev0") >= [0, 9, 0]);
    }
}

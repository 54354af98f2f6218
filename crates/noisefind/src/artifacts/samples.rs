//! The image of every evaluated sample, so that a run can be looked at sample by sample.

use std::path::Path;

use noisefind_core::media::Media;
use noisefind_core::noise::SampleKey;
use noisefind_core::ports::Reward;

use crate::config::TuneConfig;
use crate::config::reward::sum_name;
use crate::error::Result;
use crate::images::save_frames;

/// Saves one sample as `0003-05` (sample 5 of step 3) behind `prefix`, with what is known of it inside.
pub(crate) fn save_image(
    folder: &Path,
    prefix: &str,
    config: &TuneConfig,
    key: SampleKey,
    media: &Media,
    reward: Option<&Reward>,
) -> Result<()> {
    let SampleKey { seed, iteration, index } = key;
    let reward =
        reward.and_then(Reward::given).map(|reward| format!("{} {reward}", sum_name(&config.reward)));
    let texts = [
        ("prompt", config.prompt.clone()),
        ("seed", format!("{seed}, step {}, sample {index}", iteration + 1)),
        ("model", config.generation.model().to_owned()),
        ("reward", reward.unwrap_or_default()),
    ];
    save_frames(folder, &format!("{prefix}{}", name(key)), media, &texts)?;
    Ok(())
}

/// `0003-05`: sample 5 of step 3.
pub(crate) fn name(key: SampleKey) -> String {
    format!("{:04}-{:02}", key.iteration + 1, key.index)
}
